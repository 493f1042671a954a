"""The documents that a worker has and has not begun, and when it asks for more."""

from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import trio

from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.engines.link import WorkerEnd
from agent_pipeline.engines.messages import Fence, Hungry, ShardDocument, Take
from agent_pipeline.engines.worker.forwarded_records import ForwardedRecords


@dataclass(slots=True, eq=False)
class Desk:
    """The documents of the shards that a worker has and has not begun.

    Attributes:
        is_complete: whether no shard will follow.
    """

    records: ForwardedRecords
    link: WorkerEnd
    concurrency: int
    is_complete: bool = False
    _waiting: deque[tuple[Fence, ShardDocument]] = field(default_factory=deque)
    _has_asked: bool = False
    _changed: trio.Event = field(default_factory=trio.Event)

    def take(self, command: Take) -> None:
        """Put a shard's documents behind those that wait."""
        self._waiting.extend((command.shard.fence, document) for document in command.shard.documents)
        self._has_asked = False
        self._change()

    def complete(self) -> None:
        """Expect no more shards."""
        self.is_complete = True
        self._change()

    async def entries(self) -> AsyncGenerator[SourceEntry]:
        """Yield entries as they are asked for; ask for more in time."""
        while True:
            self._ask()
            while not self._waiting and not self.is_complete:
                await self._changed.wait()
            if not self._waiting:
                return
            fence, document = self._waiting.popleft()
            self.records.expect(fence, document)
            self._ask()
            yield document.entry

    def _ask(self) -> None:
        if not self._has_asked and not self.is_complete and len(self._waiting) <= self.concurrency:
            self._has_asked = True
            self.link.report(Hungry())
            self.link.flush()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
