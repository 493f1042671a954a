"""Documents into the nursery: a place first, then a task; and what makes a run stop early."""

import math
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import trio

from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.domain.events import RunCancelling, RunStopping
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.result import DocumentCounts, DocumentFailure, WorkerTotals
from agent_pipeline.domain.snapshot import UnderWay
from agent_pipeline.errors import AgentPipelineError, BudgetExceededError, DiskFullError, EngineError
from agent_pipeline.ledger import KnownDocument
from agent_pipeline.pipeline.ending import Ending
from agent_pipeline.pipeline.itinerary import Itinerary
from agent_pipeline.pipeline.journey import travel

SHOWN_FAILURES = 100
"""Failures a result carries; the ledger has them all."""


@dataclass(slots=True)
class Stop:
    """Why no more documents are admitted, and whether those in flight are cancelled; the first reason stays.

    Only that of a budget grows, by other budgets that are used up later.

    Attributes:
        scope: around the documents; `cancel` cancels it and says so.
        reason: a stable word, None while the run goes on.
        error: what caused it, where an error did.
        opening: around the opening of what works on documents elsewhere, which may never be there.
        admission: around the waiting for places and for the source, which may never say anything again.
        cancelling: set when the documents in flight are being cancelled, or would be if there were any.
    """

    emit: Emit
    scope: trio.CancelScope
    reason: str | None = None
    error: AgentPipelineError | None = None
    opening: trio.CancelScope = field(default_factory=trio.CancelScope)
    admission: trio.CancelScope = field(default_factory=trio.CancelScope)
    cancelling: trio.Event = field(default_factory=trio.Event)
    _limited: trio.Event = field(default_factory=trio.Event)
    _timeout: float = math.inf
    _used_up: dict[str, None] = field(default_factory=dict)

    def request(
        self,
        reason: str,
        detail: str,
        *,
        cancel: bool,
        error: AgentPipelineError | None = None,
        further: str | None = None,
    ) -> None:
        """Stop admitting, and with `cancel` those in flight as well; `further` tells what one more signal does."""
        if self.reason is None:
            self.reason, self.error = reason, error
            self.emit(RunStopping(reason, detail, further))
            self.opening.cancel()
            self.admission.cancel()
        if cancel:
            self.cancel(reason)

    def request_for(self, error: AgentPipelineError) -> None:
        """Stop for an error that concerns every document.

        A budget that is used up, or a disk that is full, cancels nobody: what is in flight may still fit, or has been
        paid for. Nor do workers that can't be used: others may have work. All else would fail alike. The reason names
        every budget that was met, also those met later.
        """
        if isinstance(error, BudgetExceededError):
            self._used_up |= dict.fromkeys(error.dimensions)
            # The run's own first, so that which request met its end first makes no difference.
            reason = f"budget:{','.join(sorted(self._used_up, key=lambda name: (name.startswith('role:'), name)))}"
            self.request(reason, str(error), cancel=False, error=error)
            if self.reason is not None and self.reason.startswith("budget:"):
                self.reason = reason
        else:
            is_gentle = isinstance(error, DiskFullError | EngineError)
            self.request(error.code, str(error), cancel=not is_gentle, error=error)

    def cancel(self, reason: str) -> None:
        """Cancel the documents in flight, and say so once."""
        if not self.cancelling.is_set():
            self.cancelling.set()
            self.emit(RunCancelling(reason))
            self.scope.cancel()

    def limit(self, timeout: float) -> None:
        """Let the documents end `timeout` seconds from now; `watch_limit` tells when they do."""
        self.scope.deadline = trio.current_time() + timeout
        self._timeout = timeout
        self._limited.set()

    async def watch_limit(self) -> None:
        """Stop the run when its own timeout runs out; a task beside the documents, until then or until cancelled.

        The scope's deadline alone would cancel them without a word, and nobody would know since when.
        """
        await self._limited.wait()
        await trio.sleep_until(self.scope.deadline)
        self.time_out()

    def time_out(self) -> None:
        """Stop because the run's own timeout ran out."""
        self.request("deadline:run", f"the run's timeout of {self._timeout:g} s ran out", cancel=True)


@dataclass(slots=True)
class Tally:
    """Endings counted as they come; its size does not grow with the number of documents.

    Attributes:
        workers: what became of those that worked on the documents, None where this process does.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    failure_codes: Counter[str] = field(default_factory=Counter)
    failures: deque[tuple[int, DocumentFailure]] = field(default_factory=lambda: deque(maxlen=SHOWN_FAILURES))
    taken: int = 0
    kept: int = 0
    workers: WorkerTotals | None = None

    def count_kept(self, entry: SourceEntry, known: KnownDocument) -> None:
        """Take the ending a document had in an earlier session."""
        self.taken += 1
        self.kept += 1
        self.outcomes[known.outcome or "cancelled"] += 1
        if known.outcome == "failed":
            code = known.error_code or AgentPipelineError.code
            self.failure_codes[code] += 1
            self.failures.append(
                (entry.position, DocumentFailure(entry.id, known.failed_stage, code, known.error or ""))
            )

    def count(self, ending: Ending, clean: Callable[[str], str] = str) -> None:
        """Take one document's one ending; `clean` takes secrets out of what it says."""
        self.outcomes[ending.outcome] += 1
        if ending.outcome == "failed" and ending.error is not None:
            self.failure_codes[ending.error.code] += 1
            failure = DocumentFailure(ending.document_id, ending.stage, ending.error.code, clean(str(ending.error)))
            self.failures.append((ending.position, failure))

    def counts(self) -> DocumentCounts:
        """Return the documents by outcome."""
        done = self.outcomes
        return DocumentCounts(self.taken, done["succeeded"], done["failed"], done["skipped"], done["cancelled"])

    def shown_failures(self) -> tuple[DocumentFailure, ...]:
        """Return the last failures, in source order."""
        return tuple(failure for _, failure in sorted(self.failures, key=lambda pair: pair[0]))


class Admission:
    """Admits documents into a nursery, at most so many at once.

    Args:
        nursery: the run's top-level one; one task per document is started in it.
        in_flight: documents at once.
    """

    def __init__(
        self, nursery: trio.Nursery, *, itinerary: Itinerary, in_flight: int, tally: Tally, stop: Stop
    ) -> None:
        self._nursery = nursery
        self._itinerary = itinerary
        self._places = trio.CapacityLimiter(in_flight)
        self._tally = tally
        self._stop = stop

    def set_in_flight(self, count: int) -> None:
        """Admit at most so many at once from now on; those beyond that which are under way go on."""
        self._places.total_tokens = count

    def elsewhere(self) -> tuple[UnderWay, ...]:
        """Return what other processes have under way: nothing."""
        return ()

    async def admit(self, entries: AsyncGenerator[SourceEntry]) -> None:
        """Start a task for each entry once there is a place, until the source or the run ends.

        The source is asked for the next document only when there is a place for it. Cancelled, it starts no more.

        Raises:
            InputError: the source turned out to be unusable; what was admitted goes on.
        """
        with self._stop.admission:
            async with aclosing(entries):
                while await self._admit_one(entries):
                    pass

    async def _admit_one(self, entries: AsyncGenerator[SourceEntry]) -> bool:
        ending = Ending(0, "", None)
        await self._places.acquire_on_behalf_of(ending)
        entry = await anext(entries, None)
        if entry is None or self._stop.reason is not None:
            return False  # nobody waits for this place any more
        ending.position, ending.document_id, ending.source = entry.position, entry.id, entry.source
        self._tally.taken += 1
        self._nursery.start_soon(self._travel, entry, ending, name=f"document {entry.id}")
        return True

    async def _travel(self, entry: SourceEntry, ending: Ending) -> None:
        try:
            await travel(entry, self._itinerary, ending)
        except AgentPipelineError as exc:
            ending.error = exc
        finally:
            self._places.release_on_behalf_of(ending)
            self._tally.count(ending, self._itinerary.clean)
            if ending.error is not None and ending.error.disposition == "fail_run":
                self._stop.request_for(ending.error)
