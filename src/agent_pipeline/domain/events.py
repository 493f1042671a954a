"""What happens during a run, one frozen dataclass per event; sinks turn them into log lines, JSON or a display.

An event's `name` is its word in the run log. Every field is a JSON value, so that an event is its own record. `doc`,
not `document_id`, is the key in the run log; that is the sink's business.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from agent_pipeline.domain.document import JsonValue, Outcome
from agent_pipeline.domain.usage import AttemptRecord

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    name: ClassVar[str] = "EVENT"
    level: ClassVar[Level] = "info"


@dataclass(frozen=True, slots=True)
class PipelineStarted(Event):
    """The run directory exists and the first document is about to be admitted.

    `documents` is how many entries the source will give, None where that is not known without reading it. `replayed`:
    a recording answers, and nobody else. `engine` works on the documents, `ray` in so many `workers`, `local` in none.
    """

    name = "PIPELINE_STARTED"
    run_id: str
    pipeline: str
    run_dir: str
    version: str
    stages: list[str]
    documents_in_flight: int
    requests_in_flight: int
    simulator: bool
    documents: int | None = None
    session: int = 1
    replayed: bool = False
    engine: str = "local"
    workers: int = 0


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    """A run goes on: what the process before left unfinished.

    `session` counts the processes that worked on this run, from 1. `interrupted_documents` and `interrupted_attempts`
    were under way when the one before was killed; the attempts stay charged in full, as unknown spend.
    """

    name = "PIPELINE_RESUMED"
    run_id: str
    session: int
    interrupted_documents: int
    interrupted_attempts: int
    charged_tokens: int


@dataclass(frozen=True, slots=True)
class FileRepaired(Event):
    """The last line of a file was torn when its process was killed, and is taken away."""

    name = "FILE_REPAIRED"
    level = "warning"
    path: str
    removed_bytes: int


@dataclass(frozen=True, slots=True)
class OrphansRemoved(Event):
    """What a killed process left half done is gone: `temporary` files, `unrecorded` artifacts."""

    name = "ORPHANS_REMOVED"
    level = "warning"
    temporary: int
    unrecorded: int


@dataclass(frozen=True, slots=True)
class DocumentsClamped(Event):
    """Fewer documents go at once than configured: this process may not open more files."""

    name = "DOCUMENTS_CLAMPED"
    level = "warning"
    wanted: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class ClientConfigured(Event):
    """A provider's client is ready; timeouts in seconds, None for unlimited."""

    name = "OPENAI_CLIENT"
    provider: str
    base_url: str
    attempt_timeout: float | None
    read_timeout: float | None
    connect_timeout: float | None
    max_attempts: int
    simulator: bool


@dataclass(frozen=True, slots=True)
class ClientSkipped(Event):
    """A provider has no key, so no client for the real one is built."""

    name = "OPENAI_CLIENT skip"
    level = "warning"
    reason: str
    provider: str


@dataclass(frozen=True, slots=True)
class DocumentStarted(Event):
    """A document was admitted."""

    name = "DOCUMENT_STARTED"
    document_id: str
    position: int
    source: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DocumentSizeWarning(Event):
    """A document is large (over 1,000,000 bytes)."""

    name = "DOC_SIZE_WARNING"
    level = "warning"
    document_id: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StageStarted(Event):
    """A stage begins on a document."""

    name = "STAGE_STARTED"
    document_id: str
    stage: str
    cycle: int


@dataclass(frozen=True, slots=True)
class StageFinished(Event):
    """A stage ended on a document; `error_code` is None when it went well."""

    name = "STAGE_FINISHED"
    document_id: str
    stage: str
    cycle: int
    duration_seconds: float
    error_code: str | None


@dataclass(frozen=True, slots=True)
class StageReused(Event):
    """A stage's result was in the ledger already; nothing was asked for it."""

    name = "STAGE_REUSED"
    document_id: str
    stage: str
    cycle: int


@dataclass(frozen=True, slots=True)
class StageMessage(Event):
    """Something a stage wants to be seen (`ROUTED`, or a word of a user's own), with its values."""

    name = "STAGE_MESSAGE"
    message: str
    document_id: str
    stage: str
    values: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttemptFinished(Event):
    """One HTTP request was sent and ended."""

    name = "ATTEMPT"
    attempt: AttemptRecord


@dataclass(frozen=True, slots=True)
class AgentEvent(Event):
    """One step of an Agents SDK run: `agent_start agent_end llm_start llm_end tool_start tool_end handoff`."""

    name = "AGENT_EVENT"
    level = "debug"
    event: str
    document_id: str | None
    stage: str | None
    agent: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Review(Event):
    """A reviewer's verdict; also a line of `reviews.jsonl`."""

    name = "REVIEW"
    document_id: str
    stage: str
    cycle: int
    approved: bool
    issues: str
    suggestions: str


@dataclass(frozen=True, slots=True)
class Rework(Event):
    """A document goes back to an earlier stage."""

    name = "REWORK"
    document_id: str
    stage: str
    to: str
    cycle: int


@dataclass(frozen=True, slots=True)
class PipelineFailure(Event):
    """A document failed: where and why."""

    name = "PIPELINE_FAILURE"
    level = "error"
    document_id: str
    stage: str | None
    source: str | None
    error_code: str
    error: str


@dataclass(frozen=True, slots=True)
class DocumentFinished(Event):
    """A document's one terminal record."""

    name = "DOCUMENT_FINISHED"
    document_id: str
    outcome: Outcome
    reworks: int
    artifact: str | None
    error_code: str | None
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class RunStopping(Event):
    """The run ends early: a signal, a budget, a deadline, an error that concerns every document.

    `further` tells what one more signal does, where a signal it was.
    """

    name = "PIPELINE_STOPPING"
    level = "warning"
    reason: str
    detail: str
    further: str | None = None


@dataclass(frozen=True, slots=True)
class RunCancelling(Event):
    """What is in flight is cancelled: the grace period is over, a second signal came, or all would fail alike."""

    name = "PIPELINE_CANCELLING"
    level = "warning"
    reason: str


@dataclass(frozen=True, slots=True)
class Stall(Event):
    """Something stands still: an `attempt` that gets no bytes, or the whole `loop`, held by `culprit`."""

    name = "STALL"
    level = "warning"
    kind: str
    document_id: str | None
    culprit: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TaskTreeWritten(Event):
    """A tree of all tasks was written: on SIGUSR1 or a stall."""

    name = "TASK_TREE"
    reason: str
    path: str


@dataclass(frozen=True, slots=True)
class RunAbandoned(Event):
    """Tasks did not end when they were cancelled; a process of its own leaves without waiting for them."""

    name = "PIPELINE_ABANDONED"
    level = "error"
    culprits: list[str]


@dataclass(frozen=True, slots=True)
class SdkTraceItem(Event):
    """One trace or span of the Agents SDK, already encoded as a line of JSON; a span's is a `SpanLine`."""

    name = "SDK_TRACE"
    level = "debug"
    line: str


@dataclass(frozen=True, slots=True)
class SdkLogRecord(Event):
    """One record of the Agents SDK's loggers, already formatted; `created` is seconds since the epoch."""

    name = "SDK_LOG"
    level = "debug"
    created: float
    severity: str
    logger: str
    message: str


@dataclass(frozen=True, slots=True)
class PipelineFinished(Event):
    """All documents have their terminal record; what follows is flushing.

    `kept` documents were finished before this session and are not worked on again.
    """

    name = "PIPELINE_FINISHED"
    outcome: str
    reason: str | None
    exit_code: int
    total: int
    succeeded: int
    failed: int
    skipped: int
    cancelled: int
    requests: int
    attempts: int
    total_tokens: int
    duration_seconds: float
    kept: int = 0
