"""Reading JSON that strangers sent: parse strictly, and narrow without trusting its shape."""

import json
import math
from functools import partial

from agent_pipeline.domain.document import JsonValue

JsonObject = dict[str, JsonValue]

dumps = partial(json.dumps, separators=(",", ":"), allow_nan=False)
"""Compact and ASCII only, so that a lone surrogate in an echoed value can't break the reply."""


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is beyond any number")
    return value


def loads(data: bytes | str) -> JsonValue:
    """Parse strict JSON.

    Raises:
        ValueError: not JSON, not UTF-8, NaN, an infinite number, or nested too deeply.
    """
    try:
        value: JsonValue = json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    return value


def as_object(value: JsonValue) -> JsonObject:
    """Return the object, or an empty one where the value is something else."""
    return value if isinstance(value, dict) else {}


def as_list(value: JsonValue) -> list[JsonValue]:
    """Return the list, or an empty one where the value is something else."""
    return value if isinstance(value, list) else []


def as_text(value: JsonValue) -> str:
    """Return the text without lone surrogates, or an empty one where the value is something else."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def as_number(value: JsonValue) -> int | float | None:
    """Return the number, or None; a bool is not a number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
