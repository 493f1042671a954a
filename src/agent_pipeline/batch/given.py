"""What callers give, told in words: whoever has no type checker may give anything."""

import math
import numbers
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TypeGuard, TypeVar

T = TypeVar("T")

_LONGEST = 60
"""Characters of a value that are repeated in a message."""


def told(value: object) -> str:
    """Return a value as a message names it: short plain ones as they are, all else by its type.

    >>> told("3"), told([1]), told(dict), told(object())
    ("'3'", 'list', 'the class dict', 'object')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, (str, bool, int, float)):
        text = repr(value)
        return text if len(text) <= _LONGEST else type(value).__name__
    return type(value).__name__


def is_seconds(value: object) -> TypeGuard[float]:
    """Return whether this is a number of seconds from 0, inf included.

    >>> [is_seconds(value) for value in (0, 1.5, True, "1", float("nan"), -1)]
    [True, True, False, False, False, False]
    """
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and float(value) >= 0


def is_positive(value: object) -> bool:
    """Return whether this is such a number, and not 0."""
    return is_seconds(value) and value != 0


def is_finite(value: object) -> bool:
    """Return whether this is such a number, and not inf."""
    return is_seconds(value) and value != math.inf


def is_whole(value: object, least: int) -> bool:
    """Return whether this is a whole number, and not below the least."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_callable(name: str, value: object) -> None:
    """Refuse what should be a function, or None.

    Raises:
        TypeError: it is neither.
    """
    if value is not None and not callable(value):
        msg = f"{name} is a function, not {told(value)}"
        raise TypeError(msg)


def each(name: str, value: Iterable[T], kind: type[T]) -> tuple[T, ...]:
    """Return several objects of one kind.

    Raises:
        TypeError: this is something else, or one of them is.
    """
    given: object = value
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        msg = f"{name} is a list of {kind.__name__} objects, not {told(given)}"
        raise TypeError(msg)
    found = tuple(value)
    for one in found:
        if not isinstance(one, kind):
            msg = f"{name} holds {kind.__name__} objects, not {told(one)}"
            raise TypeError(msg)
    return found


def check_item(item: object, kind: type) -> None:
    """Refuse what is no item.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(item, kind):
        msg = f"items are {kind.__name__}, not {type(item).__name__}"
        raise TypeError(msg)


def check_source(source: object, kind: type, *, only_plain: bool = False) -> None:
    """Refuse what gives no items.

    Raises:
        TypeError: it can't be read item by item, or is read item by item as something else.
    """
    if isinstance(source, (str, Mapping)) or not isinstance(source, (Iterable, AsyncIterable)):
        msg = f"a list, or any other source, of {kind.__name__} is wanted, not {type(source).__name__}"
        raise TypeError(msg)
    if only_plain and not isinstance(source, Iterable):
        msg = f"{type(source).__name__} is read by `await ...add_all(...)`; ordinary code can't wait for it"
        raise TypeError(msg)
