"""What workers report of documents, made true: in ledger and artifacts, in the counts, for the sinks."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeAlias

import trio

from agent_pipeline.control.counts import Counts
from agent_pipeline.control.deadline import run_timeout_passed
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.domain.events import DocumentSizeWarning, DocumentStarted, Event, Rework
from agent_pipeline.domain.usage import NOTHING_SPENT, AttemptRecord
from agent_pipeline.engines.driver.shards import Kept, ShardBook
from agent_pipeline.engines.driver.turns import traced_document
from agent_pipeline.engines.messages import (
    Attempted,
    Began,
    Ended,
    Fence,
    Happened,
    Rejected,
    Report,
    Resulted,
    ShardDocument,
)
from agent_pipeline.errors import AgentPipelineError, LedgerError, PoisonedError
from agent_pipeline.pipeline.admission import Stop, Tally
from agent_pipeline.pipeline.document_records import LedgerRecords
from agent_pipeline.pipeline.ending import Ending
from agent_pipeline.pipeline.failures import as_own_error

Work: TypeAlias = Callable[[], Awaitable[None]]

_TOLD_ONCE = (DocumentStarted, DocumentSizeWarning, Rework)
"""Events of a document's course that it meets again when it begins anew elsewhere."""


@dataclass(slots=True, eq=False)
class _Open:
    """A document that was begun and has not ended.

    Attributes:
        since: when it began, on Trio's clock.
        told: its events that are told once.
        is_traced: its trace was told.
        error: what keeping its last text ended with.
    """

    entry: SourceEntry
    since: float
    told: set[Event] = field(default_factory=set)
    is_traced: bool = False
    error: AgentPipelineError | None = None


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes reports; what it was given is on disk when a call returns. Callers shield its calls.

    A report whose fence counts no more changes nothing. An error that concerns one document ends it; one that concerns
    all stops the run, as it would where the document was worked on here.

    Attributes:
        records: of this session; nobody else writes.
        book: which documents are out.
        tally: takes each document's ending.
        stop: told of errors that concern the run.
        record: takes an attempt, as the gate's own does, and when it happened.
        counts: the gate's.
        tell: takes an event, and when it happened.
        plan_sha256: what determines a document's way through all stages.
        clean: takes secrets out of what a record says.
    """

    records: LedgerRecords
    book: ShardBook
    tally: Tally
    stop: Stop
    record: Callable[[AttemptRecord, datetime | None], None]
    counts: Counts
    tell: Callable[[Event, datetime | None], None]
    plan_sha256: str | None = None
    clean: Callable[[str], str] = str
    _open: dict[str, _Open] = field(default_factory=dict)

    # --- what happens at once ---

    def take_attempt(self, report: Attempted, *, calls: int = 0) -> None:
        """Record and count an attempt, whoever made it: it was made, and has to be paid; `calls` begin with it."""
        self.counts.take(report.record, calls=calls)
        try:
            self.record(report.record, report.at)
        except AgentPipelineError as exc:
            self.stop.request_for(exc)

    def take_result(self, report: Resulted) -> None:
        """Keep what a stage made of a document; it is on disk before the document's end is."""
        if not self._is_current(report.fence, report.result.document_id):
            return
        try:
            self.records.ledger.record_stage_result(report.result)
        except AgentPipelineError as exc:
            self.stop.request_for(exc)

    def take_event(self, report: Happened) -> None:
        """Hand an event on, but for the course of a document that was told before."""
        event = report.event
        if isinstance(event, _TOLD_ONCE):
            document = self._open.get(event.document_id)
            if document is None or event in document.told:
                return
            document.told.add(event)
        document = self._open.get(traced_document(event) or "")
        if document is not None:  # each worker that it meets opens the same trace, which is written once
            if document.is_traced:
                return
            document.is_traced = True
        self.tell(event, report.at)

    # --- what waits for the disk ---

    async def begin(self, batch: Iterable[Report]) -> None:
        """Record the beginnings in a batch, but of documents that were begun before in this session."""
        works: list[Work] = []
        for one in batch:
            if isinstance(one, Began):
                held = self.book.document(one.fence, one.document_id)
                if held is not None and one.document_id not in self._open:
                    works.append(partial(self._begin, held.entry, one))
        await _together(works)

    async def finish(self, batch: Sequence[Report]) -> None:
        """Keep the rejected texts in a batch, then write its ends: many at once, so that they share the syncs."""
        rejected = [one for one in batch if isinstance(one, Rejected)]
        await _together([partial(self._keep, one) for one in rejected if self._is_current(one.fence, one.document.id)])
        await _together([partial(self._end, one) for one in batch if isinstance(one, Ended)])

    async def kept_of(self, documents: Iterable[ShardDocument]) -> dict[str, Kept]:
        """Return what there is by now of those of the documents that were begun in this session."""
        return await self.kept([one.entry.id for one in documents if one.entry.id in self._open])

    async def kept(self, ids: Sequence[str]) -> dict[str, Kept]:
        """Return what the ledger has of these documents."""
        if not ids:
            return {}
        results = await self.records.ledger.find_stage_results(ids)
        spent = await self.records.ledger.spent_on_each(ids)
        return {one: Kept(spent.get(one, NOTHING_SPENT), results.get(one, {})) for one in ids}

    async def give_up(self, document: ShardDocument, why: str) -> None:
        """End a document that loses whoever works on it."""
        entry = document.entry
        error = PoisonedError(
            f"document {entry.id} lost its worker each time it was worked on, at last twice with nothing else in it "
            f"(the last time: {why}); look at it, or leave it out"
        )
        ending = Ending(entry.position, entry.id, entry.source, outcome="failed", error=error)
        opened = self._open.pop(entry.id, None)
        await self._close(ending, duration=None if opened is None else trio.current_time() - opened.since)

    async def close_rest(self) -> None:
        """End all documents that were begun and that nobody works on any more, as cancelled."""
        rest, now = list(self._open.values()), trio.current_time()
        self._open.clear()
        await _together([partial(self._cancel, one.entry, now - one.since) for one in rest])

    def refuse(self, entry: SourceEntry, error: AgentPipelineError) -> None:
        """Take an entry that can't even be entered into the ledger."""
        self.tally.taken += 1
        self._count(Ending(entry.position, entry.id, entry.source, error=error))

    def _is_current(self, fence: Fence, document_id: str) -> bool:
        return self.book.document(fence, document_id) is not None

    async def _begin(self, entry: SourceEntry, report: Began) -> None:
        self.tally.taken += 1
        self._open[entry.id] = _Open(entry, trio.current_time())
        try:
            await self.records.begin(entry, report.digest, plan_sha256=self.plan_sha256, trace_id=report.trace_id)
        except AgentPipelineError as exc:
            del self._open[entry.id]
            self.book.end(report.fence, entry.id)
            self._count(Ending(entry.position, entry.id, entry.source, error=exc))

    async def _keep(self, report: Rejected) -> None:
        try:
            await self.records.keep_rejected(report.document)
        except AgentPipelineError as exc:
            document = self._open.get(report.document.id)
            if document is not None:
                document.error = exc

    async def _end(self, report: Ended) -> None:
        if not self.book.end(report.fence, report.document_id):
            return
        error = None if report.error is None else report.error.revived()
        ending = Ending(
            report.position,
            report.document_id,
            report.source,
            outcome=report.outcome,
            error=error,
            stage=report.stage,
            cycles=report.cycles,
            sent_back=report.sent_back,
        )
        opened = self._open.pop(report.document_id, None)
        if opened is not None and opened.error is not None:
            _fail(ending, opened.error)
        if isinstance(self.stop.error, LedgerError):  # nothing more may be called done: a result of it may be lost
            _fail(ending, self.stop.error)
        if ending.outcome == "cancelled" and ending.error is None:
            ending.error = run_timeout_passed()
        if report.document is not None and ending.outcome == "succeeded":
            try:
                ending.artifact = await self.records.publish(report.document)
            except Exception as exc:  # noqa: BLE001 - as in a stage: whatever it is, it ends this document
                _fail(ending, as_own_error(exc, ending.stage))
        await self._close(ending, duration=None if report.unopened else report.duration, skipped=report.skipped)

    async def _cancel(self, entry: SourceEntry, duration: float) -> None:
        ending = Ending(entry.position, entry.id, entry.source, error=run_timeout_passed())
        await self._close(ending, duration=duration)

    async def _close(self, ending: Ending, *, duration: float | None, skipped: str | None = None) -> None:
        """Write the terminal record; `duration` is None for a document that was never begun."""
        try:
            if duration is None:
                self.tally.taken += 1
                await self.records.close_unopened(ending, skipped)
            else:
                await self.records.close(ending, duration)
        except AgentPipelineError as exc:
            ending.error = exc
        finally:
            self._count(ending)

    def _count(self, ending: Ending) -> None:
        self.tally.count(ending, self.clean)
        if ending.error is not None and ending.error.disposition == "fail_run":
            self.stop.request_for(ending.error)


def _fail(ending: Ending, error: AgentPipelineError) -> None:
    ending.error = error
    ending.outcome = "cancelled" if error.disposition == "fail_run" else "failed"


async def _together(works: Sequence[Work]) -> None:
    """Do all at once; one alone needs no task of its own."""
    if len(works) == 1:
        await works[0]()
        return
    async with trio.open_nursery() as nursery:
        for work in works:
            nursery.start_soon(work)
