"""Work on its way in and results on their way out: what may begin, who waits for what, and that nothing is lost."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import trio

from agent_pipeline.batch.attempts import Spent
from agent_pipeline.batch.given import check_item
from agent_pipeline.batch.items import LLMWorkItem
from agent_pipeline.batch.results import WorkItemResult
from agent_pipeline.errors import BatchClosedError, DuplicateItemError

TInput = TypeVar("TInput")
TOutput = TypeVar("TOutput")
TContext = TypeVar("TContext")


@dataclass(slots=True, eq=False)
class Entry(Generic[TInput, TOutput, TContext]):
    """An item that was taken.

    Attributes:
        position: in the order of adding, from 0.
        added_at: on Trio's clock.
        taken_at: when a worker took it; None before.
        scope: cancels the work on it.
        known: its result as soon as there is one, while hooks still run.
        spent: what its attempts have used up.
    """

    item: LLMWorkItem[TInput, TOutput, TContext]
    position: int
    added_at: float
    taken_at: float | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    known: WorkItemResult[TOutput, TContext] | None = None
    spent: Spent = field(default_factory=Spent)


class Flow(Generic[TInput, TOutput, TContext]):
    """A bounded queue of items, those under way, and the results that wait for whoever reads them.

    A result is never dropped and never made twice: an item leaves `waiting` or `active` in the same step that puts its
    result here. Whoever ends an item has to take the next one: that wakes the others, where more may begin.

    Args:
        queue_size: items that may wait; 0 is unlimited.
        result_size: results that may wait before no new item is begun; 0 is unlimited.
        window: how far an item may run ahead of the first one without a result; None where order does not matter.

    Attributes:
        active: items under way, by id.
        taken: how many were added.
        feeders: sources that may still add.
        closed: why nothing more is taken; None while it is.
        read: results that were handed out.
    """

    def __init__(self, *, queue_size: int, result_size: int, window: int | None) -> None:
        self._queue_size = queue_size
        self._result_size = result_size
        self._window = window
        self.waiting: deque[Entry[TInput, TOutput, TContext]] = deque()
        self.active: dict[str, Entry[TInput, TOutput, TContext]] = {}
        self.taken = 0
        self.feeders = 0
        self.closed: str | None = None
        self._ids: set[str] = set()
        self._ready: deque[WorkItemResult[TOutput, TContext]] = deque()
        self._handed_out: WorkItemResult[TOutput, TContext] | None = None
        self.read = 0
        self._ahead: dict[int, WorkItemResult[TOutput, TContext]] = {}
        self._next = 0
        self._adders = trio.lowlevel.ParkingLot()
        self._workers = trio.lowlevel.ParkingLot()
        self._readers = trio.lowlevel.ParkingLot()

    # --- in ----------------------------------------------------------------------------------------------------------

    async def add(self, item: LLMWorkItem[TInput, TOutput, TContext]) -> None:
        """Take an item; waits while the queue is full. Cancelled, it was not taken.

        Raises:
            TypeError: it is no item.
            DuplicateItemError: an item of this id was taken before.
            BatchClosedError: the batch has ended.
        """
        check_item(item, LLMWorkItem)
        self._check_open(item)
        self._claim(item)
        try:
            while self._queue_size and len(self.waiting) >= self._queue_size:
                await self._adders.park()
                self._check_open(item)
        except BaseException:
            self._ids.discard(item.item_id)
            raise
        self._append(item)

    def add_nowait(self, item: LLMWorkItem[TInput, TOutput, TContext]) -> None:
        """Take an item, however many wait; errors as `add`."""
        check_item(item, LLMWorkItem)
        self._check_open(item)
        self._claim(item)
        self._append(item)

    def _claim(self, item: LLMWorkItem[TInput, TOutput, TContext]) -> None:
        if item.item_id in self._ids:
            msg = f"an item with the id {item.item_id!r} was added before"
            raise DuplicateItemError(msg)
        self._ids.add(item.item_id)

    def _append(self, item: LLMWorkItem[TInput, TOutput, TContext]) -> None:
        self.waiting.append(Entry(item, self.taken, trio.current_time()))
        self.taken += 1
        self._workers.unpark()

    def _check_open(self, item: LLMWorkItem[TInput, TOutput, TContext]) -> None:
        if self.closed is not None:
            msg = f"item {item.item_id!r} came too late: {self.closed}"
            raise BatchClosedError(msg)

    def close(self, reason: str) -> list[Entry[TInput, TOutput, TContext]]:
        """Take nothing more; return what was waiting, whose results are the caller's to make with `end`."""
        self.closed = self.closed or reason
        left = list(self.waiting)
        for lot in (self._adders, self._workers, self._readers):
            lot.unpark_all()
        return left

    def feeder_left(self) -> None:
        """Count a source that will add nothing more."""
        self.feeders -= 1
        self._wake_where_idle()

    # --- work --------------------------------------------------------------------------------------------------------

    async def take(self) -> Entry[TInput, TOutput, TContext] | None:
        """Wait for an item that may begin; None where nothing more will come."""
        await trio.lowlevel.checkpoint()
        while not self._may_begin():
            if self.closed is not None and not self.waiting:
                return None
            await self._workers.park()
        entry = self.waiting.popleft()
        entry.taken_at = trio.current_time()
        self.active[entry.item.item_id] = entry
        self._adders.unpark()
        if self._may_begin():
            self._workers.unpark()  # what let this one begin may let more begin
        return entry

    def _may_begin(self) -> bool:
        if not self.waiting or (self._result_size and len(self._ready) >= self._result_size):
            return False
        return self._window is None or self.waiting[0].position < self._next + self._window

    def end(
        self, entry: Entry[TInput, TOutput, TContext], result: WorkItemResult[TOutput, TContext]
    ) -> WorkItemResult[TOutput, TContext]:
        """Give an item its one result; it is neither waiting nor under way any more. Returns what readers will see."""
        if self.active.pop(entry.item.item_id, None) is None:
            self.waiting.remove(entry)
        result = replace(result, item_id=entry.item.item_id, position=entry.position)
        if self._window is None:
            self._ready.append(result)
        else:
            self._ahead[entry.position] = result
            while self._next in self._ahead:
                self._ready.append(self._ahead.pop(self._next))
                self._next += 1
        self._readers.unpark()
        self._wake_where_idle()
        return result

    # --- out ---------------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether every item has its result and no source is left that could add one."""
        return not self.waiting and not self.active and self.feeders == 0

    async def next_result(self, read: int) -> WorkItemResult[TOutput, TContext] | None:
        """Wait for the next result; None where there is none left and nothing is under way.

        Args:
            read: how many results the reader has got. A reader in another thread that is cancelled may not get the one
                it was given; it then comes again.
        """
        await trio.lowlevel.checkpoint()
        if self._handed_out is not None and read < self.read:
            return self._handed_out
        self._handed_out = None
        while not self._ready:
            if self.is_idle:
                return None
            await self._readers.park()
        self._handed_out = self._ready.popleft()
        self.read = read + 1
        self._workers.unpark()
        return self._handed_out

    async def read_all(self, read: int, take: Callable[[WorkItemResult[TOutput, TContext]], None]) -> None:
        """Hand on every result until there is none left and nothing is under way; cancelled, none is lost.

        Args:
            read: as `next_result` has it.
            take: must not raise; called under Trio.
        """
        await trio.lowlevel.checkpoint()
        if self._handed_out is not None and read < self.read:
            take(self._handed_out)
        self._handed_out = None
        while self._ready or not self.is_idle:
            if not self._ready:
                await self._readers.park()
                continue
            take(self._ready.popleft())
            self._workers.unpark()

    def unread(self, read: int) -> list[WorkItemResult[TOutput, TContext]]:
        """Return the results that nobody has got, who got so many; from any thread."""
        last = self._handed_out
        return [*([] if last is None or read >= self.read else [last]), *self._ready, *self._ahead.copy().values()]

    def depth(self) -> tuple[int, int, int]:
        """Return how many items wait, are under way, and have a result that waits for a reader."""
        return len(self.waiting), len(self.active), len(self._ready) + len(self._ahead)

    def _wake_where_idle(self) -> None:
        if self.is_idle:
            self._readers.unpark_all()
