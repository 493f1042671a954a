"""One call of an asyncio program, carried out in a thread with a Trio run of its own, to its very end."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from agent_pipeline.bridge.crossing import current_flavour
from agent_pipeline.bridge.hosted import Hosted

T = TypeVar("T")


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

    async with Hosted(_nothing, name="run") as thread:
        return await thread.run(call)


@asynccontextmanager
async def _nothing() -> AsyncGenerator[None]:
    """A thread alone is wanted: all else opens and closes inside the call."""
    yield
