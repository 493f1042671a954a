"""Limits that change while calls are in flight: applied to all lanes, now and later; nothing is cancelled."""

import math

import pytest
import trio
from tests.control.world import make_call, make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.domain.limit_events import LimitChanged
from agent_pipeline.errors import AttemptTimeoutError
from agent_pipeline.testing import ScriptedProvider, Step


async def test_shrinking_cancels_nothing_and_admits_nobody_until_below(autojump_clock: MockClock) -> None:
    """20 in flight, 3 allowed: those 20 end, then 3 go at a time."""
    world, provider = make_world(in_flight=20), ScriptedProvider(Step(latency=10))

    async with trio.open_nursery() as nursery:
        for _ in range(26):
            nursery.start_soon(world.gate.call, make_call(), provider.send)
        await trio.sleep(5)
        world.gate.set_limits(requests_in_flight=(1, 3))
        assert (world.lane().in_flight, world.lane().limit) == (20, 3)

    assert [at for _, at in provider.attempts] == [0] * 20 + [10] * 3 + [20] * 3
    assert {record.outcome for record in world.records} == {"succeeded"}
    world.assert_nothing_is_held()


async def test_growing_lets_in_at_once_who_waits(autojump_clock: MockClock) -> None:
    """Nobody has to end first."""
    world, provider = make_world(in_flight=1), ScriptedProvider(Step(latency=10))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(world.gate.call, make_call(), provider.send)
        await trio.sleep(5)
        world.gate.set_limits(requests_in_flight=(3, 8))

    assert [at for _, at in provider.attempts] == [0, 5, 5, 10]


async def test_limits_hold_for_lanes_that_come_later_too(autojump_clock: MockClock) -> None:
    """A model that is asked for the first time after the change knows it."""
    world, provider = make_world(in_flight=20), ScriptedProvider(Step(latency=10))
    world.gate.set_limits(requests_in_flight=(1, 2), requests_per_minute=3)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(world.gate.call, make_call(model="large"), provider.send)

    assert [at for _, at in provider.attempts] == [0, 0, 10, 70.1]


async def test_what_is_left_out_stays(autojump_clock: MockClock) -> None:
    """Live values come one by one; None is a value: no limit."""
    world, provider = make_world(), ScriptedProvider(Step())
    world.gate.set_limits(requests_per_minute=1)
    world.gate.set_limits(tokens_per_minute=1_000)
    await world.gate.call(make_call(), provider.send)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), provider.send)
        await trio.sleep(1)
        assert world.lane().waiting == 1
        world.gate.set_limits(requests_per_minute=None)
        await wait_all_tasks_blocked()

    assert [at for _, at in provider.attempts] == [0, 1]
    assert (world.records[1].wait_reason, world.records[1].wait_seconds) == ("rate", 1)


@pytest.mark.parametrize(("minimum", "maximum"), [(0, 3), (4, 3)])
def test_bounds_that_can_not_hold_change_nothing(minimum: int, maximum: int) -> None:
    """Validated whole: the other values of the same edit stay out too."""
    world = make_world()

    with pytest.raises(ValueError, match="is wanted"):
        world.gate.set_limits(requests_in_flight=(minimum, maximum), requests_per_minute=5)
    with pytest.raises(ValueError, match="positive"):
        world.gate.set_limits(requests_in_flight=(1, 3), requests_per_minute=0)
    with pytest.raises(ValueError, match="positive"):
        world.gate.set_limits(tokens_per_minute=-1)


async def test_every_change_is_told_with_its_reason(autojump_clock: MockClock) -> None:
    """Who reads the run log sees why fewer requests go."""
    told: list[LimitChanged] = []
    world, provider = make_world(in_flight=20, on_limit=told.append), ScriptedProvider()
    await world.gate.call(make_call(), provider.send)

    world.gate.set_limits(requests_in_flight=(1, 3))
    world.gate.set_limits(requests_in_flight=(2, 3))

    assert told == [LimitChanged("openai", "tiny", 20, 3, "configured")]


async def test_an_attempt_timeout_holds_for_attempts_that_begin_later(autojump_clock: MockClock) -> None:
    """One under way keeps the time it began with."""
    world = make_world(attempt_timeout=100, policy=RetryPolicy(max_attempts=1))
    provider = ScriptedProvider(Step(latency=50))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), provider.send)
        await wait_all_tasks_blocked()
        world.gate.set_attempt_timeout(None)
        await world.gate.call(make_call(), provider.send)
        world.gate.set_attempt_timeout(2)
        with trio.fail_after(3), pytest.raises(AttemptTimeoutError):
            await world.gate.call(make_call(), ScriptedProvider(Step(latency=50)).send)

    assert [record.outcome for record in world.records] == ["succeeded", "succeeded", "failed"]


@pytest.mark.parametrize("timeout", [0, -1, math.nan])
def test_an_attempt_timeout_is_positive(timeout: float) -> None:
    """Nothing could be sent in no time."""
    with pytest.raises(ValueError, match="positive"):
        make_world().gate.set_attempt_timeout(timeout)
