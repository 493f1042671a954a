"""The two records of one attempt: as its first byte is about to leave, and at its end."""

from dataclasses import replace
from datetime import datetime

import trio

from agent_pipeline.control.budget import Hold
from agent_pipeline.control.call import Attempt, Call
from agent_pipeline.domain.usage import AttemptOutcome, AttemptRecord, WaitReason
from agent_pipeline.errors import AgentPipelineError


def first_record(call: Call, attempt: Attempt, hold: Hold, *, started_at: datetime) -> AttemptRecord:
    """Return the record of an attempt under way: charged in full, as long as nobody knows better."""
    return AttemptRecord(
        attempt_id=attempt.attempt_id,
        document_id=call.scope.document_id,
        stage=call.scope.stage,
        cycle=call.scope.cycle,
        role=call.role,
        provider=call.provider,
        model=call.model,
        number=attempt.number,
        sent=True,
        outcome=None,
        status_code=None,
        error_code=None,
        error=None,
        wait_seconds=sum(attempt.waits.values()),
        wait_reason=_longest(attempt.waits),
        latency_seconds=0.0,
        usage=None,
        reserved_tokens=hold.tokens,
        charged_tokens=hold.tokens,
        cost_micro_usd=None if call.price is None else hold.micro_usd,
        provider_request_id=None,
        method=call.method,
        path=call.path,
        started_at=started_at,
        call_id=attempt.call_id,
        trace_id=call.scope.trace_id,
        span_id=call.scope.span_id,
    )


def last_record(
    first: AttemptRecord,
    attempt: Attempt,
    error: BaseException | None,
    *,
    latency: float,
    charged: int,
    cost: int | None,
) -> AttemptRecord:
    """Return the record of an attempt that ended so; `cost` is None where the price is unknown."""
    outcome, error_code, message = _describe(error)
    return replace(
        first,
        sent=attempt.dispatched,
        outcome=outcome,
        status_code=attempt.status_code,
        error_code=error_code,
        error=message,
        latency_seconds=latency,
        usage=attempt.usage,
        charged_tokens=charged,
        cost_micro_usd=cost,
        provider_request_id=attempt.provider_request_id,
    )


def _longest(waits: dict[WaitReason, float]) -> WaitReason | None:
    reason = max(waits, key=lambda reason: waits[reason], default=None)
    return reason if reason is not None and waits[reason] > 0 else None


def _describe(error: BaseException | None) -> tuple[AttemptOutcome, str | None, str | None]:
    """Return outcome, code and message of an attempt that ended so."""
    if error is None:
        return "succeeded", None, None
    if is_cancellation(error):
        # Its own text names tasks by their address in memory.
        return "cancelled", "cancelled", "cancelled before the answer was whole"
    return "failed", error.code if isinstance(error, AgentPipelineError) else type(error).__name__, str(error)


def is_cancellation(error: BaseException) -> bool:
    """Tell whether an error is nothing but Trio's cancellation, also in groups."""
    if isinstance(error, BaseExceptionGroup):  # a sender with a nursery of its own is cancelled in groups
        return all(is_cancellation(one) for one in error.exceptions)
    return isinstance(error, trio.Cancelled)
