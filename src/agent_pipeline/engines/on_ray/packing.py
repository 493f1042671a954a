"""Messages as bytes: pickled, frozen dataclasses with slots by the values of their fields alone.

Such a class brings a `__setstate__` that asks for its fields anew at each object, in Python: to read 17 reports of a
document took 80 us by that, and takes 50 by this.
"""

import io
import pickle
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from inspect import ismemberdescriptor
from operator import attrgetter
from typing import Any


def pack(value: object) -> bytes:
    """Return a value as bytes, for `pickle.loads` in a process that has this package.

    Raises:
        Exception: of whatever kind, where something in it can't be pickled.
    """
    packed = io.BytesIO()
    _Packer(packed, pickle.HIGHEST_PROTOCOL).dump(value)
    return packed.getvalue()


class _Packer(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:  # noqa: ANN401 - as pickle has it
        kind: Any = type(value)
        read = _reader(kind)
        return NotImplemented if read is None else (_restored, (kind, *read(value)))


def _restored(kind: type, *values: object) -> object:
    """Return an object of this kind; nothing of it is checked again, as where pickle restores it."""
    restored: object = object.__new__(kind)
    for put, value in zip(_setters(kind), values, strict=False):  # of another version, it may have others
        put(restored, value)
    return restored


@cache
def _reader(kind: type) -> Callable[[object], tuple[object, ...]] | None:
    """Return what reads the fields of a class that is pickled in this way; None for one that has a way of its own."""
    ways = (getattr(kind, "__getstate__", None), getattr(kind, "__setstate__", None))
    # Both are of `dataclasses` itself where frozen and slots meet.
    if not is_dataclass(kind) or any(getattr(way, "__module__", None) != "dataclasses" for way in ways):
        return None
    if kind.__reduce_ex__ is not object.__reduce_ex__ or kind.__reduce__ is not object.__reduce__:
        return None
    names = [field.name for field in fields(kind)]
    if not all(ismemberdescriptor(getattr(kind, name, None)) for name in names):
        return None
    if len(names) < 2:  # attrgetter returns a tuple only from two names on
        return lambda value: tuple(getattr(value, name) for name in names)
    return attrgetter(*names)


@cache
def _setters(kind: Any) -> tuple[Callable[[object, object], None], ...]:  # noqa: ANN401 - a dataclass
    return tuple(getattr(kind, field.name).__set__ for field in fields(kind))
