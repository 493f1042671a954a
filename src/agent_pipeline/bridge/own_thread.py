"""One call of an asyncio program, carried out in a thread with a Trio run of its own, to its very end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from agent_pipeline.bridge.crossing import current_flavour
from agent_pipeline.bridge.hosted import Hosted

T = TypeVar("T")

TURN = 0.2
"""Seconds after which a cancellation is noticed at the latest."""


async def run_in_own_thread(fn: Callable[[], Awaitable[T]]) -> T:
    """Call a Trio function from asyncio; the loop of the caller goes on meanwhile.

    What it raises, the caller gets. A caller that is cancelled, also by Ctrl-C, goes on when `fn` was cancelled and has
    ended, and so has the thread.

    Raises:
        RuntimeError: called under Trio, where `fn` can be awaited itself.
    """
    if current_flavour() != "asyncio":
        msg = "this is for asyncio; under Trio, await the method itself"
        raise RuntimeError(msg)

    async def call(_: None) -> T:
        return await fn()

    turning = asyncio.create_task(_keep_turning())
    try:
        async with Hosted(_nothing, name="run") as thread:
            return await thread.run(call)
    finally:
        turning.cancel()


async def _keep_turning() -> None:
    """Let the loop turn: a notebook's kernel cancels the cell in a signal handler, which does not wake its loop."""
    while True:  # noqa: ASYNC110 - nothing is waited for
        await asyncio.sleep(TURN)


@asynccontextmanager
async def _nothing() -> AsyncGenerator[None]:
    """A thread alone is wanted: all else opens and closes inside the call."""
    yield
