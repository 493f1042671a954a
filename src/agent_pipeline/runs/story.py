"""One document's way through a run, told from the ledger: its stages, in which cycle, with which requests."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.ledger import DocumentRow, LedgerReader, StageResultRow


@dataclass(frozen=True, slots=True)
class StagePass:
    """One pass of a document through a stage.

    Attributes:
        stage: None for requests that no stage made.
        cycle: 1 is the first pass, rework adds; None where `stage` is.
        result: what it came to last; None where it never ended well.
        attempts: its HTTP requests, in the order they were sent.
    """

    stage: str | None
    cycle: int | None
    result: StageResultRow | None
    attempts: tuple[AttemptRecord, ...]

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
    """Tell of one document; two look-ups in the ledger, however large it is."""
    results: dict[tuple[str | None, int | None], StageResultRow] = {}
    attempts: dict[tuple[str | None, int | None], list[AttemptRecord]] = {}
    for result in ledger.stage_results_of(document.document_id):
        results[result.stage, result.cycle] = result
    for row in ledger.attempts_of(document.document_id):
        attempts.setdefault((row.attempt.stage, row.attempt.cycle), []).append(row.attempt)
    passes = [
        StagePass(stage, cycle, results.get((stage, cycle)), tuple(attempts.get((stage, cycle), ())))
        for stage, cycle in dict.fromkeys([*results, *attempts])
    ]
    return DocumentStory(document, tuple(sorted(passes, key=lambda one: one.started_at)))


def stories(ledger: LedgerReader) -> Iterator[DocumentStory]:
    """Tell of every document, in source order; one at a time is in memory."""
    for document in ledger.documents():
        yield story_of(ledger, document)
