"""A whole way from an agent to the simulated provider, in memory: what the tests of this folder run in."""

import json
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent_pipeline.bridge.agents import AgentBridge
from agent_pipeline.bridge.tracing import open_sdk_tracing
from agent_pipeline.config.role_models import Api
from agent_pipeline.config.roles import parse_runtime_config
from agent_pipeline.control.budget import RunBudget
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.domain.events import AgentEvent, Event, SdkTraceItem
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.gateway import ConnectionPool, Endpoint, Gateway
from agent_pipeline.gateway.inprocess import BASE_URL, simulator_pool
from agent_pipeline.simulator import FaultPlan, Simulator, SimulatorReply, SimulatorRequest

AT = datetime(2026, 11, 20, 9, 5, tzinfo=UTC)


class RecordingSimulator(Simulator):
    """The simulator, with every request's body kept."""

    def __init__(self, *, faults: FaultPlan | None = None) -> None:
        super().__init__(faults=faults)
        self.bodies: list[dict[str, Any]] = []

    def respond(self, request: SimulatorRequest) -> SimulatorReply:
        """Keep the body, then answer."""
        if request.body:
            self.bodies.append(json.loads(request.body))
        return super().respond(request)


@dataclass(frozen=True)
class World:
    """What a test looks at when the agents have run."""

    bridge: AgentBridge
    gate: Gate
    simulator: RecordingSimulator
    events: list[Event]
    records: list[AttemptRecord]
    dispatches: list[AttemptRecord]

    @property
    def trace_lines(self) -> list[dict[str, Any]]:
        """Traces and spans as they would be written."""
        return [json.loads(event.line, parse_constant=_refuse) for event in self.events if type(event) is SdkTraceItem]

    @property
    def steps(self) -> list[tuple[str, str | None]]:
        """Lifecycle events, with the document they were told for."""
        return [(event.event, event.document_id) for event in self.events if isinstance(event, AgentEvent)]

    def assert_idle(self) -> None:
        """Nothing is held, open or in flight any more, and each attempt was charged."""
        assert self.bridge.loops_opened == self.bridge.loops_closed
        assert self.bridge.tasks.opened == self.bridge.tasks.closed
        for lane in self.gate.statistics().lanes.values():
            assert (lane.in_flight, lane.waiting) == (0, 0)
        assert self.gate.budget.tokens.statistics().reserved == 0
        assert self.simulator.statistics.requests_in_flight == 0
        assert self.gate.statistics().attempts == sum(record.sent for record in self.records) == len(self.dispatches)


def _refuse(constant: str) -> None:
    msg = f"{constant} is no JSON"
    raise ValueError(msg)


def make_roles(params: Mapping[str, object] | None = None, **roles: Mapping[str, object]) -> dict[str, object]:
    """Return a roles file's content: the role `writer` with these params, and further roles."""
    writer = {"provider": "openai", "model": "sim", "params": dict(params or {}), "instructions": "You write."}
    more = {name: {"provider": "openai", "model": "sim", **role} for name, role in roles.items()}
    return {
        "project": "test",
        "env": "test",
        "providers": {"openai": {"env_key": "OPENAI_API_KEY"}},
        "roles": {"writer": writer, **more},
    }


@asynccontextmanager
async def open_world(
    *,
    roles: dict[str, object] | None = None,
    api: Api = "responses",
    base_url: str = BASE_URL,
    faults: Sequence[Mapping[str, object]] = (),
    latency: float = 0.0,
    max_attempts: int = 1,
    initial_delay: float = 0.5,
    in_flight: int = 20,
    attempt_timeout: float | None = None,
    include_texts: bool = False,
    tokens: int | None = None,
    pool: ConnectionPool | None = None,
) -> AsyncGenerator[World]:
    """Open everything between an agent and the simulator; retries are off unless asked for."""
    simulator = RecordingSimulator(faults=FaultPlan.from_mapping({"latency": latency, "faults": list(faults)}))
    events: list[Event] = []
    records: list[AttemptRecord] = []
    dispatches: list[AttemptRecord] = []
    gate = Gate(
        budget=RunBudget(tokens=tokens),
        retry=RetryPolicy(max_attempts=max_attempts, initial_delay=initial_delay),
        requests_in_flight=in_flight,
        attempt_timeout=attempt_timeout,
        record=lambda attempt: (dispatches if attempt.outcome is None else records).append(attempt),
        now=lambda: AT,
        rng=random.Random(0),
    )
    gateway = Gateway(
        runtime=parse_runtime_config(roles or make_roles()),
        endpoints={"openai": Endpoint(base_url, api, None)},
        gate=gate,
        pool=pool or simulator_pool(simulator),
        read_timeout=None,
        connect_timeout=None,
    )
    bridge = AgentBridge(
        find_role=gateway.role, emit=events.append, workflow="test", run_id="run-1", include_texts=include_texts
    )
    async with open_sdk_tracing(events.append, include_texts=include_texts):
        yield World(bridge, gate, simulator, events, records, dispatches)
