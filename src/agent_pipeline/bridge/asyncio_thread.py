"""A lasting asyncio loop for guests whose clients are bound to one loop, called from Trio."""

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent import futures
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

from agent_pipeline.bridge.crossing import start_in_asyncio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EXIT_GRACE = 5.0
"""Seconds that closing waits for the thread; what swallows its cancellation is left behind."""


class AsyncioThread:
    """A thread with an asyncio loop, begun at the first call.

    A document's loop ends with the document, and its clients' connections with it; this one outlives them all. It is
    asyncio's own loop, whatever policy the process has. A thread that is not closed ends with this object, or with
    the process.
    """

    def __init__(self) -> None:
        self._runner: _Runner | None = None
        self._opening = threading.Lock()

    async def run(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Call `fn` in the loop; where the caller is cancelled, it goes on when `fn` has been cancelled and has ended.

        Raises:
            concurrent.futures.CancelledError: the thread was closed meanwhile, or `fn` cancelled itself.
        """
        return await start_in_asyncio(self._started(), fn, *args).wait_in_trio()

    def close(self) -> None:
        """Cancel and await what is left in the loop, and end it; blocks until the thread has ended."""
        with self._opening:
            runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._opening:
            if self._runner is None:
                self._runner = _Runner()
                weakref.finalize(self, self._runner.close)
            return self._runner.loop


class _Runner:
    """The thread; it knows nothing of who calls."""

    def __init__(self) -> None:
        begun: futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = futures.Future()
        self._thread = threading.Thread(target=_run, args=(begun,), name="agent-pipeline-asyncio", daemon=True)
        self._thread.start()
        self.loop, self._stopped = begun.result()

    def close(self) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._stopped.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(EXIT_GRACE)


def _run(begun: "futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]") -> None:
    async def wait() -> None:
        stopped = asyncio.Event()
        begun.set_result((asyncio.get_running_loop(), stopped))
        await stopped.wait()

    # Not by `asyncio.Runner`: as the process ends, it would fail to begin the thread that waits for worker threads.
    loop = asyncio.SelectorEventLoop()
    try:
        loop.run_until_complete(wait())
        loop.run_until_complete(_end_tasks())
        loop.run_until_complete(loop.shutdown_asyncgens())
        with suppress(RuntimeError):
            loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


async def _end_tasks() -> None:
    """Cancel and await whatever else is in this loop, also what comes meanwhile; what it raises, its caller gets."""
    while left := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
