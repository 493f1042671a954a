"""A gate and a budget from settings: for runs, and for calls without a run; free of the OpenAI client."""

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from agent_pipeline.config.limits import LimitsConfig, micro_usd_of
from agent_pipeline.config.role_models import RuntimeConfig
from agent_pipeline.control.budget import Budget, Caps, RunBudget
from agent_pipeline.control.gate import Gate, OnStall
from agent_pipeline.control.limits import Sharing
from agent_pipeline.control.recovery import OnBreaker
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.domain.limit_events import LimitChanged
from agent_pipeline.domain.usage import NOTHING_SPENT, AttemptRecord, Spending

Record = Callable[[AttemptRecord], None]

_NOBODY: Mapping[str, Spending] = {}


def no_record(_attempt: AttemptRecord) -> None:
    """Keep no record of attempts: for calls that belong to no run."""


def utc_now() -> datetime:
    """Return the wall clock's time."""
    return datetime.now(UTC)


def make_budget(
    limits: LimitsConfig,
    runtime: RuntimeConfig,
    *,
    spent: Spending = NOTHING_SPENT,
    spent_by_role: Mapping[str, Spending] = _NOBODY,
) -> RunBudget:
    """Return the budget of all calls together, and those of the roles that have one of their own."""
    roles: dict[str, Budget] = {}
    for name, role in runtime.roles.items():
        caps = Caps(role.budget_tokens, micro_usd_of(role.budget_usd))
        if caps.exist:
            roles[name] = Budget("role", name, caps, spent_by_role.get(name, NOTHING_SPENT))
    return RunBudget(
        tokens=limits.budget.tokens,
        micro_usd=limits.budget.micro_usd,
        spent_tokens=spent.tokens,
        unknown_tokens=spent.unknown_tokens,
        spent_micro_usd=spent.micro_usd,
        roles=roles,
    )


def make_gate(
    limits: LimitsConfig,
    *,
    budget: RunBudget,
    record: Record = no_record,
    now: Callable[[], datetime] = utc_now,
    rng: random.Random | None = None,
    on_limit: Callable[[LimitChanged], None] | None = None,
    on_stall: OnStall | None = None,
    on_breaker: OnBreaker | None = None,
    sharing: Sharing | None = None,
    closes_for_good: bool = True,
) -> Gate:
    """Return a gate that keeps these limits; what the others are, `Gate` says."""
    flight, retry = limits.requests_in_flight, limits.retry
    return Gate(
        budget=budget,
        retry=RetryPolicy(retry.max_attempts, retry.initial_delay, retry.max_delay),
        requests_in_flight=(flight.start, flight.min, flight.max),
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
        attempt_timeout=limits.timeouts.attempt,
        record=record,
        now=now,
        rng=random.Random() if rng is None else rng,
        on_limit=on_limit,
        on_stall=on_stall,
        on_breaker=on_breaker,
        sharing=sharing,
        closes_for_good=closes_for_good,
    )
