"""A gate and a gateway from settings: for runs, and for calls without a run."""

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from agent_pipeline.config.limits import LimitsConfig, micro_usd_of
from agent_pipeline.config.prices import FindPrice, find_price
from agent_pipeline.config.role_models import RuntimeConfig
from agent_pipeline.control.budget import Budget, Caps, RunBudget
from agent_pipeline.control.gate import Gate, OnStall
from agent_pipeline.control.recovery import OnBreaker
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.domain.limit_events import LimitChanged
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.usage import NOTHING_SPENT, AttemptRecord, Spending
from agent_pipeline.gateway.endpoint import Endpoint
from agent_pipeline.gateway.endpoints import keys_of
from agent_pipeline.gateway.gateway import Gateway
from agent_pipeline.gateway.pool import ConnectionPool, open_pool

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
    )


@asynccontextmanager
async def open_gateway(
    runtime: RuntimeConfig,
    endpoints: Mapping[str, Endpoint],
    limits: LimitsConfig,
    *,
    gate: Gate | None = None,
    make_pool: Callable[[], ConnectionPool] = ConnectionPool,
    price_of: FindPrice = find_price,
    emit: Emit | None = None,
    takes_incomplete: bool = False,
) -> AsyncGenerator[Gateway]:
    """Open a gateway under Trio; its connections are closed at the end, also on cancellation.

    Args:
        runtime: roles and providers.
        endpoints: by provider id.
        limits: of all calls through it together; those on documents have no meaning here.
        gate: instead of one of its own.
        make_pool: of connections.
        price_of: finds what a provider's model costs.
        emit: takes an event wherever a fallback is asked.
        takes_incomplete: whether answers count that a model cut short, or a refusal.
    """
    own = make_gate(limits, budget=make_budget(limits, runtime)) if gate is None else gate
    async with open_pool(make_pool) as pool:
        yield Gateway(
            runtime=runtime,
            endpoints=endpoints,
            gate=own,
            pool=pool,
            read_timeout=limits.timeouts.read,
            connect_timeout=limits.timeouts.connect,
            keys=keys_of(runtime),
            price_of=price_of,
            emit=emit,
            takes_incomplete=takes_incomplete,
        )
