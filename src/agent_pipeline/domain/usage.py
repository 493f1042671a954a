"""Tokens reported by providers (a fact) and what one HTTP attempt cost (a judgement)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens one answer reported; `cached_input_tokens` and `reasoning_tokens` are parts of the other two.

    >>> Usage(3, 1) + Usage(input_tokens=2)
    Usage(input_tokens=5, output_tokens=1, cached_input_tokens=0, reasoning_tokens=0)
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input plus output."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


AttemptOutcome = Literal["succeeded", "failed", "cancelled"]
WaitReason = Literal["admission", "cooldown", "rate", "budget", "backoff", "retry_after"]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One HTTP attempt, as the ledger, the log and the events show it.

    It is recorded twice under one `attempt_id`: as its first byte is about to leave, with `outcome` None and the
    whole reservation as its charge, and at its end. So a process that is killed leaves no request without a row.

    `call_id` is shared by all attempts of one call. `trace_id` is the document's, `span_id` the Agents SDK's span
    that asked, None for a plain call.

    `sent` is False when no byte left (no connection, cancelled before): such an attempt is logged, but is no row of
    the ledger. `number` counts from 1 within one call; a 429 does not raise it. `wait_seconds` is the time between
    asking and sending, `wait_reason` the longest part of it. `reserved_tokens` is the worst case held before sending,
    `charged_tokens` what was finally charged: the reported usage, or the reservation where no usage is known.
    `cost_micro_usd` is None where the price is unknown.
    """

    attempt_id: str
    document_id: str | None
    stage: str | None
    cycle: int | None
    role: str
    provider: str
    model: str
    number: int
    sent: bool
    outcome: AttemptOutcome | None
    status_code: int | None
    error_code: str | None
    error: str | None
    wait_seconds: float
    wait_reason: WaitReason | None
    latency_seconds: float
    usage: Usage | None
    reserved_tokens: int
    charged_tokens: int
    cost_micro_usd: int | None
    provider_request_id: str | None
    method: str
    path: str
    started_at: datetime
    call_id: str = ""
    trace_id: str | None = None
    span_id: str | None = None
