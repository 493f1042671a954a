"""The simulator without sockets, under the real gate and client: hours of waiting in no time, to the second."""

import math
from collections.abc import Mapping

import pytest
import trio
from tests.gateway.bodies import APIS, Api
from tests.gateway.world import open_world
from trio.testing import MockClock

from agent_pipeline.control.deadline import deadline_rung
from agent_pipeline.errors import (
    AgentPipelineError,
    AttemptTimeoutError,
    ConnectionLostError,
    DeadlineExceededError,
    ModelProtocolError,
    RateLimitedError,
)
from agent_pipeline.gateway.inprocess import BASE_URL, simulator_pool
from agent_pipeline.simulator import FaultPlan, Simulator


def simulator(*faults: Mapping[str, object], **plan: object) -> Simulator:
    """Return a simulator with these faults."""
    return Simulator(faults=FaultPlan.from_mapping({"faults": list(faults), **plan}))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_latency_passes_on_trios_clock(autojump_clock: MockClock, api: Api, *, streamed: bool) -> None:
    """An hour of it, under the real client: no thread, no socket, nothing else that stops the clock."""
    sim = simulator(latency=3600.0)
    async with open_world(
        BASE_URL,
        api=api,
        params={"stream": streamed},
        make_pool=lambda: simulator_pool(sim),
        attempt_timeout=None,
        read_timeout=None,
    ) as world:
        assert await world.role.ask("One apple lies on a blue table.")

    assert trio.current_time() == 3600
    assert world.records[0].latency_seconds == 3600
    assert sim.statistics.requests == len(world.records) == 1
    assert sim.statistics.requests_in_flight == 0


async def test_slow_drip_ends_exactly_at_the_attempt_timeout(autojump_clock: MockClock) -> None:
    """Each byte comes well within the read timeout."""
    sim = simulator({"kind": "slow_drip", "rate": 1.0, "bytes": 1, "delay": 0.05})
    async with open_world(BASE_URL, make_pool=lambda: simulator_pool(sim), attempt_timeout=1.0) as world:
        with pytest.raises(AttemptTimeoutError) as caught:
            await world.role.ask("Well?")

    assert caught.value.rung == "attempt"
    assert trio.current_time() == 1.0
    assert sim.statistics.requests_in_flight == 0


@pytest.mark.parametrize("kind", ["hang", "hang_mid_body"])
async def test_silence_ends_exactly_at_the_read_timeout(autojump_clock: MockClock, kind: str) -> None:
    """As it would on a socket, where httpx2 counts it."""
    sim = simulator({"kind": kind, "rate": 1.0})
    async with open_world(BASE_URL, make_pool=lambda: simulator_pool(sim), read_timeout=20.0) as world:
        with pytest.raises(AttemptTimeoutError) as caught:
            await world.role.ask("Well?")

    assert caught.value.rung == "read"
    assert trio.current_time() == 20
    assert sim.statistics.requests_in_flight == 0


async def test_read_timeout_is_between_bytes_and_not_of_the_whole(autojump_clock: MockClock) -> None:
    """Twenty pieces, each just in time."""
    sim = simulator({"kind": "slow_drip", "rate": 1.0, "bytes": 100, "delay": 19.0})
    async with open_world(
        BASE_URL, make_pool=lambda: simulator_pool(sim), read_timeout=20.0, attempt_timeout=None
    ) as world:
        assert await world.role.ask("One apple.")

    assert trio.current_time() > 20


@pytest.mark.parametrize(
    ("kind", "streamed", "expected"),
    [
        ("reset_before_body", False, ConnectionLostError),
        ("reset_mid_body", False, ConnectionLostError),
        ("truncate_stream", True, ModelProtocolError),
        ("malformed_json", False, ModelProtocolError),
        ("html_200", False, ModelProtocolError),
        ("empty_object", False, ModelProtocolError),
    ],
)
@pytest.mark.parametrize("api", APIS)
async def test_broken_reply_is_retried(
    autojump_clock: MockClock, api: Api, kind: str, expected: type[AgentPipelineError], *, streamed: bool
) -> None:
    """The same faults as over a socket come out as the same errors."""
    sim = simulator({"kind": kind, "script": [1]})
    async with open_world(
        BASE_URL, api=api, params={"stream": streamed}, make_pool=lambda: simulator_pool(sim), max_attempts=2
    ) as world:
        assert await world.role.ask("One apple lies on a blue table.")

    failed, succeeded = world.records
    assert succeeded.error_code is None
    assert failed.error_code in {expected.code, "stream_truncated"}
    assert failed.charged_tokens == failed.reserved_tokens
    assert sim.statistics.requests == 2
    assert sim.statistics.requests_in_flight == 0


async def test_four_pauses_of_ninety_seconds_take_six_minutes_and_no_attempt(autojump_clock: MockClock) -> None:
    """The provider's pause is a floor, and a 429 uses no attempt up."""
    sim = simulator({"kind": "status", "status": 429, "retry_after": 90, "script": [1, 2, 3, 4]})
    async with open_world(BASE_URL, make_pool=lambda: simulator_pool(sim), max_attempts=1) as world:
        assert await world.role.ask("One apple.")

    assert trio.current_time() == pytest.approx(360, abs=1e-6)
    assert world.errors == [RateLimitedError.code] * 4 + [None]
    assert [record.number for record in world.records] == [1] * 5


async def test_stage_deadline_cancels_a_request_and_frees_everything(autojump_clock: MockClock) -> None:
    """What may have been worked on stays charged."""
    sim = simulator(latency=100.0)
    async with open_world(
        BASE_URL, make_pool=lambda: simulator_pool(sim), attempt_timeout=None, read_timeout=math.inf
    ) as world:
        with pytest.raises(DeadlineExceededError), deadline_rung("stage", 30.0):
            await world.role.ask("One apple.")

    assert trio.current_time() == 30
    assert world.records[0].outcome == "cancelled"
    assert world.records[0].charged_tokens == world.records[0].reserved_tokens
    assert sim.statistics.requests_in_flight == 0


async def test_two_hundred_at_once_are_never_more_than_twenty(autojump_clock: MockClock) -> None:
    """Two hundred requests of a second each, twenty at a time: ten seconds, exactly."""
    sim = simulator(latency=1.0)
    async with (
        open_world(BASE_URL, make_pool=lambda: simulator_pool(sim), requests_in_flight=20) as world,
        trio.open_nursery() as nursery,
    ):
        for number in range(200):
            nursery.start_soon(world.role.ask, f"Apple {number}.")

    assert trio.current_time() == 10
    assert sim.statistics.max_requests_in_flight == 20
    assert sim.statistics.requests == len(world.records) == 200
    assert world.budget.tokens.statistics().spent == sim.statistics.input_tokens + sim.statistics.output_tokens
