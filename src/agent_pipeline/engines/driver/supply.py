"""The source on its way into shards: read when somebody wants documents, a shard at a time."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import trio

from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.errors import AgentPipelineError

LINGER = 0.2
"""Seconds a shard waits for more of a slow source once it has a document."""


class Supply:
    """Cuts a source into lots, one when it is asked for one; at most one entry is read ahead.

    A lot goes as soon as it is full or the source is at its end; one that somebody waits for after `LINGER` seconds.

    Args:
        size: entries of a lot, at most.
        look: called when a lot has its first entry; whoever wants it says so by `hurry`.

    Attributes:
        failure: why the source ended before its end, None where it did not; what came before it is good.
        is_exhausted: there is nothing more to come.
    """

    def __init__(self, size: int, look: Callable[[], None]) -> None:
        self.failure: AgentPipelineError | None = None
        self.is_exhausted = False
        self._size = size
        self._look = look
        self._lot: list[SourceEntry] = []
        self._lingering = trio.CancelScope()
        self._send, self._receive = trio.open_memory_channel[SourceEntry](0)

    async def read(self, entries: AsyncGenerator[SourceEntry]) -> None:
        """Read the source to its end, as far as lots are asked for; it is closed in the end, also when cancelled."""
        async with self._send, aclosing(entries):
            try:
                async for entry in entries:
                    await self._send.send(entry)
            except AgentPipelineError as exc:
                self.failure = exc

    async def take(self, accept: Callable[[SourceEntry], bool]) -> list[SourceEntry]:
        """Wait for the next lot; empty where there is nothing more, though others may be empty, too.

        Args:
            accept: is shown each entry as it is read; what it refuses is in no lot.
        """
        with trio.CancelScope() as self._lingering:
            while len(self._lot) < self._size:
                try:
                    entry = await self._receive.receive()
                except trio.EndOfChannel:
                    self.is_exhausted = True
                    break
                if accept(entry):
                    self._lot.append(entry)
                    if len(self._lot) == 1:
                        self._look()
        lot, self._lot = self._lot, []
        return lot

    @property
    def has_some(self) -> bool:
        """Whether the lot that is being taken has an entry."""
        return bool(self._lot)

    def hurry(self) -> None:
        """Let the lot that is being taken linger no longer than `LINGER` seconds from now: somebody waits for it."""
        self._lingering.deadline = min(self._lingering.deadline, trio.current_time() + LINGER)
