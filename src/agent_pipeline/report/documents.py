"""The documents on the page: a row for each that is chosen, and the whole way of those that are shown in detail."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.ledger import DocumentRow, LedgerReader
from agent_pipeline.report.choosing import choose
from agent_pipeline.report.conversations import Exchange
from agent_pipeline.report.facts import DocumentTotals, RunFacts
from agent_pipeline.report.texts import Texts
from agent_pipeline.report.verdicts import Verdict, Verdicts
from agent_pipeline.report.working_time import WorkingTime
from agent_pipeline.runs.story import DocumentStory, StagePass, story_of

MOST_ROWS = 10_000
MOST_DETAILS = 2_000
MOST_DETAIL_CHARS = 6_000_000
"""Characters of details before they are compressed: a bound also where documents were asked hundreds of times."""

MOST_ID = 120
_MOST_PASSES, _MOST_ATTEMPTS = 60, 200
_COLUMNS = (
    *("id", "outcome", "code", "stage", "reworks", "attempts", "tokens", "micro_usd", "waited_ms", "ms"),
    *("started_ms", "source", "artifact"),
)


class Names:
    """Numbers for words that come again and again."""

    def __init__(self, known: Sequence[str] = ()) -> None:
        self._numbers = {name: number for number, name in enumerate(known)}

    def number(self, name: str | None) -> int:
        """Return a word's number, -1 for none."""
        return -1 if name is None else self._numbers.setdefault(name, len(self._numbers))

    def all(self, texts: Texts) -> list[str]:
        """Return the words by their numbers."""
        return [texts.line(name, 120) for name in self._numbers]


@dataclass(slots=True)
class Documents:
    """Rows and details as the page takes them; every time is a whole number of milliseconds of work.

    Attributes:
        columns: of the rows, in source order.
        ids: of documents in detail, with the number of their row.
        stories: their details, by the number of the row.
        verdicts: what reviewers said.
        has_texts: whether prompts and answers were kept.
    """

    columns: dict[str, list[object]] = field(default_factory=lambda: {name: [] for name in _COLUMNS})
    ids: dict[str, int] = field(default_factory=dict)
    stories: dict[int, dict[str, object]] = field(default_factory=dict)
    verdicts: Verdicts = field(default_factory=Verdicts)
    has_texts: bool = False

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.columns["id"])


class Writer:
    """Writes documents as compact values."""

    def __init__(self, facts: RunFacts, texts: Texts) -> None:
        self._facts = facts
        self._texts = texts
        self._time: WorkingTime = facts.time
        self.stages = Names(list(facts.stages))
        self.codes = Names()
        self.roles = Names()
        self.models = Names()
        self.outcomes = Names(["succeeded", "failed", "skipped", "cancelled", "unfinished"])

    def rows(self, ledger: LedgerReader) -> Documents:
        """Choose the documents and write their rows."""
        chosen = choose(self._facts.candidates, MOST_ROWS)
        places = {one.place for one in chosen}
        detailed = {one.place for one in choose(chosen, MOST_DETAILS)}
        found = Documents()
        for place, document in enumerate(ledger.documents()):
            if place in places:
                if place in detailed:
                    found.ids[document.document_id] = found.count
                for name, value in zip(_COLUMNS, self._row(document), strict=True):
                    found.columns[name].append(value)
        return found

    def _row(self, document: DocumentRow) -> tuple[object, ...]:
        totals = self._facts.totals.get(document.document_id, DocumentTotals())
        artifact = None if document.artifact is None else os.path.basename(document.artifact.path)  # noqa: PTH119
        started = self._ms(document.started_at.timestamp())
        return (
            self._texts.line(document.document_id, MOST_ID),
            self.outcomes.number(document.outcome or "unfinished"),
            self.codes.number(document.error_code),
            self.stages.number(document.failed_stage),
            document.reworks,
            totals.attempts,
            totals.tokens,
            None if totals.unknown_cost else totals.micro_usd,
            round(totals.waited * 1000),
            None if document.ended_at is None else self._ms(document.ended_at.timestamp()) - started,
            started,
            self._texts.line(document.source or "", 160),
            self._texts.line(artifact or "", 120),
        )

    def _ms(self, moment: float) -> int:
        return round(self._time.at(moment) * 1000)

    def details(
        self,
        ledger: LedgerReader,
        documents: Documents,
        verdicts: Mapping[str, Sequence[Verdict]],
        exchanges: Mapping[str, Sequence[Exchange]],
    ) -> None:
        """Write the way of each document in detail, those in trouble first, until there is no more room."""
        room = MOST_DETAIL_CHARS
        bad = {self.outcomes.number(name) for name in ("failed", "cancelled", "unfinished")}
        outcomes = documents.columns["outcome"]
        for document_id, number in sorted(documents.ids.items(), key=lambda one: outcomes[one[1]] not in bad):
            document = ledger.document(document_id)
            if document is None or room <= 0:
                continue
            story = self._story(
                story_of(ledger, document), verdicts.get(document_id, ()), exchanges.get(document_id, ())
            )
            room -= len(str(story))
            documents.stories[number] = story

    def _story(
        self, story: DocumentStory, verdicts: Sequence[Verdict], exchanges: Sequence[Exchange]
    ) -> dict[str, object]:
        base = self._ms(
            min([story.document.started_at.timestamp(), *(one.started_at.timestamp() for one in story.passes)])
        )
        shown = story.passes[:_MOST_PASSES]
        attempts = [(number, attempt) for number, one in enumerate(shown) for attempt in one.attempts][:_MOST_ATTEMPTS]
        errors = {
            str(place): self._texts.line(attempt.error, 200)
            for place, (_, attempt) in enumerate(attempts)
            if attempt.error
        }
        told: dict[str, object] = {
            "base": base,
            "passes": [self._pass(one, base) for one in shown],
            "attempts": [self._attempt(number, attempt, base) for number, attempt in attempts],
            "errors": errors,
            "error": self._texts.line(story.document.error or "", 600),
            "left_out": len(story.attempts) - len(attempts),
            "verdicts": [
                [self.stages.number(one.stage), one.cycle, one.approved, one.issues, one.suggestions]
                for one in verdicts
            ],
            "exchanges": [[one.who, one.prompt, one.answer] for one in exchanges],
        }
        return {name: value for name, value in told.items() if value or name == "base"}

    def _pass(self, one: StagePass, base: int) -> list[object]:
        start = self._ms(one.started_at.timestamp())
        if one.result is not None:
            length = (one.result.ended_at - one.result.started_at).total_seconds()
        else:
            length = max(attempt.started_at.timestamp() + attempt.latency_seconds for attempt in one.attempts)
            length -= one.started_at.timestamp()
        return [
            self.stages.number(one.stage or ""),
            one.cycle or 0,
            start - base,
            round(max(length, 0.0) * 1000),
            int(one.result is not None),
        ]

    def _attempt(self, number: int, attempt: AttemptRecord, base: int) -> list[object]:
        usage = attempt.usage
        return [
            number,
            self._ms(attempt.started_at.timestamp()) - base,
            round(attempt.wait_seconds * 1000),
            round(attempt.latency_seconds * 1000),
            attempt.number,
            self.outcomes.number(attempt.outcome or "unfinished"),
            attempt.status_code,
            self.codes.number(attempt.error_code),
            None if usage is None else usage.input_tokens,
            None if usage is None else usage.output_tokens,
            attempt.cost_micro_usd,
            self.roles.number(attempt.role),
            self.models.number(f"{attempt.provider} {attempt.model}"),
            attempt.wait_reason or "",
        ]


def traced(ledger: LedgerReader, ids: Collection[str]) -> dict[str, str]:
    """Return which document each trace is of, for some documents."""
    return {
        document.trace_id: document.document_id
        for document in ledger.documents()
        if document.trace_id is not None and document.document_id in ids
    }
