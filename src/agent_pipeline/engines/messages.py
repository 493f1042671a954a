"""What driver and worker tell each other: plain values that pickle, no key among them.

A worker reports in order. What concerns a document carries the fence of its shard, and counts only while that fence is
the shard's newest: after a worker was given up, nothing it says of its documents is believed any more.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from agent_pipeline.config.pipeline import Overrides
from agent_pipeline.domain.document import Document, Outcome, SourceEntry
from agent_pipeline.domain.events import Event
from agent_pipeline.domain.snapshot import UnderWay
from agent_pipeline.domain.stage_result import ResultKey, StageResult
from agent_pipeline.domain.usage import NOTHING_SPENT, AttemptRecord, Spending
from agent_pipeline.engines.error_record import ErrorRecord
from agent_pipeline.engines.leases.messages import (
    RUN,
    Amount,
    Grant,
    Heard,
    HeardWanted,
    LeaseReturned,
    LeaseWanted,
    Left,
    LimitsAnnounced,
    Pause,
    Paused,
    RateGrant,
    RateLimits,
    RateTaken,
    RateUsed,
    RateWanted,
    Recall,
)

__all__ = [
    "Alive",
    "Amount",
    "Attempted",
    "Began",
    "Cancel",
    "Command",
    "DocumentReport",
    "DocumentsInFlight",
    "Done",
    "Ended",
    "Fence",
    "Finish",
    "Grant",
    "Happened",
    "Heard",
    "HeardWanted",
    "Hungry",
    "LeaseReport",
    "LeaseReturned",
    "LeaseWanted",
    "Left",
    "LimitsAnnounced",
    "Pause",
    "Paused",
    "RUN",
    "RateGrant",
    "RateLimits",
    "RateTaken",
    "RateUsed",
    "RateWanted",
    "Ready",
    "Recall",
    "Rejected",
    "Report",
    "Resulted",
    "Shard",
    "ShardDocument",
    "StopTaking",
    "Take",
    "WorkerPlan",
]


@dataclass(frozen=True, slots=True)
class Fence:
    """Which attempt at which shard something belongs to; both count from 1."""

    shard: int
    attempt: int


@dataclass(frozen=True, slots=True)
class ShardDocument:
    """An entry of the source with what there is of it already.

    Attributes:
        again: whether it was begun before in this session, by a worker that was given up: it is not begun anew.
        spent: what its requests were charged so far.
        results: what stages made of it so far, as the ledger has it.
    """

    entry: SourceEntry
    again: bool = False
    spent: Spending = NOTHING_SPENT
    results: Mapping[ResultKey, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shard:
    """Documents that one worker is to work on, in order."""

    fence: Fence
    documents: Sequence[ShardDocument]


# --- driver to worker ---


@dataclass(frozen=True, slots=True)
class Take:
    """Work on this shard, after those before it."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class Finish:
    """There are no more shards: end when those you have are done."""


@dataclass(frozen=True, slots=True)
class StopTaking:
    """Begin no more documents; what is in flight goes on, then end."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel what is in flight, report its ends, then end."""


@dataclass(frozen=True, slots=True)
class DocumentsInFlight:
    """Have at most so many documents in flight from now on; those beyond that go on."""

    count: int


Command: TypeAlias = (
    Take | Finish | StopTaking | Cancel | DocumentsInFlight | Grant | Heard | Recall | RateLimits | RateGrant | Pause
)


# --- worker to driver ---


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has opened its parts; what it would make of the documents is what the driver would.

    Attributes:
        version: of the package.
        plan_sha256: what determines a document's way through all stages, as the worker finds it.
        fingerprints: what determines each stage's result, likewise.
    """

    version: str
    plan_sha256: str | None
    pid: int
    host: str
    fingerprints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hungry:
    """There will soon be places for more documents than the worker has."""


@dataclass(frozen=True, slots=True)
class Began:
    """A document is worked on from now on."""

    fence: Fence
    document_id: str
    digest: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class Attempted:
    """A request is about to leave (no outcome), or has ended; `fence` is None outside documents.

    Attributes:
        at: the worker's wall clock; None where the driver says it in the place of a worker that was lost.
        calls: of the worker for which a request has left by then, this one included.
    """

    fence: Fence | None
    record: AttemptRecord
    at: datetime | None = None
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Resulted:
    """A stage made something of a document."""

    fence: Fence
    result: StageResult


@dataclass(frozen=True, slots=True)
class Rejected:
    """The last text of a document that was never approved."""

    fence: Fence
    document: Document


@dataclass(frozen=True, slots=True)
class Ended:
    """A document came to its end, but for its artifact and its terminal record, which the driver writes.

    Attributes:
        unopened: no stage has seen it: it was skipped, or could not be used.
        skipped: why, where it was skipped.
        duration: seconds since it began.
        document: what is to become its artifact, None where there is to be none.
    """

    fence: Fence
    position: int
    document_id: str
    source: str | None
    outcome: Outcome
    error: ErrorRecord | None
    stage: str | None
    cycles: Counter[str]
    sent_back: Counter[str]
    unopened: bool = False
    skipped: str | None = None
    duration: float = 0.0
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """Something for the sinks, with the worker's wall clock."""

    event: Event
    at: datetime


@dataclass(frozen=True, slots=True)
class Alive:
    """A worker's beat, also where there is nothing else to say: what it has under way, for those who watch."""

    under_way: UnderWay = field(default_factory=UnderWay)


@dataclass(frozen=True, slots=True)
class Done:
    """The worker's last word: it has ended. `error`: what stopped it, where that concerns the whole run."""

    error: ErrorRecord | None = None


LeaseReport: TypeAlias = (
    LeaseWanted | LeaseReturned | HeardWanted | RateWanted | RateUsed | RateTaken | LimitsAnnounced | Paused
)
DocumentReport: TypeAlias = Began | Attempted | Resulted | Rejected | Ended | Happened
Report: TypeAlias = Ready | Hungry | DocumentReport | LeaseReport | Alive | Done


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """All a worker needs to know to work on any document of a run; no key, which its own environment has.

    Attributes:
        worker: its number, from 1; a worker in the place of one that was given up has a number of its own.
        pipeline_text: the pipeline file as the driver read it; one with another sha256 is refused. Likewise the roles.
        path: where the driver has it: what is found beside it is looked for there.
        overrides: of the command line.
        only: names of stages to run; empty runs all. `skip`: names of stages left out.
        concurrency: documents in flight in the worker.
        run_id: of the run; `session`: which process drives it.
        version: of the package; another is refused.
        plan_sha256: what determines a document's way; another is refused.
        requests_in_flight: start, minimum and maximum per provider and model, the worker's share.
        leased: owners of budgets with a cap, of which the worker has nothing but what it is granted.
        fingerprints: what the driver found each stage to be, for a refusal that says which one differs.
        carries_spans: whether somebody at the driver's wants the SDK's spans themselves, besides their lines.
    """

    worker: int
    pipeline_text: str
    pipeline_sha256: str
    roles_text: str
    roles_sha256: str
    path: str
    roles_path: str
    overrides: Overrides
    only: tuple[str, ...]
    skip: tuple[str, ...]
    offline: bool
    faults: str | None
    seed: int | None
    include_texts: bool
    concurrency: int
    run_id: str
    session: int
    version: str
    plan_sha256: str | None
    requests_in_flight: tuple[int, int, int]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    leased: frozenset[str] = frozenset()
    carries_spans: bool = False
