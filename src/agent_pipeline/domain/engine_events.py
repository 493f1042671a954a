"""Events of a run that is spread over workers: they come, and are lost."""

from dataclasses import dataclass

from agent_pipeline.domain.events import Event


@dataclass(frozen=True, slots=True)
class WorkerReady(Event):
    """A worker has opened its parts and takes documents from now on; `worker` counts from 1."""

    name = "WORKER_READY"
    worker: int
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerLost(Event):
    """A worker is gone, or was given up; its documents that have not ended go to others.

    `documents` counts these, `in_flight` those of them that had begun, `given_up` those that lost too many workers
    and fail. `unheard_seconds`: how long ago it was heard last; what it did since is told by nobody.
    """

    name = "WORKER_LOST"
    level = "warning"
    worker: int
    reason: str
    documents: int
    in_flight: int
    given_up: int
    unheard_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class BudgetWithheld(Event):
    """Nobody gets so much of a budget any more in this session: a worker that is gone may have used it unheard.

    `owner` is `run`, or `role:NAME`. It is charged to no request and no document.
    """

    name = "BUDGET_WITHHELD"
    level = "warning"
    worker: int
    owner: str
    tokens: int
    micro_usd: int


@dataclass(frozen=True, slots=True)
class LateReports(Event):
    """What a worker said of its documents after it was given up, none of which counts.

    `reports` counts what was said, `charged_tokens` what requests of it cost that had to be made again.
    """

    name = "LATE_REPORTS"
    level = "warning"
    worker: int
    reports: int
    charged_tokens: int
