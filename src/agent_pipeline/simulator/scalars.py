"""Fit a wanted number or text into the bounds a schema sets."""

import hashlib
import math
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Final

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator.document_text import cut_at_word
from agent_pipeline.simulator.json_values import JsonObject, as_number
from agent_pipeline.simulator.patterns import compiled, example_of
from agent_pipeline.simulator.schema_rules import SchemaUnusableError

_FORMATS: Final = {
    "date": (re.compile(r"\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])\b"), "2025-01-01"),
    "date-time": (re.compile(r"\b\d{4}-0[1-9]-[01][1-9]T[01]\d:[0-5]\d:[0-5]\dZ"), "2025-01-01T00:00:00Z"),
    "time": (re.compile(r"\b[01]\d:[0-5]\d:[0-5]\dZ"), "00:00:00Z"),
    "duration": (re.compile(r"\bP\d+D\b"), "P1D"),
    "email": (re.compile(r"\b[\w.+-]+@[\w-]+\.[a-z]{2,}\b", re.ASCII), "someone@example.org"),
    "hostname": (re.compile(r"\b[a-z0-9-]+\.example\.org\b"), "example.org"),
    "ipv4": (re.compile(r"\b(?:1?\d?\d\.){3}1?\d?\d\b"), "127.0.0.1"),
    "ipv6": (re.compile(r"(?!)"), "::1"),
    "uri": (re.compile(r"\bhttps?://[\w./-]+\w", re.ASCII), "https://example.org/"),
}

_Bound = tuple[Fraction | None, bool]
"""The limit, if there is one, and whether it is excluded itself."""


def fit_number(wanted: float, schema: JsonObject, *, whole: bool) -> JsonValue:
    """Return the allowed number nearest to the wanted one.

    Raises:
        SchemaUnusableError: the bounds allow none.
    """
    low, low_open = lower = _bound(schema, "minimum", "exclusiveMinimum", 1)
    high, high_open = upper = _bound(schema, "maximum", "exclusiveMaximum", -1)
    step_value = as_number(schema.get("multipleOf"))
    if step_value is None and not whole:
        return _fit_real(wanted, lower, upper)
    step = Fraction(str(step_value)) if step_value is not None else Fraction(1)
    if step <= 0:
        raise SchemaUnusableError("'multipleOf' must be above 0")
    step = Fraction(step.numerator) if whole else step  # whole multiples of p/q are the multiples of p
    least = None if low is None else _floor(low, step) + 1 if low_open else -_floor(-low, step)
    most = None if high is None else -_floor(-high, step) - 1 if high_open else _floor(high, step)
    if least is not None and most is not None and least > most:
        raise SchemaUnusableError("the bounds of a number allow no value")
    turns = round(Fraction(wanted) / step)
    turns = turns if least is None else max(turns, least)
    turns = turns if most is None else min(turns, most)
    value = turns * step
    return int(value) if value.denominator == 1 else _exact(turns, step, least, most)


def _floor(value: Fraction, step: Fraction) -> int:
    return math.floor(value / step)


def _exact(turns: int, step: Fraction, least: int | None, most: int | None) -> int | float:
    """Prefer a multiple that also divides evenly in binary floats, as validators reckon: 0.3 / 0.1 is not 3."""
    size = float(step)
    for offset in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5):
        other = turns + offset
        inside = (least is None or other >= least) and (most is None or other <= most)
        value = float(other * step)
        if inside and value / size % 1 == 0:
            return int(value) if value.is_integer() else value
    return float(turns * step)


def _fit_real(wanted: float, lower: _Bound, upper: _Bound) -> JsonValue:
    (low, low_open), (high, high_open) = lower, upper
    value = Fraction(wanted)
    if low is not None and (value < low or (low_open and value == low)):
        value = low
        if low_open:
            value = (low + high) / 2 if high is not None else low + 1
    if high is not None and (value > high or (high_open and value == high)):
        value = high
        if high_open:
            value = (low + high) / 2 if low is not None else high - 1
    result = float(value)
    too_low = low is not None and (result <= low if low_open else result < low)
    too_high = high is not None and (result >= high if high_open else result > high)
    if too_low or too_high:
        raise SchemaUnusableError("the bounds of a number allow no value")
    return int(result) if result.is_integer() and abs(result) < 2**53 else result


def _bound(schema: JsonObject, closed: str, opened: str, sign: int) -> _Bound:
    """Return the tighter of two bounds and whether it is excluded itself; `sign` is 1 for lower ones, -1 for upper."""
    limits: list[tuple[Fraction, bool]] = []
    for keyword, is_open in ((closed, False), (opened, True)):
        value = as_number(schema.get(keyword))
        if value is not None:
            limits.append((Fraction(value), is_open))
    return max(limits, key=lambda limit: (sign * limit[0], limit[1])) if limits else (None, False)


def fit_text(candidates: Iterable[str], schema: JsonObject) -> str:
    """Return the first candidate that satisfies length, pattern and format, cut or filled up where that is enough.

    Raises:
        SchemaUnusableError: none does, and no text could be made up that does.
    """
    least, most = int(as_number(schema.get("minLength")) or 0), as_number(schema.get("maxLength"))
    most = None if most is None else int(most)
    if least > 1_000_000 or (most is not None and most < least):
        raise SchemaUnusableError("the lengths of a text allow no value")
    pattern = schema.get("pattern")
    if isinstance(schema.get("format"), str):
        candidates = _formatted(str(schema["format"]), list(candidates))
    if not isinstance(pattern, str):
        return _sized(next(iter(candidates), ""), least, most)
    expression = compiled(pattern)
    for candidate in candidates:
        text = _sized(candidate, least, most)
        if expression is not None and len(text) <= 500 and expression.search(text):
            return text
    example = example_of(pattern, least, most)
    if example is None:
        raise SchemaUnusableError(f"no text was found that matches the pattern '{pattern}'")
    return example


def _sized(text: str, least: int, most: int | None) -> str:
    if most is not None and len(text) > most:
        cut = cut_at_word(text, most)
        text = cut if len(cut) >= least else text[:most]
    return text if len(text) >= least else text.ljust(least, ".")


def _formatted(name: str, candidates: list[str]) -> list[str]:
    if name == "uuid":
        digits = hashlib.blake2b("\n".join(candidates).encode("utf-8", "replace"), digest_size=16).hexdigest()
        return [f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"]
    if name not in _FORMATS:
        return candidates
    expression, example = _FORMATS[name]
    found = (expression.search(candidate) for candidate in candidates)
    return [match[0] for match in found if match] + [example]
