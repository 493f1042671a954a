"""Write a text that matches a regular expression: the common subset, each result checked with `re` itself."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_CLASSES: Final = {"d": "0", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a"}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_NEGATED_CHOICES: Final = "abcxyz019-_. ABC/:,;!#$%&@~"
_MAX_REPEAT: Final = 4096


class _UnsupportedError(Exception):
    """The pattern uses something this writer does not know."""


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """Return the compiled pattern, None where `re` does not accept it."""
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return None


@lru_cache(maxsize=256)
def example_of(pattern: str, min_length: int = 0, max_length: int | None = None) -> str | None:
    """Return a text that matches `pattern` and the lengths, or None where none was found.

    >>> example_of("^[a-z]{2,4}-[0-9]+$")
    'aa-0'
    """
    expression = compiled(pattern)
    if expression is None or len(pattern) > 1000:
        return None
    for extra in (0, 1, 2, 4, min_length):
        try:
            text = _Writer(pattern, extra).write()
        except (_UnsupportedError, IndexError, RecursionError, ValueError):
            return None
        text = text.ljust(min_length, "x") if not pattern.endswith("$") else text
        if len(text) >= min_length and (max_length is None or len(text) <= max_length) and expression.search(text):
            return text
    return None


@dataclass(slots=True)
class _Writer:
    """Walks a pattern once and writes the shortest text it allows, plus `extra` turns of each open repetition."""

    pattern: str
    extra: int
    at: int = 0

    def write(self) -> str:
        text = self._alternatives()
        if self.at != len(self.pattern):
            raise _UnsupportedError
        return text

    def _peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _take(self) -> str:
        self.at += 1
        return self.pattern[self.at - 1]

    def _alternatives(self) -> str:
        """Write the first alternative; the others are walked and dropped."""
        first = self._sequence()
        while self._peek() == "|":
            self.at += 1
            self._sequence()
        return first

    def _sequence(self) -> str:
        parts = []
        while self._peek() not in {"", "|", ")"}:
            parts.append(self._repeated(self._atom()))
        return "".join(parts)

    def _atom(self) -> str:
        char = self._take()
        if char in "^$":
            return ""
        if char == ".":
            return "a"
        if char == "(":
            return self._group()
        if char == "[":
            return self._set()
        if char == "\\":
            return self._escape()
        if char in "*+?":
            raise _UnsupportedError
        return char

    def _group(self) -> str:
        if self.pattern.startswith("?", self.at):
            name = re.compile(r"\?(?::|P<\w+>)").match(self.pattern, self.at)
            if name is None:
                raise _UnsupportedError  # look-around, flags, references
            self.at = name.end()
        text = self._alternatives()
        if self._take() != ")":
            raise _UnsupportedError
        return text

    def _escape(self) -> str:
        char = self._take()
        if char in "bBAZ":
            return ""
        if char in "xu":
            width = 2 if char == "x" else 4
            self.at += width
            return chr(int(self.pattern[self.at - width : self.at], 16))
        if char.isdigit() and char != "0":
            raise _UnsupportedError  # a back reference
        return _CLASSES.get(char) or _ESCAPES.get(char) or char

    def _set(self) -> str:
        start = self.at - 1
        if self._peek() == "^":
            self.at += 1
        first = ""
        if self._peek() == "]":
            first = self._take()
        while (char := self._take()) != "]":
            member = self._escape() if char == "\\" else char
            first = first or member
        members = compiled(self.pattern[start : self.at])
        choices = first + _NEGATED_CHOICES
        return next(choice for choice in choices if members is not None and members.fullmatch(choice))

    def _repeated(self, atom: str) -> str:
        found = re.compile(r"(?:([*+?])|\{(\d*)(,?)(\d*)\})[?+]?").match(self.pattern, self.at)
        if found is None:
            return atom
        self.at = found.end()
        sign, low, comma, high = found.groups()
        least = {"*": 0, "?": 0, "+": 1}[sign] if sign else int(low or 0)
        most = (1 if sign == "?" else None) if sign else (int(high) if high else None if comma else least)
        turns = least + self.extra if most is None else min(least + self.extra, most)
        if turns > _MAX_REPEAT:
            raise _UnsupportedError
        return atom * turns
