"""A streamed completion: the provider's own chunks as they come, for callers of any flavour."""

from collections import deque
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeAlias

from agent_pipeline.bridge import Hosted
from agent_pipeline.config.role_models import ResolvedCall
from agent_pipeline.llmhub.calls import Hooks, context_of
from agent_pipeline.llmhub.outlets import Feed, Messages, Outlets

Chunk: TypeAlias = Any
"""What the provider's own client library makes of a part of its answer."""


class _Stream:
    """What both flavours share: the hooks around it, and the chunks that came with the last ones.

    Nothing is sent before the first chunk is asked for. The hooks are told at the first chunk and at the end, which
    is also `close`, and whatever error comes first. One that is left without either goes on to its end unseen.
    """

    def __init__(self, hosted: Hosted[Outlets], hooks: Hooks, call: ResolvedCall, messages: Messages) -> None:
        self._hosted = hosted
        self._hooks = hooks
        self._call = call
        self._messages = messages
        self._told = ExitStack()
        self._feed: Feed | None = None
        self._came: deque[object] = deque()
        self._is_over = False

    def _begin(self) -> None:
        self._told.enter_context(self._hooks.around(context_of(self._call, messages=self._messages)))

    def _end(self, error: BaseException | None = None) -> None:
        if not self._is_over:
            self._is_over = True
            self._came.clear()
            self._told.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


class CompletionStream(_Stream):
    """Chunks for code without a loop: `for chunk in hub.stream_completion(...)`; close it, or use `with`."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Chunk:
        """Return the next chunk; blocks.

        Raises:
            LLMError: the answer is not whole.
        """
        if not self._came and not self._is_over:
            try:
                self._take()
            except BaseException as exc:
                self._end(exc)
                raise
        if not self._came:
            raise StopIteration
        return self._came.popleft()

    def _take(self) -> None:
        if self._feed is None:
            self._begin()
            self._feed = Feed()
            self._hosted.run_sync(Outlets.open_feed, self._feed, self._call, self._messages)
        feed = self._feed
        self._came.extend(self._hosted.run_sync(lambda _: feed.next_chunks()))
        if not self._came:
            self._end()

    def close(self) -> None:
        """Leave what has not come yet; the request is cancelled and awaited, and charged as far as anybody knows."""
        feed = self._feed
        if feed is not None and feed.is_begun and not feed.has_ended:
            self._hosted.run_sync(lambda _: feed.close())
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncCompletionStream(_Stream):
    """Chunks under Trio or asyncio: `async for chunk in hub.astream_completion(...)`; close it, or use `async with`."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        """Return the next chunk. One that is cancelled ends the stream for its hooks; it goes on until it is closed.

        Raises:
            LLMError: the answer is not whole.
        """
        if not self._came and not self._is_over:
            try:
                await self._take()
            except BaseException as exc:
                self._end(exc)
                raise
        if not self._came:
            raise StopAsyncIteration
        return self._came.popleft()

    async def _take(self) -> None:
        if self._feed is None:
            self._begin()
            self._feed = Feed()
            await self._hosted.run(Outlets.open_feed, self._feed, self._call, self._messages)
        feed = self._feed
        self._came.extend(await self._hosted.run(lambda _: feed.next_chunks()))
        if not self._came:
            self._end()

    async def aclose(self) -> None:
        """Leave what has not come yet; the request is cancelled and awaited, and charged as far as anybody knows."""
        feed = self._feed
        if feed is not None and feed.is_begun and not feed.has_ended:
            await self._hosted.run(lambda _: feed.close())
        self._end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
