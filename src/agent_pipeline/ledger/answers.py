"""What is read from a ledger: what a session starts from, what is known of a document, and the rows of each table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from agent_pipeline.domain.document import Artifact, Outcome
from agent_pipeline.domain.result import RunOutcome
from agent_pipeline.domain.usage import AttemptOutcome, AttemptRecord, Spending, Usage


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it begins, and what all earlier ones of its run add up to.

    Attributes:
        number: 1 for the first process that works on the run.
        interrupted_documents: how many the last session left open, because it was killed.
        interrupted_attempts: requests it had sent and knew no end of.
        attempts: HTTP requests sent.
        requests: calls they were made for.
        usage: tokens the answers reported.
        charged_tokens: what the budget was charged.
        unknown_tokens: the part of it that nobody reported: those requests may have been billed, or not.
        charged_micro_usd: what the requests of known price were charged.
        unknown_cost: whether a request had no known price.
        last_position: the highest position of a document, 0 if there is none.
        roles: what the requests of each role were charged.
        reasons: why earlier sessions ended early, by their numbers.
        ended_at: when they ended; of one that was killed, when the next one began.
    """

    number: int
    interrupted_documents: int
    interrupted_attempts: int
    attempts: int
    requests: int
    usage: Usage
    charged_tokens: int
    unknown_tokens: int
    charged_micro_usd: int
    unknown_cost: bool
    last_position: int
    roles: Mapping[str, Spending] = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)
    ended_at: Mapping[int, datetime] = field(default_factory=dict)


class KnownDocument(NamedTuple):
    """What the ledger says of a document; `outcome` is None while it is worked on.

    A tuple with times as they are stored, because a resume may read a million of them.
    """

    document_id: str
    position: int
    outcome: Outcome | None
    content_sha256: str | None
    plan_sha256: str | None
    artifact_path: str | None
    artifact_sha256: str | None
    artifact_size_bytes: int | None
    error_code: str | None
    error: str | None
    failed_stage: str | None
    session: int
    reworks: int
    started_at: str
    ended_at: str | None

    @property
    def artifact(self) -> Artifact | None:
        """What the document became, None where it became nothing."""
        if self.artifact_path is None or self.artifact_sha256 is None or self.artifact_size_bytes is None:
            return None
        return Artifact(self.document_id, self.artifact_path, self.artifact_sha256, self.artifact_size_bytes)


@dataclass(frozen=True, slots=True)
class RunRow:
    """The run: name and beginning of its first session, the rest of its last; `outcome` is None while it goes on."""

    run_id: str
    name: str
    started_at: datetime
    ended_at: datetime | None
    outcome: RunOutcome | None
    reason: str | None
    config_sha256: str
    version: str
    config_path: str | None
    options_json: str


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One process that worked on the run; `ended_at` is None while it does, or where it was killed."""

    session: int
    pid: int
    host: str
    version: str
    config_sha256: str
    started_at: datetime
    ended_at: datetime | None
    outcome: RunOutcome | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """One document, with the session that worked on it last."""

    document_id: str
    artifact: Artifact | None
    started_at: datetime
    ended_at: datetime | None
    position: int
    source: str | None
    content_sha256: str | None
    outcome: Outcome | None
    error_code: str | None
    error: str | None
    failed_stage: str | None
    reworks: int
    trace_id: str | None
    plan_sha256: str | None
    session: int


@dataclass(frozen=True, slots=True)
class StageResultRow:
    """What a stage made of one input."""

    document_id: str
    stage: str
    cycle: int
    input_sha256: str
    output_json: str
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class RoleUsage:
    """What the requests of one role came to.

    Attributes:
        documents: that it was asked for.
        requests: calls made.
        attempts: HTTP requests sent for them.
        reported: attempts whose usage is known; `usage` is theirs.
        spent: what all were charged.
        unknown_cost: whether one of them has no known price.
    """

    role: str
    documents: int
    requests: int
    attempts: int
    reported: int
    usage: Usage
    spent: Spending
    unknown_cost: bool

    @property
    def input_tokens_per_document(self) -> float | None:
        """The average over the documents, None without one."""
        return self.usage.input_tokens / self.documents if self.documents else None

    @property
    def output_tokens_per_document(self) -> float | None:
        """Likewise."""
        return self.usage.output_tokens / self.documents if self.documents else None


@dataclass(frozen=True, slots=True)
class DocumentCount:
    """How many documents ended so; `outcome` is None for those that are not over."""

    outcome: Outcome | None
    error_code: str | None
    count: int


@dataclass(frozen=True, slots=True)
class AttemptCount:
    """What the HTTP requests of one role to one model came to that ended alike.

    Attributes:
        outcome: None for those that are under way, or were when a process was killed.
        count: of requests.
        unpriced: how many of them have no known price.
        latency_seconds: of all together.
    """

    role: str
    provider: str
    model: str
    outcome: AttemptOutcome | None
    status_code: int | None
    count: int
    unpriced: int
    latency_seconds: float
    usage: Usage
    spent: Spending


@dataclass(frozen=True, slots=True)
class LatencyCount:
    """How many ended requests to one model took how long; `counts` by the bounds asked for, the last above all."""

    provider: str
    model: str
    counts: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One HTTP request that was sent, and the session that sent it."""

    session: int
    attempt: AttemptRecord
