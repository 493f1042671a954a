"""One resource that lives under Trio, for callers of any flavour: Trio, asyncio, ordinary code."""

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent import futures
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar, TypeVarTuple

import trio

from agent_pipeline.bridge.crossing import current_flavour, start_in_trio, wait_in_asyncio, wait_in_trio

R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EXIT_GRACE = 5.0
"""Seconds that the end of the process waits for a thread nobody closed."""


@dataclass(frozen=True, slots=True)
class _Place(Generic[R]):
    """Where a resource is open: calls to it run in tasks of `nursery`, in this thread of this process."""

    token: trio.lowlevel.TrioToken
    nursery: trio.Nursery
    resource: R
    thread_id: int
    process_id: int
    calls: "_CallsHere"

    @classmethod
    def here(cls, nursery: trio.Nursery, resource: R) -> "_Place[R]":
        token = trio.lowlevel.current_trio_token()
        return cls(token, nursery, resource, threading.get_ident(), os.getpid(), _CallsHere())


class _CallsHere:
    """Calls in the very run that the resource is open in: in their callers' own tasks, so that none costs a task."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._left = trio.lowlevel.ParkingLot()

    async def run(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Call `fn` until it ends or `end` is called.

        Raises:
            concurrent.futures.CancelledError: the latter.
        """
        scope = trio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                return await fn(*args)
        finally:
            self._scopes.remove(scope)
            self._left.unpark_all()
        raise futures.CancelledError

    async def end(self) -> None:
        """Cancel all and wait until they have ended, also when cancelled."""
        for scope in self._scopes:
            scope.cancel()
        with trio.CancelScope(shield=True):
            while self._scopes:
                await self._left.park()


class Hosted(Generic[R]):
    """Keeps one resource open and brings calls to it.

    `async with` under Trio opens it in the caller's own run, where calls cost nothing more; under asyncio, and where
    it is used without `async with`, in a thread with a Trio run of its own, at the first call. Callers may be of any
    flavour either way, in any thread and at once. A caller that is cancelled goes on when the call has ended: what was
    under way is charged then.

    A thread that is not closed ends with this object, or with the process. A process that was forked meanwhile has no
    such thread: calls there are refused, and closing does nothing.

    Args:
        open_resource: opens it, under Trio; one that holds on to this object keeps its thread to the process's end.
        name: what its user knows it by, for messages.
    """

    def __init__(self, open_resource: Callable[[], AbstractAsyncContextManager[R]], *, name: str = "resource") -> None:
        self._open_resource = open_resource
        self._stack: AsyncExitStack | None = None
        self._place: _Place[R] | None = None
        self._thread: _TrioThread[R] | None = None
        self._opening = threading.Lock()
        self._is_closed = False
        self._name = name

    async def __aenter__(self) -> Self:
        """Open it; what opening raises leaves nothing open."""
        self.check_not_closed()
        if self._place is not None:
            msg = f"this {self._name} was opened before; make a new one"
            raise RuntimeError(msg)
        if current_flavour() == "asyncio":
            # Opening may take seconds (imports, a TLS context), in which this loop goes on.
            self._place = await asyncio.to_thread(self._started)
            return self
        async with AsyncExitStack() as stack:
            # By hand: as blocks, nurseries would make a group of whatever leaves the caller's own block.
            opening, manager = self._open_resource(), trio.open_nursery()
            resource = await opening.__aenter__()
            stack.push_async_callback(opening.__aexit__, None, None, None)
            nursery = await manager.__aenter__()
            stack.push_async_callback(manager.__aexit__, None, None, None)
            stack.callback(nursery.cancel_scope.cancel)
            place = _Place.here(nursery, resource)
            stack.push_async_callback(place.calls.end)
            self._stack = stack.pop_all()
        self._place = place
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Cancel what is under way and close it."""
        if self._stack is None:
            await self.aclose()
            return None
        self._is_closed, self._place = True, None
        return await self._stack.__aexit__(kind, error, trace)

    async def run(self, fn: Callable[[R, *Ts], Awaitable[T]], *args: *Ts) -> T:
        """Call `fn` with the resource, under Trio, from Trio or asyncio.

        Raises:
            RuntimeError: it is closed, or open in the process that this one was forked from.
            concurrent.futures.CancelledError: it was closed meanwhile.
        """
        place = self._found()
        if current_flavour() == "trio":
            if place is None:
                place = await trio.to_thread.run_sync(self._started)
            if place.token is trio.lowlevel.current_trio_token():
                return await place.calls.run(fn, place.resource, *args)
            return await _cross(place, fn, *args)
        if place is None:
            place = await asyncio.to_thread(self._started)
        return await start_in_trio(place.token, place.nursery, fn, place.resource, *args).wait_in_asyncio()

    def run_sync(self, fn: Callable[[R, *Ts], Awaitable[T]], *args: *Ts) -> T:
        """Call `fn` with the resource, under Trio, and block this thread until it has ended; errors as `run`.

        Raises:
            RuntimeError: called in the very thread whose run has to answer, as a task of it or of a guest in it.
        """
        place = self._found() or self._started()
        if place.thread_id == threading.get_ident():
            msg = "this would block the run that has to answer it; await the asynchronous method"
            raise RuntimeError(msg)
        return start_in_trio(place.token, place.nursery, fn, place.resource, *args).wait()

    def tell(self, fn: Callable[[R, *Ts], object], *args: *Ts) -> None:
        """Call a plain function with the resource soon, in its run; from any thread. It must not raise.

        Raises:
            RuntimeError: nothing is open.
        """
        place = self._found()
        if place is None:
            self.check_not_closed()
            msg = f"this {self._name} is not open"
            raise RuntimeError(msg)
        place.token.run_sync_soon(fn, place.resource, *args)

    async def aclose(self) -> None:
        """Cancel what is under way and close its thread; from Trio or asyncio, also when cancelled."""
        thread = self._leave()
        if thread is None:
            return
        thread.stop()
        wait = wait_in_trio if current_flavour() == "trio" else wait_in_asyncio
        await wait(thread.closed, thread.stop)

    def close(self) -> None:
        """Cancel what is under way and close it; blocks until it is closed."""
        thread = self._leave()
        if thread is not None:
            thread.stop()
            thread.closed.result()

    def check_not_closed(self) -> None:
        """Do nothing while it may be used.

        Raises:
            RuntimeError: it is closed.
        """
        if self._is_closed:
            msg = f"this {self._name} is closed; make a new one"
            raise RuntimeError(msg)

    def _found(self) -> _Place[R] | None:
        place = self._place
        if place is not None and place.process_id != os.getpid():
            msg = "it is open in the process that this one was forked from; make a new one here"
            raise RuntimeError(msg)
        return place

    def _leave(self) -> "_TrioThread[R] | None":
        with self._opening:
            thread, self._thread = self._thread, None
            if self._stack is None:
                self._is_closed, self._place = True, None
            return thread if thread is not None and thread.process_id == os.getpid() else None

    def _started(self) -> _Place[R]:
        with self._opening:
            self.check_not_closed()
            if self._place is None:
                thread = _TrioThread(self._open_resource)
                self._place = thread.start()
                self._thread = thread
                weakref.finalize(self, thread.abandon)
            return self._place


@trio.lowlevel.enable_ki_protection
async def _cross(place: _Place[R], fn: Callable[[R, *Ts], Awaitable[T]], *args: *Ts) -> T:
    """Call from one Trio run into another; an interrupt comes at the wait, so that none leaves a call behind."""
    return await start_in_trio(place.token, place.nursery, fn, place.resource, *args).wait_in_trio()


class _TrioThread(Generic[R]):
    """A thread whose Trio run keeps one resource open; it knows nothing of who uses it.

    Attributes:
        closed: done when the run has ended.
        process_id: whose it is; a fork has none of its parent's threads.
    """

    def __init__(self, open_resource: Callable[[], AbstractAsyncContextManager[R]]) -> None:
        self._open_resource = open_resource
        self.process_id = os.getpid()
        self.closed: futures.Future[None] = futures.Future()
        self._opened: futures.Future[tuple[_Place[R], trio.Event]] = futures.Future()
        self._thread = threading.Thread(target=self._run, name="agent-pipeline", daemon=True)

    def start(self) -> _Place[R]:
        """Return when it is open; raises what opening raises. Where an interrupt comes first, it closes by itself."""
        self._thread.start()
        try:
            if self._opened.exception() is not None:
                self._thread.join()  # it has nothing left to do, and whoever counts threads finds none of ours
            return self._opened.result()[0]
        except BaseException:
            self._opened.add_done_callback(_stop_if_open)
            raise

    def stop(self) -> None:
        """Ask it to close; from any thread, as often as wanted."""
        _stop_if_open(self._opened)

    def abandon(self) -> None:
        """Close it, for want of anybody who would."""
        if self.process_id != os.getpid():
            return
        self.stop()
        if threading.current_thread() is not self._thread:
            futures.wait([self.closed], timeout=EXIT_GRACE)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as exc:
            if self._opened.done():
                raise
            self._opened.set_exception(exc)
        finally:
            self.closed.set_result(None)

    async def _main(self) -> None:
        stopped = trio.Event()
        async with self._open_resource() as resource, trio.open_nursery() as nursery:
            place = _Place.here(nursery, resource)
            self._opened.set_result((place, stopped))
            await stopped.wait()
            nursery.cancel_scope.cancel()


def _stop_if_open(opened: "futures.Future[tuple[_Place[R], trio.Event]]") -> None:
    if opened.exception() is None:
        place, stopped = opened.result()
        with suppress(trio.RunFinishedError):
            place.token.run_sync_soon(stopped.set)
