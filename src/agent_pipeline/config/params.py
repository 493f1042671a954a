"""The params of a role that we know: what they may be; all others are passed on as they are."""

import math
from collections.abc import Callable, Mapping

from pydantic import JsonValue

OUTPUT_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""Names of the output cap. `max_tokens` is the one to write; the others are what two APIs call it."""

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
VERBOSITIES = ("low", "medium", "high")
EMBEDDING_ONLY = ("dimensions", "embedding_dim")
WORDS_ONLY = ("temperature", "top_p", "reasoning", "reasoning_effort", "verbosity", "stream")
"""What says how words are made. An output cap is left out: it harms no embedding, and defaults may bring one."""

Params = Mapping[str, JsonValue]


class ParamError(ValueError):
    """A param is wrong.

    Attributes:
        key: path of the param below `params`.
        problem: what is wrong with it.
    """

    def __init__(self, problem: str, *key: str) -> None:
        super().__init__(f"{'.'.join(key)}: {problem}")
        self.problem = problem
        self.key = key


def output_cap(params: Params) -> int | None:
    """Return the most tokens an answer may have, None where nothing caps it."""
    for name in OUTPUT_CAPS:
        value = params.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def check_params(params: Params, *, mode: str) -> None:
    """Check the params we know; null counts as not set.

    Raises:
        ParamError: the first one that is wrong.
    """
    values = {key: value for key, value in params.items() if value is not None}
    for name, (check, wanted) in _CHECKS.items():
        if name in values and not check(values[name]):
            raise ParamError(f"{wanted} is wanted", name)
    caps = [name for name in OUTPUT_CAPS if name in values]
    if len(caps) > 1:
        raise ParamError(f"the output cap is given twice; keep {caps[0]}", caps[1])
    _check_reasoning(values)
    strange = WORDS_ONLY if mode == "embedding" else EMBEDDING_ONLY
    for name in strange:
        if values.get(name, False) is not False:
            wanted = "a mode that answers in words" if mode == "embedding" else "mode embedding"
            raise ParamError(f"only for {wanted}, this role's mode is {mode}", name)
    if all(name in values for name in EMBEDDING_ONLY):
        raise ParamError("the dimensions are given twice; keep dimensions", "embedding_dim")


def _check_reasoning(values: Params) -> None:
    if "reasoning" not in values:
        return
    reasoning = values["reasoning"]
    if not isinstance(reasoning, dict):
        raise ParamError("a mapping is wanted, such as {effort: low}", "reasoning")
    if reasoning.get("effort") is None:
        return
    if not _one_of(EFFORTS)(reasoning["effort"]):
        raise ParamError(f"one of {', '.join(EFFORTS)} is wanted", "reasoning", "effort")
    if "reasoning_effort" in values:
        raise ParamError("the effort is given twice; keep reasoning_effort", "reasoning", "effort")


def _one_of(choices: tuple[str, ...]) -> Callable[[JsonValue], bool]:
    return lambda value: value in choices


def _within(low: float, high: float) -> Callable[[JsonValue], bool]:
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high
    )


def _is_count(value: JsonValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_COUNT = (_is_count, "a whole number above 0")
_CHECKS: Mapping[str, tuple[Callable[[JsonValue], bool], str]] = {
    **dict.fromkeys((*OUTPUT_CAPS, *EMBEDDING_ONLY), _COUNT),
    "temperature": (_within(0, 2), "a number from 0 to 2"),
    "top_p": (_within(0, 1), "a number from 0 to 1"),
    "reasoning_effort": (_one_of(EFFORTS), f"one of {', '.join(EFFORTS)}"),
    "verbosity": (_one_of(VERBOSITIES), f"one of {', '.join(VERBOSITIES)}"),
    "stream": (lambda value: isinstance(value, bool), "true or false"),
}
