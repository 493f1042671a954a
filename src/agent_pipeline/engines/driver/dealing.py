"""Documents from the source to the workers that are hungry; and a worker more where documents wait for one."""

from collections.abc import AsyncGenerator, Callable

import trio

from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.engines.driver.employment import Employment
from agent_pipeline.engines.driver.intake import Intake
from agent_pipeline.engines.driver.shards import Kept
from agent_pipeline.engines.driver.staff import Staff
from agent_pipeline.engines.driver.supply import Supply
from agent_pipeline.engines.messages import Command, Finish, ShardDocument, StopTaking, Take
from agent_pipeline.errors import AgentPipelineError, DuplicateDocumentError
from agent_pipeline.pipeline.admission import Stop


class Dealing:
    """Cuts the source into shards and deals them out, the next to whoever is hungry and has room.

    A worker is opened for what waits and nobody there, or coming, will take. So a source of some documents gets one
    worker; a long one gets all at once, since it is read on while there is a place. Until all are there, none is given
    a shard ahead of what it can have in flight: it would wait there, and another worker would have nothing.

    Args:
        intake: refuses what can't be entered, and knows what is kept of documents.
        stop: ends it early.
        staff: whom there is.
        shard_size: documents that go out together.
        employ: opens a worker in a new place.
        end_with: tells all workers how to end.
    """

    def __init__(
        self,
        *,
        intake: Intake,
        stop: Stop,
        staff: Staff,
        shard_size: int,
        employ: Callable[[], None],
        end_with: Callable[[Command], None],
    ) -> None:
        self._intake = intake
        self._book = intake.book
        self._stop = stop
        self._staff = staff
        self._employ = employ
        self._end_with = end_with
        self._supply = Supply(shard_size, self._look)
        self._hungry: dict[int, Employment] = {}
        self._wanting = trio.lowlevel.ParkingLot()
        self._supplying = trio.CancelScope()

    @property
    def failure(self) -> AgentPipelineError | None:
        """Why the source ended before its end, None where it did not."""
        return self._supply.failure

    async def hand_out(self, entries: AsyncGenerator[SourceEntry]) -> None:
        """Let the source become shards, until it is at its end and all is done, or the run stops."""
        with self._supplying:
            with self._stop.admission:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._supply.read, entries)
                    nursery.start_soon(self._cut)
                await trio.sleep_forever()
            self._end_with(StopTaking())

    def ask(self, worker: Employment) -> None:
        """Know that a worker is hungry; it is dealt to with the next `deal`."""
        self._staff.come(worker.number)
        self._hungry[worker.number] = worker

    def forget(self, number: int) -> None:
        """Give a worker nothing any more."""
        self._hungry.pop(number, None)

    def deal(self) -> None:
        """Give what waits to those who are hungry; cut more where that is not enough, or end the run's work.

        Who has least is first, so that nobody has a shard ahead while another has nothing.
        A run that stops gives nothing more to anybody: what waits then was begun and is closed at the end, or was not.
        """
        if self._stop.reason is not None:
            return
        for worker in sorted(self._hungry.values(), key=lambda one: self._book.in_hand(one.number)):
            shard = self._book.deal(worker.number) if self._has_room(worker.number) else None
            if shard is not None:
                del self._hungry[worker.number]
                worker.send(Take(shard))
        if self._supply.is_exhausted and self._book.is_empty:
            self._end_with(Finish())
            self._supplying.cancel()
        else:
            self._look()
            self._wanting.unpark_all()

    async def _cut(self) -> None:
        while not self._supply.is_exhausted:
            while not (self._staff.has_place or self._is_wanted()):
                await self._wanting.park()
            lot = await self._supply.take(self._accept)
            try:
                known = await self._intake.kept([one.id for one in lot if one.id in self._intake.records.begun_before])
            except AgentPipelineError as exc:
                self._stop.request_for(exc)
                return
            if lot:
                self._book.add([_with(one, known.get(one.id)) for one in lot])
            self.deal()

    def _accept(self, entry: SourceEntry) -> bool:
        """Refuse an entry whose id another one has that has not ended; of those that have, the ledger knows."""
        position = self._book.enter(entry.id, entry.position)
        if position is None:
            return True
        words = f"number {position} and number {entry.position} ({entry.source or 'unknown source'})"
        error = f"two documents have the id {entry.id!r}: {words}; ids must be unique within a run"
        self._intake.refuse(entry, DuplicateDocumentError(error))
        return False

    def _look(self) -> None:
        """See who is wanted: those who are hungry want what is being cut, or what waits wants workers."""
        waiting = self._book.waiting
        if self._supply.has_some:
            if self._is_wanted():
                self._supply.hurry()
            else:
                waiting += 1
        if self._stop.reason is None:
            for _ in range(self._staff.hire(waiting - self._staff.coming)):
                self._employ()

    def _is_wanted(self) -> bool:
        """Whether somebody would be given what is cut now."""
        return any(map(self._has_room, self._hungry))

    def _has_room(self, number: int) -> bool:
        if not self._book.may_have_more(number):
            return False
        is_complete = not (self._staff.has_place or self._staff.coming)
        return is_complete or self._book.in_hand(number) < self._staff.concurrency


def _with(entry: SourceEntry, kept: Kept | None) -> ShardDocument:
    """Return an entry with what earlier sessions left of it."""
    return ShardDocument(entry) if kept is None else ShardDocument(entry, spent=kept.spent, results=kept.results)
