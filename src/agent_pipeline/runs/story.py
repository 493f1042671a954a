"""One document's way through a run, told from the ledger: its stages, by session and cycle, with their requests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.ledger import DocumentRow, LedgerReader, SessionRow, StageResultRow

LeftBy = Literal["session", "worker"]
_Key = tuple[str | None, int | None, int]


@dataclass(frozen=True, slots=True)
class StagePass:
    """One pass of a document through a stage.

    Attributes:
        stage: None for requests that no stage made.
        cycle: 1 is the first pass, rework adds; None where `stage` is.
        result: what it came to last; None where it never ended well.
        attempts: its HTTP requests, in the order they were sent.
        session: in which it was made.
        left_by: who left it without a result, so that the document was begun anew: a session that is over, or within
            one a worker that was lost; None where it has a result, or may still come to one.
    """

    stage: str | None
    cycle: int | None
    result: StageResultRow | None
    attempts: tuple[AttemptRecord, ...]
    session: int
    left_by: LeftBy | None = None

    @property
    def started_at(self) -> datetime:
        """When it began; where it never ended well, when its first request began to wait."""
        if self.result is not None:
            return self.result.started_at
        first = self.attempts[0]
        return first.started_at - timedelta(seconds=first.wait_seconds)

    @property
    def calls(self) -> tuple[tuple[AttemptRecord, ...], ...]:
        """The attempts of each call, in the order the calls were made in."""
        calls: dict[str, list[AttemptRecord]] = {}
        for attempt in self.attempts:
            calls.setdefault(attempt.call_id or attempt.attempt_id, []).append(attempt)
        return tuple(map(tuple, calls.values()))


@dataclass(frozen=True, slots=True)
class DocumentStory:
    """A document and its passes, in the order they began in."""

    document: DocumentRow
    passes: tuple[StagePass, ...]

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        """All of its HTTP requests."""
        return tuple(attempt for one in self.passes for attempt in one.attempts)


def story_of(ledger: LedgerReader, document: DocumentRow) -> DocumentStory:
    """Tell of one document; three look-ups in the ledger, however large it is."""
    sessions = list(ledger.sessions())
    results: dict[_Key, StageResultRow] = {}
    attempts: dict[_Key, list[AttemptRecord]] = {}
    for result in ledger.stage_results_of(document.document_id):
        results[result.stage, result.cycle, _session_at(sessions, result.started_at)] = result
    for row in ledger.attempts_of(document.document_id):
        attempts.setdefault((row.attempt.stage, row.attempt.cycle, row.session), []).append(row.attempt)
    passes = [
        one
        for key in dict.fromkeys([*results, *attempts])
        for one in _passes(key, results.get(key), attempts.get(key, ()), document.session)
    ]
    return DocumentStory(document, tuple(sorted(passes, key=lambda one: one.started_at)))


def stories(ledger: LedgerReader) -> Iterator[DocumentStory]:
    """Tell of every document, in source order; one at a time is in memory."""
    for document in ledger.documents():
        yield story_of(ledger, document)


def _session_at(sessions: Sequence[SessionRow], moment: datetime) -> int:
    return max((one.session for one in sessions if one.started_at <= moment), default=1)


def _passes(
    key: _Key, result: StageResultRow | None, attempts: Sequence[AttemptRecord], last_session: int
) -> Iterator[StagePass]:
    """Yield a stage's pass in one session, and before it what workers that were lost had sent for it."""
    stage, cycle, session = key
    if result is None:
        is_left = stage is not None and session < last_session
        yield StagePass(stage, cycle, None, tuple(attempts), session, "session" if is_left else None)
        return
    before = tuple(one for one in attempts if one.started_at < result.started_at)
    if before:
        yield StagePass(stage, cycle, None, before, session, "worker")
    own = tuple(one for one in attempts if one.started_at >= result.started_at)
    yield StagePass(stage, cycle, result, own, session)
