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

    `documents` is how many entries the source will give, None where that is not known without reading it.
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
    """The run ends early: a signal, a budget, a deadline, an error that concerns every document."""

    name = "PIPELINE_STOPPING"
    level = "warning"
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class SdkTraceItem(Event):
    """One trace or span of the Agents SDK, already encoded as a line of JSON."""

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
    """All documents have their terminal record; what follows is flushing."""

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
