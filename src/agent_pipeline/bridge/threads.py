"""Tools that are plain functions run in threads, which nothing can stop: who is cancelled leaves its thread behind."""

import functools
from collections.abc import Callable
from typing import Any

import trio
from trio_asyncio import TrioExecutor

from agent_pipeline.control.scope import current_scope
from agent_pipeline.domain.events import AgentEvent
from agent_pipeline.domain.ports import Emit

MOST_THREADS = 40
"""At once, of all documents; apart from those that write artifacts, which tools that never return must not hold up."""


class ToolThreads(TrioExecutor):  # type: ignore[misc]  # trio-asyncio has no types
    """The executor of every document's loop.

    On cancellation a function that has begun goes on in its thread, its result is dropped, and the agent ends at
    once. Such threads are daemons: none keeps the process from leaving. Each keeps its place among `MOST_THREADS`.

    Args:
        emit: is told of each thread left behind.

    Attributes:
        abandoned: how many there were.
    """

    def __init__(self, emit: Emit) -> None:
        super().__init__()
        self._places = trio.CapacityLimiter(MOST_THREADS)
        self._emit = emit
        self.abandoned = 0

    async def submit(self, func: Callable[..., Any], *args: Any) -> Any:
        """Run a function in a thread."""
        is_running = False

        def run() -> Any:
            nonlocal is_running
            is_running = True
            try:
                return func(*args)
            finally:
                is_running = False

        name = _name(func)
        try:
            return await trio.to_thread.run_sync(
                run, limiter=self._places, abandon_on_cancel=True, thread_name=f"tool {name}"
            )
        finally:
            if is_running:
                self.abandoned += 1
                scope = current_scope()
                self._emit(AgentEvent("thread_abandoned", scope.document_id, scope.stage, agent="", detail=name))


def _name(func: Callable[..., Any]) -> str:
    """Return the name of what `asyncio.to_thread` was given: it comes inside `partial(context.run, function)`."""
    inner = func.args[0] if isinstance(func, functools.partial) and func.args else func
    return getattr(inner, "__qualname__", type(inner).__name__)
