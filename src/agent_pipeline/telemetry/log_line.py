"""One line of the run log: `time LEVEL EVENT key=value ...`, written and parsed back.

structlog's LogfmtRenderer is not used because its lines can't be parsed back: a newline and a backslash followed by `n`
come out alike, None and the empty text too, carriage returns and tabs are left as they are.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Literal

from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

_TOKEN = re.compile(r'([^ ="\\]+)(?:=("(?:[^"\\]|\\.)*"|[^ "=\\]*))?(?: |$)')
_UNSAFE = re.compile(r"[\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""What JSON leaves as it is, but ends a line for some readers, or turns the text around on a terminal."""
_NOT_IN_WORD = re.compile(r'[\s="\\\x00-\x1f]|' + _UNSAFE.pattern)


@dataclass(frozen=True, slots=True)
class ParsedLine:
    """A line of the run log, read back.

    Attributes:
        at: UTC, to the millisecond.
        level: `DEBUG`, `INFO`, `WARNING` or `ERROR`.
        event: one or more words, such as `OPENAI_CLIENT skip`.
        fields: texts as they were; numbers, `true`/`false` and lists (as JSON) in their text form. None has no key.
    """

    at: datetime
    level: str
    event: str
    fields: dict[str, str]


def format_line(at: datetime, level: str, event: str, fields: Iterable[tuple[str, object]]) -> str:
    r"""Return the line, without its newline; a field that is None is left out.

    `event` and the keys must be words (see `word`), `event` may be several with one space between.

    >>> format_line(datetime(2026, 11, 20, 10, tzinfo=UTC), "INFO", "ROUTED", [("doc", "1"), ("why", "a\nb")])
    '2026-11-20T10:00:00.000Z INFO ROUTED doc=1 why="a\\nb"'
    """
    parts = [stamp(at, "milliseconds"), level, event]
    for key, value in fields:
        kind = type(value)
        if isinstance(value, str):
            parts.append(f"{key}={quoted(value)}")
        elif kind is int:
            parts.append(f"{key}={value}")
        elif value is not None:
            parts.append(f"{key}={quoted(text_of(value))}")
    return " ".join(parts)


def parse_line(line: str) -> ParsedLine:
    """Read a line that `format_line` wrote; a newline at its end is allowed.

    Raises:
        ValueError: not such a line, or a torn one.
    """
    line = line.removesuffix("\n")
    time, _, rest = line.partition(" ")
    level, _, rest = rest.partition(" ")
    if not level or not time.endswith("Z"):
        message = f"not a line of the run log: {line[:80]!r}"
        raise ValueError(message)
    words: list[str] = []
    fields: dict[str, str] = {}
    position = 0
    while position < len(rest):
        token = _TOKEN.match(rest, position)
        if token is None or (token[2] is None and fields) or token[1] in fields:
            message = f"unreadable after {rest[:position][-40:]!r}"
            raise ValueError(message)
        if token[2] is None:
            words.append(token[1])
        else:
            fields[token[1]] = json.loads(token[2]) if token[2].startswith('"') else token[2]
        position = token.end()
    if not words:
        message = "the line has no event"
        raise ValueError(message)
    return ParsedLine(datetime.fromisoformat(time), level, " ".join(words), fields)


def stamp(at: datetime, timespec: Literal["milliseconds", "microseconds"]) -> str:
    """Return a UTC time as ISO 8601 with `Z`; what is finer is cut off."""
    text = _iso(at)
    return (text if timespec == "microseconds" else text[:-3]) + "Z"


@lru_cache(512)
def _iso(at: datetime) -> str:
    """Return a UTC time without its zone; each event's is asked for by several sinks."""
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return utc.replace(tzinfo=None).isoformat(timespec="microseconds")


def word(text: str) -> str:
    """Return `text` as a word of the log: what can't stand unquoted becomes `_`."""
    return _NOT_IN_WORD.sub("_", text) or "_"


def text_of(value: object) -> str:
    """Return the text form of a field's value, before quoting; floats to the microsecond."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(round(value, 6))
    try:
        return to_json(value).decode()
    except PydanticSerializationError:  # lone surrogates: UTF-8 has none, JSON escapes them
        return json.dumps(value, separators=(",", ":"), default=to_jsonable_python)


def quoted(text: str) -> str:
    """Return `text` as it is where it can stand alone, else quoted as in JSON."""
    if text.isprintable() and text and not (" " in text or "=" in text or '"' in text or "\\" in text):
        return text
    encoded = encode_basestring(text)
    return encoded if encoded.isprintable() else _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded)
