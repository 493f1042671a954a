"""Secrets out of an answer's body, which stays what it was: JSON, an event stream, or any other text.

A body without a secret is not touched, so that it is replayed byte for byte.
"""

import json
import re
from collections.abc import Callable, Iterator

from agent_pipeline.config.key_guard import BEARER_TOKEN, KEY_MARKERS, KNOWN_KEY
from agent_pipeline.config.marker_search import MarkerSearch
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.telemetry import REDACTED, SecretValues

_MARKERS = MarkerSearch([*KEY_MARKERS, "bearer"])
_DATA = "data:"
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
"""Not `splitlines`, which takes characters for ends that stand inside of texts."""


class RecordedSecrets(SecretValues):
    """Replace the secrets that are known here, and what is a key by its form.

    What merely stands behind a word such as `api_key=` stays, as logs would not let it: documents about programs are
    full of it, and their answers have to be replayed as they were.
    """

    def suspects(self, text: str) -> bool:
        """Say quickly whether `text`, perhaps an encoded one, may hold anything to replace."""
        return _MARKERS.finds(text) or super().suspects(text)

    def text(self, text: str) -> str:
        """Return `text` without secrets.

        >>> RecordedSecrets(["hunter22"]).text("api_key=... hunter22 sk-proj-0123456789abcdef")
        'api_key=... [redacted] [redacted]'
        """
        if not self.suspects(text):
            return text
        return BEARER_TOKEN.sub(rf"\1{REDACTED}", KNOWN_KEY.sub(REDACTED, super().text(text)))


def cleaned(body: str, content_type: str, secrets: SecretValues) -> str:
    """Return a body without secrets.

    Args:
        body: of an answer, whole.
        content_type: of the same.
        secrets: that go.
    """
    if content_type.lower().startswith("text/event-stream"):
        return _cleaned_events(body, secrets)
    if not secrets.suspects(body):
        return body
    value = _json(body)
    if value is None:
        return secrets.text(body)
    clean = secrets.value(value)
    return body if clean == value else _compact(clean)


def _cleaned_events(body: str, secrets: SecretValues) -> str:
    """Clean each event by itself, and what several of them tell bit by bit as the one text it is."""
    lines = _LINE.findall(body)
    events = {number: _json(line[len(_DATA) :]) for number, line in enumerate(lines) if line.startswith(_DATA)}
    changed = _clean_told_in_bits([event for event in events.values() if event is not None], secrets)
    for number, event in events.items():
        line = lines[number]
        end = line[len(line.rstrip("\r\n")) :]
        if event is None:
            lines[number] = secrets.text(line.removesuffix(end)) + end
        elif changed or secrets.suspects(line):
            clean = secrets.value(event)
            if changed or clean != event:
                lines[number] = f"{_DATA} {_compact(clean)}{end}"
    return "".join(line if number in events else secrets.text(line) for number, line in enumerate(lines))


def _clean_told_in_bits(events: list[JsonValue], secrets: SecretValues) -> bool:
    """Take secrets out of texts whose bits are in several events; tell whether there was one.

    The first bit becomes the clean text, the later ones are empty: taken together they say what they said.
    """
    told: dict[tuple[object, ...], list[tuple[Callable[[str], None], str]]] = {}
    for event in events:
        for path, put, bit in _bits(event, (_kind(event),)):
            told.setdefault(path, []).append((put, bit))
    changed = False
    for bits in told.values():
        whole = "".join(bit for _, bit in bits)
        clean = secrets.text(whole)
        if clean != whole:
            changed = True
            for position, (put, _) in enumerate(bits):
                put(clean if position == 0 else "")
    return changed


def _kind(event: object) -> object:
    """Return what tells the bits of one text from those of another beside it, besides where they stand."""
    if not isinstance(event, dict):
        return None
    return tuple(event.get(name) for name in ("type", "item_id", "output_index", "content_index", "summary_index"))


def _bits(
    value: JsonValue, path: tuple[object, ...], *, inside: bool = False
) -> Iterator[tuple[tuple[object, ...], Callable[[str], None], str]]:
    """Yield the texts under `delta`: where each stands, how to replace it, and itself."""
    if isinstance(value, dict):
        for name, item in value.items():
            within = inside or name == "delta"
            if isinstance(item, str):
                if within:
                    yield (*path, name), _setter(value, name), item
            else:
                yield from _bits(item, (*path, name), inside=within)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            place = item.get("index", position) if isinstance(item, dict) else position
            yield from _bits(item, (*path, str(place)), inside=inside)


def _setter(container: dict[str, JsonValue], name: str) -> Callable[[str], None]:
    def put(text: str) -> None:
        container[name] = text

    return put


def _json(text: str) -> JsonValue:
    """Return the JSON object or list that a text is; None where it is neither."""
    try:
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
