"""Where a hub's calls go: to providers that speak OpenAI's API, or to those that any-llm knows; under Trio."""

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent import futures
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from agent_pipeline import gateway as gateways  # imported at the first call
from agent_pipeline.bridge import AsyncioThread
from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.role_models import KNOWN_ADDRESSES, ResolvedCall, RuntimeConfig

Messages = Sequence[Mapping[str, Any]]
Inputs = str | Sequence[Any]


class Feed:
    """Chunks of one streamed answer, kept until somebody takes them; at most as many as one answer may have.

    Made by its reader, so that it can be closed whenever its reader is cancelled; used under Trio.

    Attributes:
        is_begun: whether there is a task that fills it.
    """

    def __init__(self) -> None:
        self._chunks, self._reader = trio.open_memory_channel[object](2**30)
        self._error: Exception | None = None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self.is_begun = False

    @property
    def has_ended(self) -> bool:
        """Whether the task that fills it has ended."""
        return self._ended.is_set()

    async def fill(self, produce: Callable[[Callable[[object], None]], Awaitable[None]]) -> None:
        """Let `produce` hand over its chunks, in a task of its own; what it raises is raised where they are taken."""
        try:
            with self._scope:
                await produce(self._chunks.send_nowait)
        except Exception as exc:  # noqa: BLE001 - handed to the reader, whose it is
            self._error = exc
        except trio.Cancelled:  # by the hub, which closes; no reader may take that for the answer's end
            self._error = futures.CancelledError()
            raise
        finally:
            self._chunks.close()
            self._ended.set()

    async def next_chunks(self) -> list[object]:
        """Return the chunks there are, at least one; none at the end of a whole answer.

        Raises:
            LLMError: the answer is not whole; the chunks before are.
            concurrent.futures.CancelledError: the hub was closed before its end.
        """
        try:
            chunks = [await self._reader.receive()]
        except trio.EndOfChannel:
            if self._error is not None:
                raise self._error from None
            return []
        while self._reader.statistics().current_buffer_used:
            chunks.append(self._reader.receive_nowait())
        return chunks

    async def close(self) -> None:
        """Cancel what is under way and await it, also when cancelled; the request is charged then."""
        self._scope.cancel()
        if self.is_begun:
            with trio.CancelScope(shield=True):
                await self._ended.wait()


class Outlets:
    """Both ways out, behind one gate; opened by `open_outlets`.

    Args:
        raw: the way to providers that speak OpenAI's API.
        is_native: whether a provider, by its id, is one of them.
        make_foreign: makes the way to all others, at the first call of one.
        nursery: for streamed answers beside their readers.
    """

    def __init__(
        self,
        raw: "gateways.RawCalls",
        is_native: Callable[[str], bool],
        make_foreign: "Callable[[], gateways.ForeignProviders]",
        nursery: trio.Nursery,
    ) -> None:
        self._raw = raw
        self._is_native = is_native
        self._foreign = functools.cache(make_foreign)
        self._nursery = nursery

    def _way(self, call: ResolvedCall) -> "gateways.RawCalls | gateways.ForeignProviders":
        return self._raw if self._is_native(call.provider) else self._foreign()

    async def completion(self, call: ResolvedCall, messages: Messages) -> object:
        """Return the provider's own answer."""
        return await self._way(call).completion(call, messages)

    async def embedding(self, call: ResolvedCall, inputs: Inputs) -> object:
        """Return the provider's own answer."""
        return await self._way(call).embedding(call, inputs)

    async def open_feed(self, feed: Feed, call: ResolvedCall, messages: Messages) -> None:
        """Begin a streamed answer."""
        self._nursery.start_soon(feed.fill, functools.partial(self._way(call).stream, call, messages))
        feed.is_begun = True


@asynccontextmanager
async def open_outlets(
    runtime: RuntimeConfig,
    limits: LimitsConfig,
    make_pool: "Callable[[], gateways.ConnectionPool] | None",
) -> AsyncGenerator[Outlets]:
    """Open both, under Trio; streams that go on are cancelled at the end, and connections closed."""
    gate = gateways.make_gate(limits, budget=gateways.make_budget(limits, runtime), closes_for_good=False)
    endpoints = gateways.endpoints_with_keys(runtime)
    async with AsyncExitStack() as stack:

        def make_foreign() -> "gateways.ForeignProviders":
            guests = AsyncioThread()
            timeouts = limits.timeouts
            foreign = gateways.ForeignProviders(
                runtime,
                gate=gate,
                run_in_asyncio=guests.run,
                connect_timeout=timeouts.connect,
                read_timeout=timeouts.read,
            )
            stack.push_async_callback(_close, foreign, guests)
            return foreign

        opening = gateways.open_raw_calls(runtime, endpoints, limits, gate=gate, make_pool=make_pool)
        raw = await stack.enter_async_context(opening)
        nursery = await stack.enter_async_context(trio.open_nursery())
        yield Outlets(raw, lambda provider: is_native(runtime, provider), make_foreign, nursery)
        nursery.cancel_scope.cancel()


def is_native(runtime: RuntimeConfig, provider: str) -> bool:
    """Tell whether a provider speaks OpenAI's API at an address that is known; all others are any-llm's."""
    return runtime.providers[provider].base_url is not None or provider in KNOWN_ADDRESSES


async def _close(foreign: "gateways.ForeignProviders", guests: AsyncioThread) -> None:
    with trio.CancelScope(shield=True):
        await foreign.aclose()
        await trio.to_thread.run_sync(guests.close)
