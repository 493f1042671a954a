"""What a YAML scalar means: the YAML 1.2 core schema, in which `no`, `on` and `12:30:45` are texts."""

import math
import re

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
TRUES = frozenset({"true", "True", "TRUE"})
FALSES = frozenset({"false", "False", "FALSE"})
MAX_DIGITS = 64
"""Longest number that is read: more digits are a mistake, and very long ones make Python refuse or crawl."""

_DECIMAL = re.compile(r"[-+]?[0-9]+")
_PREFIXED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def plain_scalar(text: str) -> bool | int | float | str | None:
    """Return the value of an unquoted scalar.

    Raises:
        ValueError: a number that is not finite or too long; the message names no value.

    >>> [plain_scalar(text) for text in ("no", "010", "0x10", "1e3", "~", "true", "12:30:45")]
    ['no', 10, 16, 1000.0, None, True, '12:30:45']
    """
    if text in NULLS:
        return None
    if text in TRUES or text in FALSES:
        return text in TRUES
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("a finite number is wanted")
    if not (_PREFIXED.fullmatch(text) or _FLOAT.fullmatch(text)):
        return text
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} characters; put it in quotes if it is a text")
    if _PREFIXED.fullmatch(text):
        return int(text, 0)
    if _DECIMAL.fullmatch(text):
        return int(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a finite number is wanted")
    return number


def join_surrogates(text: str) -> str:
    r"""Turn surrogate pairs, as JSON escapes write them (`\ud83d\ude00`), into the characters they stand for.

    Raises:
        ValueError: half a pair, which is no character.
    """
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise ValueError("half a surrogate pair, which is no character") from None
