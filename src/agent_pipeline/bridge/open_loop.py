"""trio-asyncio's loop without asyncio's self-pipe: two sockets for each loop, to wake a selector that Trio never asks.

Callbacks from other threads come by Trio's own way into the run, signals are Trio's.
"""

import asyncio
import types
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio_asyncio

Opener = Callable[[], AbstractAsyncContextManager[Any]]


class PipelessLoop(trio_asyncio.TrioEventLoop):  # type: ignore[misc]  # trio-asyncio has no types
    """Holds no descriptor of its own; opening and closing it also costs less."""

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None

    def _close_self_pipe(self) -> None:
        """Do nothing."""


def opener_of(loop_class: type[Any], plain: Opener) -> Opener:
    """Return a copy of `plain` that opens loops of this class, or `plain` where its inside is not what it was in 0.16.

    `open_loop` has no place to pass a class. Only the copy's view of its module differs: the loops that a host program
    opens itself stay what they are.
    """
    inside = getattr(plain, "__wrapped__", None)
    if (
        not isinstance(inside, types.FunctionType)
        or "TrioEventLoop" not in inside.__code__.co_names
        or not hasattr(asyncio.SelectorEventLoop, "_make_self_pipe")
    ):
        return plain
    view = {**inside.__globals__, "TrioEventLoop": loop_class}
    own: Any = types.FunctionType(inside.__code__, view, inside.__name__, inside.__defaults__, inside.__closure__)
    return asynccontextmanager(own)


open_loop = opener_of(PipelessLoop, trio_asyncio.open_loop)
"""Opens a document's loop; see trio-asyncio's."""

DESCRIPTORS_PER_LOOP = 2 if open_loop is trio_asyncio.open_loop else 0
