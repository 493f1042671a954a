"""Providers behind any-llm as a hub wires them: a gate, one asyncio thread, clients that are counted."""

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import trio
from pydantic import JsonValue, SecretStr

from agent_pipeline.bridge import AsyncioThread
from agent_pipeline.config.rates import Rates
from agent_pipeline.config.role_models import RuntimeConfig
from agent_pipeline.config.roles import parse_runtime_config, resolve_role
from agent_pipeline.control.budget import RunBudget
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.gateway.foreign import ForeignProviders
from agent_pipeline.gateway.foreign.clients import ForeignClient, MakeClient, make_client

KEY = "sk-canary-0123456789abcdef"
KEY_VARIABLE = "CANARY_API_KEY"
MESSAGES: list[object] = [{"role": "user", "content": "Say hello."}]


@dataclass
class ForeignWorld:
    """What a test looks at."""

    foreign: ForeignProviders
    runtime: RuntimeConfig
    gate: Gate
    budget: RunBudget
    asyncio_thread: AsyncioThread
    records: list[AttemptRecord] = field(default_factory=list)
    made: list[ForeignClient] = field(default_factory=list)

    async def complete(self, messages: list[object] | None = None, **params: JsonValue) -> object:
        """Ask the role `writer`."""
        return await self.foreign.completion(resolve_role(self.runtime, "writer", params), messages or MESSAGES)

    async def embed(self, inputs: object, **params: JsonValue) -> object:
        """Ask the role `seeker`."""
        return await self.foreign.embedding(resolve_role(self.runtime, "seeker", params), inputs)

    async def stream(self, take: Callable[[object], None], **params: JsonValue) -> None:
        """Ask the role `writer` for chunks."""
        await self.foreign.stream(resolve_role(self.runtime, "writer", params), MESSAGES, take)

    @property
    def errors(self) -> list[str | None]:
        """How each attempt ended, by error code."""
        return [record.error_code for record in self.records]


def foreign_runtime(provider: str, params: Mapping[str, JsonValue], *, env_key: str | None) -> RuntimeConfig:
    """Return a config with a role for text and one for vectors, both of a provider without an address."""
    roles = {
        "writer": {"provider": provider, "model": "m", "mode": "chat", "params": dict(params)},
        "seeker": {"provider": provider, "model": "e", "mode": "embedding"},
    }
    return parse_runtime_config(
        {"project": "p", "env": "test", "providers": {provider: {"env_key": env_key}}, "roles": roles}
    )


def _watched(made: list[ForeignClient]) -> MakeClient:
    """Make clients as ever, and keep them."""

    def make(
        provider: str, key: SecretStr | None, address: str | None, timeouts: Mapping[str, float | None], /
    ) -> ForeignClient:
        made.append(make_client(provider, key, address, timeouts))
        return made[-1]

    return make


@asynccontextmanager
async def open_foreign(
    provider: str,
    address: str,
    *,
    params: Mapping[str, JsonValue] | None = None,
    env_key: str | None = KEY_VARIABLE,
    max_attempts: int = 1,
    attempt_timeout: float | None = 10.0,
    read_timeout: float | None = 10.0,
    requests_in_flight: int = 20,
    budget_tokens: int | None = None,
    price: Rates | None = None,
) -> AsyncGenerator[ForeignWorld]:
    """Open them, with `provider` at `address`; at the end nothing is in flight and no connection is left."""
    records: list[AttemptRecord] = []
    made: list[ForeignClient] = []
    budget = RunBudget(tokens=budget_tokens)

    def keep(attempt: AttemptRecord) -> None:
        if attempt.outcome is not None:
            records.append(attempt)

    gate = Gate(
        budget=budget,
        retry=RetryPolicy(max_attempts=max_attempts, initial_delay=0.001, max_delay=0.001),
        requests_in_flight=requests_in_flight,
        attempt_timeout=attempt_timeout,
        record=keep,
        now=lambda: datetime.now(UTC),
        rng=random.Random(0),
    )
    runtime = foreign_runtime(provider, params or {}, env_key=env_key)
    thread = AsyncioThread()
    foreign = ForeignProviders(
        runtime,
        gate=gate,
        run_in_asyncio=thread.run,
        price_of=lambda _provider, _model: price,
        read_timeout=read_timeout,
        addresses={provider: address},
        make=_watched(made),
    )
    try:
        yield ForeignWorld(foreign, runtime, gate, budget, thread, records, made)
        assert all(lane.in_flight == 0 for lane in gate.statistics().lanes.values())
    finally:
        with trio.CancelScope(shield=True):
            await foreign.aclose()
            await trio.to_thread.run_sync(thread.close)
