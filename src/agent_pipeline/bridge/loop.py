"""A document's asyncio loop as we run it: ready callbacks drained in one go, stray errors reported, not fatal."""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from typing import Any

import trio
import trio_asyncio
from trio_asyncio._base import BaseTrioEventLoop
from trio_asyncio._handles import AsyncHandle

from agent_pipeline.errors import AgentRunError

MOST_HANDLES = 64
"""Callbacks run between two Trio checkpoints; the plain loop pays a checkpoint for each."""


def drain_ready_queue(loop: BaseTrioEventLoop) -> bool:
    """Let the loop run up to `MOST_HANDLES` ready callbacks per checkpoint; return whether that could be done.

    Replaces `_main_loop_one` on this one instance. Where trio-asyncio's internals are not what they were in 0.16 the
    plain loop stays.
    """
    parts: list[Any] = [getattr(loop, name, None) for name in ("_main_loop_one", "_q_recv", "_timers", "_nursery")]
    one, queue, timers, nursery = parts
    if None in parts or not hasattr(queue, "receive_nowait"):
        return False

    async def several(no_wait: bool = False) -> None:  # noqa: FBT001, FBT002  (trio-asyncio's own signature)
        await one(no_wait)
        for _ in range(MOST_HANDLES):
            if timers and timers[0]._when <= loop.time():
                return  # its turn comes first
            try:
                handle = queue.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                return
            if isinstance(handle, asyncio.TimerHandle):
                heapq.heappush(timers, handle)
            elif isinstance(handle, AsyncHandle):
                handle._context.run(nursery.start_soon, handle._run, name=handle._callback)
                await handle._started.wait()
            elif not handle.cancelled():
                _run_in_asyncio(handle)

    loop._main_loop_one = several
    return True


def _run_in_asyncio(handle: asyncio.Handle) -> None:
    library = trio_asyncio._base.sniffio_library
    previous, library.name = library.name, "asyncio"
    try:
        handle._run()
    finally:
        library.name = previous


class _ExitProof(Coroutine[Any, Any, Any]):
    """A task's coroutine that can't end the loop.

    asyncio raises SystemExit and KeyboardInterrupt of any task out of the loop itself. Then nobody wakes those who
    wait for the other tasks, and the process hangs. So the first becomes an error of the task, and the second is told
    to the loop's owner.
    """

    def __init__(self, inner: Coroutine[Any, Any, Any], interrupt: Callable[[KeyboardInterrupt], None]) -> None:
        self._inner = inner
        self._interrupt = interrupt

    def send(self, value: Any) -> Any:
        """Take the task's next step."""
        return self._step(self._inner.send, value)

    def throw(self, *exc: Any) -> Any:
        """Take its next step with an exception, such as its cancellation."""
        return self._step(self._inner.throw, *exc)

    def close(self) -> None:
        """End it."""
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        try:
            return step(*args)
        except SystemExit as exc:
            msg = f"something called sys.exit({exc.code!r}) inside an agent"
            raise AgentRunError(msg) from exc
        except KeyboardInterrupt as exc:
            self._interrupt(exc)
            raise asyncio.CancelledError from exc


async def host_loop(
    done: trio.Event,
    report: Callable[[str], None],
    task_status: trio.TaskStatus[BaseTrioEventLoop] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keep one asyncio loop open until `done` is set or the task is cancelled.

    Both kinds of tasks left in the loop are cancelled and awaited before this returns.

    Args:
        done: ends the loop.
        report: takes one line for each error nobody awaited.
        task_status: is given the loop.

    Raises:
        KeyboardInterrupt: it struck inside one of the loop's tasks.
    """
    interrupts: list[KeyboardInterrupt] = []

    def note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # noqa: ARG001  (asyncio's signature)
        report(f"{context.get('message')}: {context.get('exception')!r}")

    def interrupt(exc: KeyboardInterrupt) -> None:
        interrupts.append(exc)
        done.set()

    def make_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_ExitProof(coro, interrupt), loop=loop, **options)

    async with trio_asyncio.open_loop() as loop:
        loop.set_exception_handler(note)
        loop.set_task_factory(make_task)
        drain_ready_queue(loop)
        task_status.started(loop)
        await done.wait()
    if interrupts:
        raise interrupts[0]
