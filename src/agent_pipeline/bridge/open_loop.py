"""trio-asyncio's loop without asyncio's self-pipe: two sockets for each loop, to wake a selector that Trio never asks.

Callbacks from other threads come by Trio's own way into the run, signals are Trio's.
"""

import asyncio
import types
import weakref
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio_asyncio

from agent_pipeline.bridge.foreign_loops import leave_foreign_loops_alone

leave_foreign_loops_alone()

Opener = Callable[[], AbstractAsyncContextManager[Any]]


class PipelessLoop(trio_asyncio.TrioEventLoop):  # type: ignore[misc]  # trio-asyncio has no types
    """Holds no descriptor of its own, and knows its tasks; opening and closing it also costs less."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()

    def create_task(self, coro: Any, **options: Any) -> Any:
        """Make a task, and remember it as long as it lives."""
        task = super().create_task(coro, **options)
        self.tasks.add(task)
        return task

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None

    def _close_self_pipe(self) -> None:
        """Do nothing."""


class _Asyncio(types.ModuleType):
    """asyncio, but that a loop's tasks are asked of the loop.

    asyncio looks through the tasks of all loops, and each document's loop asks at its end: with a thousand documents in
    flight a tenth of what a document costs.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    @staticmethod
    def all_tasks(loop: Any) -> set[asyncio.Task[Any]]:
        return {task for task in loop.tasks if not task.done()}


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
    view = {**inside.__globals__, "TrioEventLoop": loop_class, "asyncio": _Asyncio("asyncio")}
    own: Any = types.FunctionType(inside.__code__, view, inside.__name__, inside.__defaults__, inside.__closure__)
    return asynccontextmanager(own)


open_loop = opener_of(PipelessLoop, trio_asyncio.open_loop)
"""Opens a document's loop; see trio-asyncio's."""

DESCRIPTORS_PER_LOOP = 2 if open_loop is trio_asyncio.open_loop else 0
