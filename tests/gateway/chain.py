"""Three roles that stand in for one another, each at a provider of its own, in memory and virtual time."""

import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.bridge.world import AT, RecordingSimulator

from agent_pipeline.config.role_models import Api
from agent_pipeline.config.roles import parse_runtime_config
from agent_pipeline.control.budget import RunBudget
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.domain.events import Event
from agent_pipeline.domain.limit_events import FallbackUsed
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.gateway import Endpoint, Gateway, open_pool
from agent_pipeline.gateway.inprocess import BASE_URL, simulator_pool
from agent_pipeline.simulator import FaultPlan

NAMES = ("first", "second", "third")
"""Roles; the provider of each is `<role>_house`, its model `<role>-model`."""


def fault(role: str, kind: str = "status", **values: object) -> dict[str, object]:
    """Return a fault that all requests for this role's model meet."""
    return {"kind": kind, "rate": 1.0, "match": {"model": f"{role}-model"}, **values}


@dataclass
class Chain:
    """A gateway whose role `first` falls back on `second`, and that on `third`."""

    gateway: Gateway
    simulator: RecordingSimulator
    budget: RunBudget
    records: list[AttemptRecord] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    async def ask(self, prompt: str = "One apple lies on a blue table.") -> str:
        """Ask the first role."""
        return await self.gateway.role("first").ask(prompt)

    @property
    def steps(self) -> list[tuple[str, str, str, str]]:
        """Each fallback: from, to, why, and the error's code."""
        used = [event for event in self.events if isinstance(event, FallbackUsed)]
        return [(one.role, one.fallback, one.reason, one.error_code) for one in used]

    @property
    def asked(self) -> list[tuple[str, str, str | None]]:
        """Each attempt: role, model, error code."""
        return [(record.role, record.model, record.error_code) for record in self.records]


def roles(length: int, api: Api, params: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Return a roles file with a chain of so many roles."""
    names = NAMES[:length]
    return {
        "project": "p",
        "env": "test",
        "providers": {f"{name}_house": {"api": api} for name in names},
        "roles": {
            name: {
                "provider": f"{name}_house",
                "model": f"{name}-model",
                "instructions": f"You are the {name}.",
                "params": {"max_tokens": 100, **params.get(name, {})},
                "fallback": following,
            }
            for name, following in zip(names, [*names[1:], None], strict=True)
        },
    }


@asynccontextmanager
async def open_chain(
    *faults: Mapping[str, object],
    length: int = 2,
    api: Api = "responses",
    params: Mapping[str, Mapping[str, object]] | None = None,
    latency: float = 0.0,
    max_attempts: int = 1,
    budget_tokens: int | None = None,
    official: Sequence[str] = (),
) -> AsyncGenerator[Chain]:
    """Open a chain of roles; nothing is held when it closes."""
    simulator = RecordingSimulator(faults=FaultPlan.from_mapping({"latency": latency, "faults": list(faults)}))
    budget = RunBudget(tokens=budget_tokens)
    records: list[AttemptRecord] = []
    events: list[Event] = []
    gate = Gate(
        budget=budget,
        retry=RetryPolicy(max_attempts=max_attempts, initial_delay=1.0),
        requests_in_flight=20,
        attempt_timeout=30.0,
        record=lambda attempt: None if attempt.outcome is None else records.append(attempt),
        now=lambda: AT,
        rng=random.Random(0),
    )
    async with open_pool(lambda: simulator_pool(simulator)) as pool:
        gateway = Gateway(
            runtime=parse_runtime_config(roles(length, api, params or {})),
            endpoints={
                f"{name}_house": Endpoint("https://api.openai.com/v1" if name in official else BASE_URL, api, None)
                for name in NAMES
            },
            gate=gate,
            pool=pool,
            read_timeout=20.0,
            connect_timeout=None,
            emit=events.append,
        )
        yield Chain(gateway, simulator, budget, records, events)
        assert pool.statistics().active == 0
    assert all((lane.in_flight, lane.waiting) == (0, 0) for lane in gate.statistics().lanes.values())
    assert budget.tokens.statistics().reserved == 0
    assert simulator.statistics.requests == sum(record.sent for record in records)
