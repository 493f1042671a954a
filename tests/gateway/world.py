"""A gateway as a run wires it, with one role `writer`, for tests to ask."""

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import trio
from pydantic import SecretStr
from tests.gateway.bodies import Api, good
from tests.gateway.wire_server import Play, answer, wire_server

from agent_pipeline.config.roles import RuntimeConfig, parse_runtime_config
from agent_pipeline.control.budget import RunBudget
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.gateway import ConnectionPool, Endpoint, Gateway, RoleClient, open_pool
from agent_pipeline.telemetry import NO_SECRETS, SecretValues

KEY = "sk-canary-0123456789abcdef"
EVENT_STREAM = "text/event-stream"


@dataclass
class World:
    """A gateway and what its gate recorded."""

    gateway: Gateway
    pool: ConnectionPool
    budget: RunBudget
    records: list[AttemptRecord]
    dispatches: list[AttemptRecord]

    @property
    def role(self) -> RoleClient:
        """The one role there is."""
        return self.gateway.role("writer")

    @property
    def errors(self) -> list[str | None]:
        """How each attempt ended, by error code."""
        return [record.error_code for record in self.records]


def _one_role(params: dict[str, object]) -> RuntimeConfig:
    role = {"provider": "local", "model": "m", "mode": "chat", "params": params, "instructions": "Be brief."}
    return parse_runtime_config({"project": "p", "env": "test", "providers": {"local": {}}, "roles": {"writer": role}})


@asynccontextmanager
async def open_world(
    base_url: str,
    *,
    api: Api = "responses",
    params: Mapping[str, object] | None = None,
    key: str | None = KEY,
    max_attempts: int = 1,
    attempt_timeout: float | None = 30.0,
    read_timeout: float | None = 20.0,
    connect_timeout: float | None = 5.0,
    requests_in_flight: int = 20,
    budget_tokens: int | None = None,
    make_pool: Callable[[], ConnectionPool] = ConnectionPool,
    watch: Callable[[AttemptRecord], None] | None = None,
    keys: SecretValues = NO_SECRETS,
) -> AsyncGenerator[World]:
    """Open a gateway whose only role `writer` asks at `base_url`; `watch` sees each record before it is kept."""
    records: list[AttemptRecord] = []
    dispatches: list[AttemptRecord] = []

    def keep(attempt: AttemptRecord) -> None:
        if watch is not None:
            watch(attempt)
        (dispatches if attempt.outcome is None else records).append(attempt)

    budget = RunBudget(tokens=budget_tokens)
    gate = Gate(
        budget=budget,
        retry=RetryPolicy(max_attempts=max_attempts, initial_delay=0.0),
        requests_in_flight=requests_in_flight,
        attempt_timeout=attempt_timeout,
        record=keep,
        now=lambda: datetime.now(UTC),
        rng=random.Random(0),
    )
    async with open_pool(make_pool) as pool:
        gateway = Gateway(
            runtime=_one_role(dict(params or {})),
            endpoints={"local": Endpoint(base_url, api, None if key is None else SecretStr(key))},
            gate=gate,
            pool=pool,
            read_timeout=read_timeout,
            connect_timeout=connect_timeout,
            keys=keys,
        )
        yield World(gateway, pool, budget, records, dispatches)
        assert pool.statistics().active == 0, "a place of the pool was not given back"
        assert all(lane.in_flight == 0 for lane in gate.statistics().lanes.values())
    assert pool.connections.closed == pool.connections.opened, "a socket was left open"


def well(api: Api, text: str = "yes", *, streamed: bool = False) -> Play:
    """Answer as a provider in good health."""
    body = good(api, text, streamed=streamed)
    return answer(body, content_type=EVENT_STREAM if streamed else "application/json")


async def ask_badly(play: Play, *, api: Api = "responses", streamed: bool = False) -> tuple[AgentPipelineError, World]:
    """Ask a server that plays this; return the error and the world."""
    async with (
        wire_server(play) as server,
        open_world(server.url, api=api, params={"stream": streamed}) as world,
    ):
        with pytest.raises(AgentPipelineError) as caught:
            await world.role.ask("Well?")
        assert len(server.seen) == len(world.records)
    return caught.value, world


async def closed_port() -> int:
    """Return a port nobody listens on."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    for listener in listeners:
        await listener.aclose()
    return port
