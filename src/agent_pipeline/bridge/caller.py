"""Whoever called from outside: code of theirs runs where they are."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

import trio

from agent_pipeline.bridge.crossing import current_flavour, start_in_asyncio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class Caller:
    """The loop that a public method was called in; its functions are called there, from Trio.

    Whoever called has to wait meanwhile (`Hosted.run`), so that the loop is there. A caller without a loop is blocked,
    so its functions run beside it: coroutine functions under Trio, plain ones in a worker thread.

    Attributes:
        loop: None under Trio, and without a loop.
        is_sync: whether it has no loop.
    """

    loop: asyncio.AbstractEventLoop | None
    is_sync: bool

    @classmethod
    def here(cls) -> "Caller":
        """Return who is calling now."""
        flavour = current_flavour()
        return cls(asyncio.get_running_loop() if flavour == "asyncio" else None, flavour == "sync")

    async def run(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Call a coroutine function of theirs; on cancellation it is cancelled and awaited.

        Raises:
            concurrent.futures.CancelledError: it cancelled itself, under asyncio.
        """
        if self.loop is None:
            return await fn(*args)
        return await start_in_asyncio(self.loop, fn, *args).wait_in_trio()

    async def tell(self, fn: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call a plain function of theirs."""
        if self.is_sync:
            return await trio.to_thread.run_sync(fn, *args)
        if self.loop is None:
            return fn(*args)

        async def call() -> T:
            return fn(*args)

        return await start_in_asyncio(self.loop, call).wait_in_trio()
