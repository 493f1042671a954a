"""Functions of the caller's, of which nobody knows whether they are plain ones or coroutine functions."""

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def call_either(fn: Callable[[*Ts], Awaitable[T] | T], *args: *Ts) -> T:
    """Call it, and await what it returns where that has to be awaited."""
    value = fn(*args)
    return await value if inspect.isawaitable(value) else value
