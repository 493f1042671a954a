"""How a run ended: what `Pipeline.run` returns and `run --json` prints."""

from dataclasses import dataclass, field
from typing import Literal

RunOutcome = Literal["completed", "incomplete", "failed"]


@dataclass(frozen=True, slots=True)
class DocumentCounts:
    """Documents by outcome; `total` counts every entry the run took from the source."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """What the run sent and was charged, in all its sessions.

    `requests` are calls for which an HTTP request left, `attempts` these HTTP requests, `charged_tokens` what the
    budget was charged, `unknown_tokens` the part of it charged without a report (may or may not have been billed).
    """

    requests: int = 0
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    charged_tokens: int = 0
    unknown_tokens: int = 0


@dataclass(frozen=True, slots=True)
class SessionTotals:
    """What this process did of the run; `kept_documents` were finished before and not worked on again."""

    number: int = 1
    kept_documents: int = 0
    requests: int = 0
    attempts: int = 0
    charged_tokens: int = 0


@dataclass(frozen=True, slots=True)
class DocumentFailure:
    """Why one document has no artifact."""

    document_id: str
    stage: str | None
    code: str
    error: str


@dataclass(frozen=True, slots=True)
class RecordingTotals:
    """What this process wrote into a recording, or replayed from one.

    Attributes:
        directory: of the recording, absolute.
        exchanges: with providers, written or replayed.
        missed: requests that were not found; 0 while recording.
        unused: exchanges of the recording that nobody asked for; None while recording, and where the recording was cut
            short, so that nobody knows how many it holds.
        redacted: answers, among `exchanges`, that lack what looked like a secret.
    """

    mode: Literal["record", "replay"]
    directory: str
    exchanges: int = 0
    missed: int = 0
    unused: int | None = None
    redacted: int = 0


@dataclass(frozen=True, slots=True)
class WorkerTotals:
    """What became of this process's workers, where the run was spread over some.

    Attributes:
        opened: workers that were ready.
        lost: workers that were given up.
        given_up: documents that lost too many.
        late_reports: what was said of documents by workers that had been given up.
        duplicate_tokens: what their requests were charged that ended after that.
        withheld_tokens: of budgets, charged to nobody and not to be had any more in this session: lost workers may have
            used them for requests that were not heard of; `withheld_micro_usd` likewise.
    """

    opened: int
    lost: int
    given_up: int
    late_reports: int
    duplicate_tokens: int
    withheld_tokens: int = 0
    withheld_micro_usd: int = 0


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Attributes:
        outcome: `completed` (all documents ended, well or badly), `incomplete` (stopped early, resumable), `failed`.
        exit_code: as in the CLI's table.
        reason: one stable word or `word:detail` where the outcome is not plain success (`documents_failed`,
            `budget:tokens`, `signal:SIGINT`, `deadline:run`, an error's code), else None.
        cost_usd: money computed from known prices; None when any price was unknown.
        artifacts: paths, in source order.
        failures: the documents that failed, in source order.
        next: commands worth typing now.
        dropped: telemetry lost, by sink (full disk, full queue, an OTLP endpoint that took nothing).
        dropped_because: the first thing that went wrong with each of these sinks, where one is known.
        session: the part of this process; `documents`, `usage` and `cost_usd` are the whole run's.
        left_open: what the run opened and did not close, one line each.
        recording: that was made or replayed, None without one.
        results: paths of the tables that were written.
        results_problem: why others were not, None where all were.
        workers: what became of them, None where one process did all.
        never_begun: documents of the source that no session came to since it ended early; they are not in `documents`.
            None where nobody knows how many the source has.
    """

    run_id: str
    run_dir: str
    outcome: RunOutcome
    exit_code: int
    reason: str | None
    documents: DocumentCounts
    usage: UsageTotals
    cost_usd: float | None
    duration_seconds: float
    artifacts: tuple[str, ...] = ()
    failures: tuple[DocumentFailure, ...] = ()
    next: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)
    dropped_because: dict[str, str] = field(default_factory=dict)
    session: SessionTotals = field(default_factory=SessionTotals)
    left_open: tuple[str, ...] = ()
    recording: RecordingTotals | None = None
    results: tuple[str, ...] = ()
    results_problem: str | None = None
    workers: WorkerTotals | None = None
    never_begun: int | None = 0
