"""One call from one event loop, or from none, into another: its result comes back, and cancelling it is awaited.

`trio.from_thread` and the portals of anyio do the first half; but where their caller is cancelled or interrupted they
leave before the other side has ended, so that nobody could say what holds then.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from concurrent import futures
from contextlib import suppress
from typing import Generic, Literal, TypeVar, TypeVarTuple

import sniffio
import trio

from agent_pipeline.control.attempt_record import is_cancellation

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Flavour = Literal["trio", "asyncio", "sync"]

INTERRUPT_GRACE = 5.0
"""Seconds that code without a loop waits, after Ctrl-C, for what it had asked to stop."""


def current_flavour() -> Flavour:
    """Tell who runs this code: Trio, asyncio, or no event loop at all."""
    try:
        return "trio" if sniffio.current_async_library() == "trio" else "asyncio"
    except sniffio.AsyncLibraryNotFoundError:
        return "sync"


class Crossing(Generic[T]):
    """A call going on in another loop; made by `start_in_trio` and `start_in_asyncio`.

    The other side sees a copy of the caller's context variables. What it raises, the caller gets; an ending by
    cancellation comes as `concurrent.futures.CancelledError`, which is an ordinary exception.

    Attributes:
        future: done when the other side has ended, and not before.
        context: what the other side runs in.
    """

    def __init__(self) -> None:
        self.future: futures.Future[T] = futures.Future()
        self.context = contextvars.copy_context()
        self._stop: Callable[[], None] | None = None
        self._is_cancelled = False

    def began(self, stop: Callable[[], None]) -> None:
        """Take what stops the other side, from there; it is called at once where somebody wanted that before."""
        self._stop = stop
        if self._is_cancelled:
            stop()

    def cancel(self) -> None:
        """Ask the other side to stop; from any thread, as often as wanted."""
        self._is_cancelled = True
        stop = self._stop
        if stop is not None:
            stop()

    def end_cancelled(self) -> None:
        """Say that the other side was stopped, by whomever, or never began."""
        self.future.set_exception(futures.CancelledError())

    def wait(self) -> T:
        """Block a thread that has no loop until the other side has ended; an interrupt stops that first."""
        try:
            return self.future.result()
        except KeyboardInterrupt:
            self.cancel()
            futures.wait([self.future], timeout=INTERRUPT_GRACE)
            raise

    async def wait_in_trio(self) -> T:
        """Wait under Trio; on cancellation the other side is stopped and awaited, whatever comes of it then."""
        return await wait_in_trio(self.future, self.cancel)

    async def wait_in_asyncio(self) -> T:
        """Wait under asyncio; on cancellation the other side is stopped and awaited, whatever comes of it then."""
        return await wait_in_asyncio(self.future, self.cancel)


async def wait_in_trio(future: futures.Future[T], on_cancel: Callable[[], object]) -> T:
    """Wait for a thread's future under Trio, to its end also when cancelled or interrupted; that is told first."""
    token, done = trio.lowlevel.current_trio_token(), trio.Event()
    future.add_done_callback(lambda _: _soon_in_trio(token, done.set))
    try:
        await done.wait()
    except (trio.Cancelled, KeyboardInterrupt):
        on_cancel()
        with trio.CancelScope(shield=True):
            await done.wait()
        raise
    return future.result()


async def wait_in_asyncio(future: futures.Future[T], on_cancel: Callable[[], object]) -> T:
    """Wait for a thread's future under asyncio, to its end also when cancelled; that is told first."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    future.add_done_callback(lambda _: _soon_in_asyncio(loop, done.set))
    interrupted: asyncio.CancelledError | None = None
    while not done.is_set():
        try:
            await done.wait()
        except asyncio.CancelledError as exc:
            interrupted = exc
            on_cancel()
    if interrupted is not None:
        raise interrupted
    return future.result()


def start_in_trio(
    token: trio.lowlevel.TrioToken, nursery: trio.Nursery, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts
) -> Crossing[T]:
    """Call `fn` in a task of `nursery`, in the run that has this token; from any thread.

    Raises:
        trio.RunFinishedError: that run has ended.
    """
    crossing: Crossing[T] = Crossing()

    async def serve() -> None:
        scope = trio.CancelScope()
        crossing.began(lambda: _soon_in_trio(token, scope.cancel))
        try:
            with scope:
                value = await fn(*args)
        except BaseException as exc:
            if is_cancellation(exc):  # with the nursery
                crossing.end_cancelled()
                raise
            # The caller's, whatever it is.
            crossing.future.set_exception(exc)
            return
        if scope.cancelled_caught:
            crossing.end_cancelled()
        else:
            crossing.future.set_result(value)

    def begin() -> None:
        try:
            crossing.context.run(nursery.start_soon, serve)
        except RuntimeError:  # the nursery has been closed meanwhile
            crossing.end_cancelled()

    token.run_sync_soon(begin)
    return crossing


def start_in_asyncio(loop: asyncio.AbstractEventLoop, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> Crossing[T]:
    """Call `fn` in a task of `loop`; from any thread.

    Raises:
        RuntimeError: the loop is closed.
    """
    crossing: Crossing[T] = Crossing()

    async def serve() -> T:
        return await fn(*args)

    def finish(task: asyncio.Task[T]) -> None:
        if task.cancelled():
            crossing.end_cancelled()
        elif (error := task.exception()) is not None:
            crossing.future.set_exception(error)
        else:
            crossing.future.set_result(task.result())

    def begin() -> None:
        task = loop.create_task(serve(), context=crossing.context)
        task.add_done_callback(finish)
        crossing.began(lambda: _soon_in_asyncio(loop, task.cancel))

    loop.call_soon_threadsafe(begin)
    return crossing


def _soon_in_trio(token: trio.lowlevel.TrioToken, fn: Callable[[], object]) -> None:
    with suppress(trio.RunFinishedError):  # then nobody waits there any more
        token.run_sync_soon(fn)


def _soon_in_asyncio(loop: asyncio.AbstractEventLoop, fn: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop is closed: likewise
        loop.call_soon_threadsafe(fn)
