"""What was found when a run was checked: differences, which it should not have, and notes, which explain themselves."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from agent_pipeline.domain.document import JsonValue

DifferenceCode = Literal[
    # the ledger by itself
    "ledger_damaged",
    "run_differs",
    "session_missing",
    "session_open",
    "session_unknown",
    "position_wrong",
    "document_implausible",
    "document_open",
    "attempt_implausible",
    "attempt_open",
    "charge_differs",
    # stages
    "cycle_missing",
    "result_missing",
    "rework_missing",
    "stage_order",
    "stage_unknown",
    # artifacts
    "artifact_changed",
    "artifact_missing",
    "artifact_not_recorded",
    "artifact_shared",
    "artifact_unexpected",
    "artifact_unreadable",
    "temporary_left",
    # logs and events
    "event_missing",
    "line_torn",
    "line_unreadable",
    "log_line_missing",
    "review_differs",
    "review_event_missing",
    "review_missing",
    # events and ledger
    "attempt_event_differs",
    "attempt_event_missing",
    "attempt_row_missing",
    "attempt_told_twice",
    "document_event_differs",
    "document_event_missing",
    "document_finished_twice",
    "document_order",
    "document_started_twice",
    "document_unknown",
    # traces
    "span_missing",
    "span_trace_differs",
    "span_twice",
    "trace_document_differs",
    "trace_id_differs",
    "trace_missing",
    "trace_twice",
    "trace_unknown",
    # manifest and files
    "config_differs",
    "file_changed",
    "file_missing",
    "left_open",
    "manifest_differs",
    "manifest_unreadable",
    "result_differs",
    "version_missing",
]

NoteCode = Literal[
    "attempt_event_missing",
    "attempt_row_missing",
    "attempt_unfinished",
    "clock_jump",
    "document_event_missing",
    "document_unfinished",
    "file_unknown",
    "last_events_missing",
    "last_reviews_missing",
    "left_open",
    "line_torn",
    "manifest_missing",
    "outcome_untold",
    "session_killed",
    "span_missing",
    "telemetry_dropped",
    "temporary_left",
]

SHOWN = 1000
"""Differences a report carries; all are counted."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two records of one run that do not fit together.

    Attributes:
        what: the sentence for people.
        where: the file, document or row it concerns.
        expected: what the other records say.
        found: what is there instead.
    """

    code: DifferenceCode
    what: str
    where: str
    expected: JsonValue = None
    found: JsonValue = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something that is missing for a good reason, such as a killed process; it says nothing against the run.

    Attributes:
        what: the sentence for people.
        count: how many there are.
        example: where the first one is.
    """

    code: NoteCode
    what: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Report:
    """What checking a run came to.

    Attributes:
        differences: the first thousand.
        counts: what was looked at, by kind, and all `differences`.
    """

    run_id: str
    differences: tuple[Difference, ...]
    notes: tuple[Note, ...]
    counts: dict[str, int]

    @property
    def is_clean(self) -> bool:
        """All records of the run tell the same story."""
        return not self.counts["differences"]


@dataclass(slots=True)
class Findings:
    """Collects what checks find; its size does not grow with the run."""

    counts: Counter[str] = field(default_factory=Counter)
    _differences: list[Difference] = field(default_factory=list)
    _notes: dict[NoteCode, tuple[str, str]] = field(default_factory=dict)
    _noted: Counter[str] = field(default_factory=Counter)

    def differ(
        self, code: DifferenceCode, what: str, where: str, *, expected: JsonValue = None, found: JsonValue = None
    ) -> None:
        """Add a difference."""
        self.counts["differences"] += 1
        if len(self._differences) < SHOWN:
            self._differences.append(Difference(code, what, where, expected, found))

    def compare(self, code: DifferenceCode, what: str, where: str, *, expected: JsonValue, found: JsonValue) -> None:
        """Add a difference if the two are not the same."""
        if expected != found:
            self.differ(code, what, where, expected=expected, found=found)

    def note(self, code: NoteCode, what: str, where: str = "") -> None:
        """Add a note, or count it with those of its code."""
        self._notes.setdefault(code, (what, where))
        self._noted[code] += 1

    def report(self, run_id: str) -> Report:
        """Return what was found."""
        notes = tuple(Note(code, what, self._noted[code], where) for code, (what, where) in self._notes.items())
        counts = {"differences": 0, **self.counts}
        return Report(run_id, tuple(self._differences), notes, counts)
