"""What to say of a request that was not recorded: which recording is nearest, and where the two part."""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from agent_pipeline.gateway.failures import quoted
from agent_pipeline.gateway.recording.asked import AskedRequest
from agent_pipeline.gateway.recording.exchanges import Exchange

_SHOWN = 40
"""Characters of a value that are shown from where it differs, and half of it from before."""

_MISSING = object()


class Difference(NamedTuple):
    """One field in which two requests differ; `_MISSING` stands for none of that name."""

    path: str
    recorded: object
    asked: object


class Near(NamedTuple):
    """The nearest recording, its place from 1, and the fields in which it differs."""

    place: int
    exchange: Exchange
    differences: list[Difference]


def nearest(asked: AskedRequest, exchanges: Iterable[Exchange]) -> Near | None:
    """Return the exchange that asked nearly the same: with the fewest fields that differ, the first of several.

    None where there is none at all.
    """
    best: Near | None = None
    for place, exchange in enumerate(exchanges, 1):
        differences = list(_differences(_fields(exchange.request), _fields(asked), ""))
        if best is None or len(differences) < len(best.differences):
            best = Near(place, exchange, differences)
    return best


def told(difference: Difference) -> str:
    """Return one difference in words: the path, and both values from about where they part."""
    recorded, asked = _cut(difference.recorded, difference.asked)
    return f"{quoted(difference.path)} differs: recorded {recorded}, asked {asked}"


def _fields(request: AskedRequest) -> dict[str, object]:
    return {name: getattr(request, name) for name in ("provider", "method", "path", "body")}


def _differences(recorded: object, asked: object, path: str) -> Iterator[Difference]:
    """Yield the fields that differ, in the order in which they are asked; lists are compared place by place."""
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in [*asked, *(name for name in recorded if name not in asked)]:
            inner = f"{path}.{name}" if path else str(name)
            yield from _differences(recorded.get(name, _MISSING), asked.get(name, _MISSING), inner)
    elif isinstance(recorded, list) and isinstance(asked, list):
        for place in range(max(len(recorded), len(asked))):
            before, now = (one[place] if place < len(one) else _MISSING for one in (recorded, asked))
            yield from _differences(before, now, f"{path}[{place}]")
    elif type(recorded) is not type(asked) or recorded != asked:
        yield Difference(path, recorded, asked)


def _cut(recorded: object, asked: object) -> tuple[str, str]:
    if not (isinstance(recorded, str) and isinstance(asked, str)):
        return _shown(recorded), _shown(asked)
    same = next((place for place, pair in enumerate(zip(recorded, asked, strict=False)) if pair[0] != pair[1]), None)
    begin = max(0, (min(len(recorded), len(asked)) if same is None else same) - _SHOWN // 2)
    return _window(recorded, begin), _window(asked, begin)


def _window(text: str, begin: int) -> str:
    cut = text[begin : begin + _SHOWN]
    return f"'{'…' if begin else ''}{quoted(cut)}{'…' if begin + _SHOWN < len(text) else ''}'"


def _shown(value: object) -> str:
    if value is _MISSING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return quoted(text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}…")
