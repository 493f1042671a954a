"""A document's asyncio loop as we run it: ready callbacks drained in one go, stray errors reported, not fatal."""

import asyncio
import heapq
import inspect
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import trio
import trio_asyncio
from trio_asyncio._base import BaseTrioEventLoop
from trio_asyncio._handles import AsyncHandle

from agent_pipeline.bridge.open_loop import open_loop
from agent_pipeline.errors import AgentRunError

MOST_HANDLES = 64
"""Callbacks run between two Trio checkpoints; the plain loop pays a checkpoint for each."""


open_loops: dict[trio.lowlevel.Task, asyncio.AbstractEventLoop] = {}
"""The loops that are open, by the Trio task that keeps each open."""


class _ReadyQueue:
    """Stands in for the loop's own memory channel: the same calls for one reader, at a fraction of the cost."""

    __slots__ = ("_reader", "handles")

    def __init__(self) -> None:
        self.handles: deque[Any] = deque()
        self._reader: trio.lowlevel.Task | None = None

    def send_nowait(self, handle: object) -> None:
        self.handles.append(handle)
        if self._reader is not None:
            reader, self._reader = self._reader, None
            trio.lowlevel.reschedule(reader)

    async def wait(self, until: float | None) -> None:
        """Return when something comes, or at this time; nothing may be there yet. Cancelled, nothing is lost."""
        if until is None:  # as a rule: a scope costs more than the rest of this
            await self._wait()
        else:
            with trio.CancelScope(deadline=until):
                await self._wait()

    async def _wait(self) -> None:
        self._reader = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._reader = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


def drain_ready_queue(loop: BaseTrioEventLoop) -> bool:
    """Let the loop run up to `MOST_HANDLES` ready callbacks per checkpoint; return whether that could be done.

    Replaces the queue and `_main_loop_one` of this one instance, which has just been opened. Where trio-asyncio's
    internals are not what they were in 0.16 the plain loop stays.
    """
    if not all(hasattr(loop, name) for name in ("_q_send", "_q_recv", "_main_loop_one", "_timers", "_nursery")):
        return False
    inside: Any = loop
    queue, channel = _ReadyQueue(), inside._q_send

    async def several(no_wait: bool = False) -> None:  # noqa: FBT001, FBT002 - trio-asyncio's own signature
        timers: list[asyncio.TimerHandle] = inside._timers
        if not queue.handles and not (timers and timers[0].when() <= loop.time()):
            if no_wait:
                raise trio.WouldBlock
            await queue.wait(until=timers[0].when() if timers else None)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        while timers and timers[0].when() <= loop.time():
            _run_in_asyncio(heapq.heappop(timers))
        for _ in range(MOST_HANDLES):
            if not queue.handles or (timers and timers[0].when() <= loop.time()):
                return  # nothing is left, or a timer's turn comes first
            handle = queue.handles.popleft()
            if isinstance(handle, asyncio.TimerHandle):
                heapq.heappush(timers, handle)
            elif isinstance(handle, AsyncHandle):
                handle._context.run(inside._nursery.start_soon, handle._run, name=handle._callback)
                await handle._started.wait()
            else:
                _run_in_asyncio(handle)

    inside._main_loop_one, inside._q_send, inside._q_recv = several, queue, queue
    # asyncio makes this check in debug mode only; here it would run for each of a document's callbacks.
    inside._check_callback = _no_check
    channel.send_nowait(asyncio.Handle(_nothing, (), loop))  # the plain loop waits there: let it find the new queue
    return True


def _nothing() -> None:
    """Be called."""


def _no_check(callback: object, method: str) -> None:
    """Take any callback."""


def _run_in_asyncio(handle: asyncio.Handle) -> None:
    if handle.cancelled():
        return
    library = trio_asyncio._base.sniffio_library
    previous, library.name = library.name, "asyncio"
    try:
        handle._run()
    finally:
        library.name = previous


@dataclass(slots=True)
class TaskCount:
    """asyncio tasks made in loops, and those among them that came to their end."""

    opened: int = 0
    closed: int = 0


class _ExitProof(Coroutine[Any, Any, Any]):
    """A task's coroutine that can't end the loop, and whose end is counted.

    asyncio raises SystemExit and KeyboardInterrupt of any task out of the loop itself. Then nobody wakes those who
    wait for the other tasks, and the process hangs. So the first becomes an error of the task, and the second is told
    to the loop's owner.
    """

    def __init__(
        self, inner: Coroutine[Any, Any, Any], interrupt: Callable[[KeyboardInterrupt], None], tasks: TaskCount
    ) -> None:
        self._inner = inner
        self._interrupt = interrupt
        self._tasks = tasks
        tasks.opened += 1

    def send(self, value: Any) -> Any:
        """Take the task's next step."""
        return self._step(self._inner.send, value)

    def throw(self, *exc: Any) -> Any:
        """Take its next step with an exception, such as its cancellation."""
        if inspect.iscoroutine(self._inner) and inspect.getcoroutinestate(self._inner) == inspect.CORO_CREATED:
            # It will never await what it was given; the SDK gives coroutines, and Python would complain of each.
            frame = self._inner.cr_frame
            for given in () if frame is None else frame.f_locals.values():
                if inspect.iscoroutine(given):
                    given.close()
        return self._step(self._inner.throw, *exc)

    def close(self) -> None:
        """End it."""
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        try:
            return step(*args)
        except BaseException as exc:
            self._tasks.closed += 1  # whatever a coroutine raises, StopIteration included, is its end
            if isinstance(exc, SystemExit):
                msg = f"something called sys.exit({exc.code!r}) inside an agent"
                raise AgentRunError(msg) from exc
            if isinstance(exc, KeyboardInterrupt):
                self._interrupt(exc)
                raise asyncio.CancelledError from exc
            raise


def inner_coroutine(coroutine: Any) -> Any:
    """Return what a task of a document's loop really runs."""
    return coroutine._inner if isinstance(coroutine, _ExitProof) else coroutine


async def host_loop(
    done: trio.Event,
    report: Callable[[str], None],
    tasks: TaskCount,
    task_status: trio.TaskStatus[BaseTrioEventLoop] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keep one asyncio loop open until `done` is set or the task is cancelled.

    Both kinds of tasks left in the loop are cancelled and awaited before this returns.

    Args:
        done: ends the loop.
        report: takes one line for each error nobody awaited.
        tasks: counts the loop's tasks.
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
        return asyncio.Task(_ExitProof(coro, interrupt, tasks), loop=loop, **options)

    host = trio.lowlevel.current_task()
    try:
        async with open_loop() as loop:
            open_loops[host] = loop
            loop.set_exception_handler(note)
            loop.set_task_factory(make_task)
            drain_ready_queue(loop)
            task_status.started(loop)
            await done.wait()
    finally:
        open_loops.pop(host, None)
    if interrupts:
        raise interrupts[0]
