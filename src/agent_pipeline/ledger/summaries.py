"""What a whole ledger comes to, worked out by SQLite: counts, sums and percentiles, however many rows there are."""

from dataclasses import dataclass
from typing import Any

from agent_pipeline.domain.document import Outcome
from agent_pipeline.domain.usage import Spending, Usage, WaitReason
from agent_pipeline.ledger.statements import SPENDING, USAGE


@dataclass(frozen=True, slots=True)
class Totals:
    """What the HTTP requests of a run, or of a part of it, came to.

    Attributes:
        requests: calls for which an HTTP request left.
        attempts: these HTTP requests.
        failed: attempts that ended badly, 429s among them.
        rate_limited: attempts that were answered with 429.
        usage: tokens that answers reported.
        spent: what all were charged.
        unknown_cost: whether one of them has no known price.
    """

    requests: int
    attempts: int
    failed: int
    rate_limited: int
    usage: Usage
    spent: Spending
    unknown_cost: bool


@dataclass(frozen=True, slots=True)
class StageTimes:
    """How long the passes of one stage took that ended well; seconds, percentiles by the nearest rank."""

    stage: str
    passes: int
    p50: float
    p95: float
    longest: float


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Documents that failed, or were cancelled, with one code at one stage; the first of them as the example."""

    outcome: Outcome
    error_code: str | None
    stage: str | None
    documents: int
    example_id: str
    example_error: str | None


@dataclass(frozen=True, slots=True)
class WaitSum:
    """Waits of requests whose longest part had one reason; seconds, over all parts of them."""

    reason: WaitReason
    attempts: int
    seconds: float
    longest: float


@dataclass(frozen=True, slots=True)
class RoleModel:
    """A model that a role's requests went to."""

    role: str
    provider: str
    model: str
    attempts: int


_DURATION = "(julianday(ended_at) - julianday(started_at)) * 86400.0"
"""Seconds; SQLite keeps times to the millisecond."""

TOTAL_COLUMNS = (
    "count(DISTINCT coalesce(call_id, attempt_id)), count(*), count(*) FILTER (WHERE outcome = 'failed'), "
    f"count(*) FILTER (WHERE status_code = 429), count(*) > count(cost_micro_usd), {USAGE}, {SPENDING}"
)
TOTALS = "attempts"
TOTALS_OF_DOCUMENT = "attempts WHERE document_id = ?"

STAGE_COLUMNS = (
    "stage, total, min(seconds) FILTER (WHERE place >= total * 0.5), "
    "min(seconds) FILTER (WHERE place >= total * 0.95), max(seconds)"
)
STAGES = (
    f"(SELECT stage, started_at, {_DURATION} AS seconds, "  # noqa: S608 - names of our own
    f"row_number() OVER (PARTITION BY stage ORDER BY {_DURATION}) AS place, "
    "count(*) OVER (PARTITION BY stage) AS total FROM stage_results) GROUP BY stage ORDER BY min(started_at), stage"
)

FAILURE_COLUMNS = "outcome, error_code, failed_stage, count(*), document_id, error, min(position)"
FAILURES = (
    "documents WHERE outcome IN ('failed', 'cancelled') GROUP BY outcome, error_code, failed_stage "
    "ORDER BY outcome DESC, count(*) DESC, min(position)"
)

WAIT_COLUMNS = "wait_reason, count(*), sum(wait_seconds), max(wait_seconds)"
WAITS = "attempts WHERE wait_reason IS NOT NULL GROUP BY wait_reason ORDER BY sum(wait_seconds) DESC"

MODEL_COLUMNS = "role, provider, model, count(*)"
MODELS = "attempts GROUP BY role, provider, model ORDER BY role, count(*) DESC, provider, model"

SLOWEST_DOCUMENTS = f"documents WHERE ended_at IS NOT NULL ORDER BY {_DURATION} DESC, position LIMIT CAST(? AS INTEGER)"
SLOWEST_RESULTS = f"stage_results ORDER BY {_DURATION} DESC, rowid LIMIT CAST(? AS INTEGER)"
SLOWEST_ATTEMPTS = "attempts ORDER BY latency_seconds DESC, rowid LIMIT CAST(? AS INTEGER)"


def totals(row: tuple[Any, ...]) -> Totals:
    """Read a row of `TOTAL_COLUMNS`."""
    requests, attempts, failed, rate_limited, unknown_cost, *sums = row
    return Totals(
        requests, attempts, failed, rate_limited, Usage(*sums[:4]), Spending(*sums[4:]), unknown_cost=bool(unknown_cost)
    )


def failure_group(row: tuple[Any, ...]) -> FailureGroup:
    """Read a row of `FAILURE_COLUMNS`; SQLite takes the bare columns from the row that has the minimum."""
    return FailureGroup(*row[:6])
