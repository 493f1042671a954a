"""A gateway from settings: for runs, and for calls without a run."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.prices import FindPrice, find_price
from agent_pipeline.config.role_models import RuntimeConfig
from agent_pipeline.control.gate import Gate
from agent_pipeline.domain.ports import Emit
from agent_pipeline.gateway.endpoint import Endpoint
from agent_pipeline.gateway.endpoints import keys_of
from agent_pipeline.gateway.gates import make_budget, make_gate
from agent_pipeline.gateway.gateway import Gateway
from agent_pipeline.gateway.pool import ConnectionPool, open_pool


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
