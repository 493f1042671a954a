"""Hashes a sequence of values: the same in every process, another one as soon as a value or its type differs."""

import datetime as dt
import hashlib
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

PIECE = 1 << 20
"""Most characters encoded at once: a big text is not held a second time."""


class Hasher:
    """Takes tagged parts, each with its length, so that no two sequences of parts are the same bytes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def put(self, tag: str, data: bytes = b"") -> None:
        """Take bytes."""
        self._hash.update(f"{tag} {len(data)} ".encode())
        self._hash.update(data)

    def put_text(self, tag: str, text: str) -> None:
        """Take a text, also one that is no valid Unicode."""
        self._hash.update(f"{tag} {len(text)} ".encode())
        for start in range(0, len(text), PIECE):
            self._hash.update(text[start : start + PIECE].encode("utf-8", "surrogatepass"))

    def put_plain(self, value: object) -> bool:
        """Take None, a number, bytes, a date and the like; return False for what is none of these."""
        for base in type(value).__mro__:
            if base in _AS_BYTES:
                self.put(base.__name__, _AS_BYTES[base](value))
                return True
            if base in _AS_TEXT:
                self.put_text(base.__name__, _AS_TEXT[base](value))
                return True
        return False

    def digest(self) -> bytes:
        """Return the hash of all that was taken."""
        return self._hash.digest()


_AS_BYTES: dict[type, Callable[..., bytes]] = {bytes: bytes, bytearray: bytes, memoryview: memoryview.tobytes}

_BY_REPR: tuple[type, ...] = (
    type(None),
    type(Ellipsis),
    type(NotImplemented),
    bool,
    float,
    complex,
    range,
    Decimal,
    Fraction,
    UUID,
    dt.date,
    dt.datetime,
    dt.time,
    dt.timedelta,
)

_AS_TEXT: dict[type, Callable[..., str]] = {
    **{kind: kind.__repr__ for kind in _BY_REPR},
    int: lambda value: int.__format__(value, "x"),  # Python refuses to write a very long number in decimals
    re.Pattern: lambda value: f"{value.flags} {value.pattern!r}",
}

PLAIN = frozenset({*_AS_BYTES, *_AS_TEXT})
"""Types, themselves and not what is derived from them, whose values are nothing but what `put_plain` takes."""
