"""What tests of the gate share: a gate with its budget and records, calls, prices and jitter that can be foretold."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import trio

from agent_pipeline.control.budget import Budget, BudgetStatistics, Caps, RunBudget
from agent_pipeline.control.call import Call, Price
from agent_pipeline.control.gate import Gate, OnStall
from agent_pipeline.control.lane import LaneStatistics
from agent_pipeline.control.recovery import OnBreaker
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.limit_events import LimitChanged
from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.errors import RateLimitedError
from agent_pipeline.testing import Step

WORST = 40
"""Tokens the calls of `make_call` reserve."""

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class LongestJitter(random.Random):
    """Draws the upper end each time, so that pauses are known."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002  (the signature is random's)
        """Return the upper end."""
        return b


@dataclass(frozen=True)
class FlatPrice:
    """Micro-dollars per token, whichever kind."""

    micro_usd: int

    def cost_micro_usd(self, usage: Usage) -> int:
        """Return the cost in micro-dollars."""
        return usage.total_tokens * self.micro_usd

    def worst_case_micro_usd(self, input_tokens: int, output_tokens: int) -> int:
        """Return the cost of as many tokens of any kind."""
        return (input_tokens + output_tokens) * self.micro_usd


@dataclass
class World:
    """A gate and all that can be seen of it.

    Attributes:
        records: of attempts that ended.
        dispatches: of attempts as they left.
    """

    gate: Gate
    budget: RunBudget
    records: list[AttemptRecord] = field(default_factory=list)
    dispatches: list[AttemptRecord] = field(default_factory=list)

    @property
    def tokens(self) -> BudgetStatistics:
        """The tokens' counters."""
        return self.budget.tokens.statistics()

    @property
    def money(self) -> BudgetStatistics:
        """The money's counters."""
        return self.budget.micro_usd.statistics()

    def lane(self, provider: str = "openai", model: str = "tiny") -> LaneStatistics:
        """The counters of one lane."""
        return self.gate.statistics().lanes[provider, model]

    def assert_nothing_is_held(self) -> None:
        """No hold, no place and no waiter is left; the records say what was spent, from the moment of sending on."""
        assert self.tokens.reserved == 0
        assert self.money.reserved == 0
        for budget in self.budget.roles.values():
            assert (budget.tokens.statistics().reserved, budget.micro_usd.statistics().reserved) == (0, 0)
        for lane in self.gate.statistics().lanes.values():
            assert (lane.in_flight, lane.waiting) == (0, 0)
        assert sum(record.charged_tokens for record in self.records) == self.tokens.spent
        assert sum(record.sent for record in self.records) == self.gate.statistics().attempts
        assert sorted(record.attempt_id for record in self.records if record.sent) == sorted(
            record.attempt_id for record in self.dispatches
        )
        for record in self.dispatches:
            assert (record.sent, record.charged_tokens) == (True, record.reserved_tokens)


def make_world(
    *,
    tokens: int | None = None,
    micro_usd: int | None = None,
    spent_tokens: int = 0,
    spent_micro_usd: int = 0,
    in_flight: int | tuple[int, int, int] = 10,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    attempt_timeout: float | None = None,
    policy: RetryPolicy | None = None,
    rng: random.Random | None = None,
    record: Callable[[AttemptRecord], None] | None = None,
    on_limit: Callable[[LimitChanged], None] | None = None,
    on_stall: OnStall | None = None,
    roles: Mapping[str, Caps] | None = None,
    on_breaker: OnBreaker | None = None,
    closes_for_good: bool = True,
) -> World:
    """Build a gate without limits but those given; jitter always draws its ceiling."""
    records: list[AttemptRecord] = []
    dispatches: list[AttemptRecord] = []

    def keep(attempt: AttemptRecord) -> None:
        (dispatches if attempt.outcome is None else records).append(attempt)

    budget = RunBudget(
        tokens=tokens,
        micro_usd=micro_usd,
        spent_tokens=spent_tokens,
        spent_micro_usd=spent_micro_usd,
        roles={name: Budget("role", name, caps) for name, caps in (roles or {}).items()},
    )
    gate = Gate(
        budget=budget,
        retry=policy or RetryPolicy(),
        requests_in_flight=in_flight,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        on_limit=on_limit,
        attempt_timeout=attempt_timeout,
        record=record or keep,
        now=lambda: BEGIN + timedelta(seconds=trio.current_time()),
        rng=rng or LongestJitter(0),
        on_stall=on_stall,
        on_breaker=on_breaker,
        closes_for_good=closes_for_good,
    )
    return World(gate, budget, records, dispatches)


def make_call(
    *,
    role: str = "writer",
    price: Price | None = None,
    scope: CallScope | None = None,
    provider: str = "openai",
    model: str = "tiny",
    input_tokens_bound: int = WORST - 10,
    output_tokens_cap: int = 10,
    fingerprint: str = "",
) -> Call:
    """Build a call of a worst case of 40 tokens and, without a price, no money."""
    return Call(
        role=role,
        provider=provider,
        model=model,
        method="POST",
        path="/v1/responses",
        input_tokens_bound=input_tokens_bound,
        output_tokens_cap=output_tokens_cap,
        price=price,
        scope=scope or CallScope(),
        fingerprint=fingerprint,
    )


def limited(retry_after: float | None) -> Step:
    """Return the step of a 429."""
    return Step(error=RateLimitedError("slow down", retry_after=retry_after), status_code=429)
