"""What becomes of items: one result each, and the batch's own."""

from dataclasses import dataclass, field
from typing import Generic, Literal, TypedDict, TypeVar

from agent_pipeline.domain.usage import Usage

TOutput = TypeVar("TOutput")
TContext = TypeVar("TContext")

Termination = Literal["running", "completed", "batch_timeout", "aborted", "cancelled"]
"""How a batch ended: all items ran · its timeout · an error it was told to end at, or `abort` · from outside."""


class TokenUsage(TypedDict):
    """Tokens of all attempts of an item, failed ones included; cached and reasoning tokens are parts of the others."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cached_input_tokens: int
    reasoning_tokens: int


def as_token_usage(usage: Usage) -> TokenUsage:
    """Return the usage as results show it."""
    return TokenUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


@dataclass(frozen=True, slots=True)
class ItemTiming:
    """Where the seconds of an item went.

    Attributes:
        queued: from being added until a worker took it.
        waiting: for its turn (requests in flight, limits per minute, budget, a provider that is down) and for hooks.
        cooldown: for the pause that a 429 asked of all.
        backoff: between its own attempts.
        executing: attempts under way.
    """

    queued: float = 0.0
    waiting: float = 0.0
    cooldown: float = 0.0
    backoff: float = 0.0
    executing: float = 0.0

    @property
    def total(self) -> float:
        """From being added to the end."""
        return self.queued + self.waiting + self.cooldown + self.backoff + self.executing


@dataclass(frozen=True)  # slots and generic: Python 3.11 can't make those by `Name[...](...)`
class WorkItemResult(Generic[TOutput, TContext]):
    """How one item ended.

    Attributes:
        output: None where it failed.
        error: what went wrong, in words; None where it succeeded.
        error_code: stable word for it.
        context: the item's own object.
        token_usage: of all attempts, also of a failed item.
        attempts: attempts used up; 0 where nothing was sent. A 429 is none.
        rate_limits: 429s on the way.
        position: of the item, from 0, in the order of adding.
    """

    item_id: str
    success: bool
    output: TOutput | None = None
    error: str | None = None
    error_code: str | None = None
    context: TContext | None = None
    token_usage: TokenUsage = field(default_factory=lambda: as_token_usage(Usage()))
    attempts: int = 0
    rate_limits: int = 0
    position: int = 0
    timing: ItemTiming = ItemTiming()


@dataclass(frozen=True)  # slots and generic: Python 3.11 can't make those by `Name[...](...)`
class BatchResult(Generic[TOutput, TContext]):
    """How a batch ended, or stands.

    Attributes:
        results: in the order of adding; those that `results()` has handed out are not kept.
        total_items: that were taken.
        termination: how it ended; `running` in a `partial_result`.
        reason: why it ended early; empty where it did not.
        unknown_tokens: held for attempts that never told their usage; they may have been billed.
        seconds: from opening to the end.
    """

    results: tuple[WorkItemResult[TOutput, TContext], ...]
    total_items: int
    succeeded: int
    failed: int
    total_input_tokens: int
    total_output_tokens: int
    total_cached_input_tokens: int = 0
    unknown_tokens: int = 0
    termination: Termination = "completed"
    reason: str = ""
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def total_tokens(self) -> int:
        """Input plus output."""
        return self.total_input_tokens + self.total_output_tokens

    def estimated_cost(
        self,
        *,
        input_usd_per_million: float,
        output_usd_per_million: float,
        cached_input_usd_per_million: float | None = None,
    ) -> float:
        """Return what the reported tokens cost at the caller's prices, in US dollars.

        Cached input tokens have the price of others, unless they have one of their own. Unknown tokens are left out.

        >>> result = BatchResult((), 1, 1, 0, 1_000_000, 500_000, 400_000)
        >>> result.estimated_cost(input_usd_per_million=1, output_usd_per_million=4, cached_input_usd_per_million=0.5)
        2.8
        """
        cached, price = self.total_cached_input_tokens, cached_input_usd_per_million
        cached_price = input_usd_per_million if price is None else price
        fresh = (self.total_input_tokens - cached) * input_usd_per_million
        return (fresh + cached * cached_price + self.total_output_tokens * output_usd_per_million) / 1e6

    def summary(self) -> str:
        """Return the whole in a few lines for people.

        >>> print(BatchResult((), 3, 2, 1, 10, 5, errors={"server_error": 1}, seconds=1.25).summary())
        completed: 2 of 3 items succeeded, 1 failed, in 1.2 s
        tokens: 10 in, 5 out
        errors: server_error 1
        """
        lines = [
            f"{self.termination}: {self.succeeded} of {self.total_items} items succeeded, {self.failed} failed, "
            f"in {self.seconds:.1f} s" + (f" ({self.reason})" if self.reason else "")
        ]
        cached = f" ({self.total_cached_input_tokens:,} cached)" if self.total_cached_input_tokens else ""
        unknown = f", {self.unknown_tokens:,} unknown" if self.unknown_tokens else ""
        lines.append(f"tokens: {self.total_input_tokens:,} in{cached}, {self.total_output_tokens:,} out{unknown}")
        if self.errors:
            lines.append("errors: " + ", ".join(f"{code} {count}" for code, count in sorted(self.errors.items())))
        return "\n".join(lines)
