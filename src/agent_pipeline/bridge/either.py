"""What code needs that is awaited under Trio and under asyncio alike: worker threads, timeouts, and being woken."""

import asyncio
import contextvars
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

import trio

from agent_pipeline.bridge.crossing import current_flavour

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def in_worker(fn: Callable[[*Ts], T], *args: *Ts) -> T:
    """Call a plain function in a worker thread, with the caller's context variables.

    A thread can't be stopped: on cancellation the caller goes on at once, and a function that has begun goes on in its
    thread; its result is dropped.
    """
    if current_flavour() == "trio":
        return await trio.to_thread.run_sync(fn, *args, abandon_on_cancel=True)
    # Not the loop's own threads: those of trio-asyncio's loop, which stands in for asyncio's where a program wants it,
    # are awaited on cancellation.
    context, call = contextvars.copy_context(), functools.partial(fn, *args)
    return await asyncio.wrap_future(_workers().submit(lambda: context.run(call)))


@functools.cache
def _workers() -> ThreadPoolExecutor:
    """As many threads as Trio has for the same."""
    return ThreadPoolExecutor(40, thread_name_prefix="agent-pipeline-worker")


async def within(
    timeout: float | None, expired: Callable[[], Exception], fn: Callable[[*Ts], Awaitable[T]], *args: *Ts
) -> T:
    """Call a coroutine function; after `timeout` seconds cancel it and raise what `expired` returns.

    None sets no limit. A result that came just after the deadline is kept.
    """
    if timeout is None:
        return await fn(*args)
    if current_flavour() == "trio":
        with trio.move_on_after(timeout):
            return await fn(*args)
        raise expired()
    scope = asyncio.timeout(timeout)
    try:
        async with scope:
            return await fn(*args)
    except TimeoutError as exc:
        if scope.expired():
            raise expired() from exc
        raise


class Wakeup:
    """Lets one task sleep until any thread wakes it; made where it sleeps."""

    def __init__(self) -> None:
        self._wake: Callable[[], object]
        if current_flavour() == "trio":
            token, parked = trio.lowlevel.current_trio_token(), trio.lowlevel.ParkingLot()
            self._wake = lambda: token.run_sync_soon(parked.unpark_all)
            self._sleep = parked.park
        else:
            loop, event = asyncio.get_running_loop(), asyncio.Event()
            self._wake = lambda: loop.call_soon_threadsafe(event.set)
            self._sleep = lambda: _wait_and_clear(event)

    def ring(self) -> None:
        """Wake it; from any thread, as often as wanted; where its loop is gone, nothing happens."""
        with suppress(RuntimeError):  # Trio's and asyncio's way to say so; RunFinishedError is one
            self._wake()

    async def wait(self) -> None:
        """Sleep until `ring` is called, or was called since the last checkpoint of this task."""
        await self._sleep()


async def _wait_and_clear(event: asyncio.Event) -> None:
    await event.wait()
    event.clear()
