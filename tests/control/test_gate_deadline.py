"""The attempt's own deadline: exact, named, and never at the cost of an answer that came."""

import pytest
import trio
from tests.control.world import WORST, make_call, make_world
from trio.testing import MockClock

from agent_pipeline.control.call import Attempt
from agent_pipeline.control.deadline import deadline_rung
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.errors import AttemptTimeoutError, ConnectionLostError, DeadlineExceededError
from agent_pipeline.testing import ScriptedProvider, Step


async def test_an_attempt_is_cut_off_exactly_at_its_timeout(autojump_clock: MockClock) -> None:
    """The rung is named, to the nanosecond; the request may have been worked on, so it is charged in full."""
    world = make_world(attempt_timeout=30.1, policy=RetryPolicy(max_attempts=1))

    with pytest.raises(AttemptTimeoutError, match=r"^attempt 1 exceeded its 30.1 s attempt timeout$") as caught:
        await world.gate.call(make_call(), ScriptedProvider(Step(latency=31)).send)

    assert trio.current_time() == pytest.approx(30.1, abs=1e-9, rel=0)
    assert (caught.value.rung, caught.value.timeout) == ("attempt", 30.1)
    assert world.tokens.unknown == world.tokens.spent == WORST


async def test_a_sender_that_drips_is_cut_off_too(autojump_clock: MockClock) -> None:
    """One byte per 50 ms resets every read timeout; the attempt's stands."""
    world = make_world(attempt_timeout=1, policy=RetryPolicy(max_attempts=1))

    async def drip(attempt: Attempt) -> str:
        attempt.dispatch()
        for _ in range(1_000):
            await trio.sleep(0.05)
        return "done"

    with pytest.raises(AttemptTimeoutError):
        await world.gate.call(make_call(), drip)

    assert trio.current_time() == pytest.approx(1, abs=1e-9, rel=0)


async def test_each_attempt_has_the_whole_timeout(autojump_clock: MockClock) -> None:
    """Two timeouts and a pause between them, then an answer just in time."""
    world = make_world(attempt_timeout=30)
    provider = ScriptedProvider(Step(latency=31), Step(latency=31), Step(latency=29))

    await world.gate.call(make_call(), provider.send)

    assert provider.attempts == [(1, 0), (2, 30.5), (3, 61.5)]
    assert trio.current_time() == 90.5
    assert [record.error_code for record in world.records] == ["attempt_timeout", "attempt_timeout", None]


async def test_an_answer_that_came_just_after_the_deadline_is_kept(autojump_clock: MockClock) -> None:
    """It is whole and paid for; only a sender that was really stopped has timed out."""
    world = make_world(attempt_timeout=30)

    async def send(attempt: Attempt) -> str:
        attempt.dispatch()
        with trio.CancelScope(shield=True):
            await trio.sleep(31)
        return "late"

    assert await world.gate.call(make_call(), send) == "late"

    assert [record.outcome for record in world.records] == ["succeeded"]


async def test_an_error_of_the_sender_after_the_deadline_is_its_own(autojump_clock: MockClock) -> None:
    """What it says is more than that time was up."""
    world = make_world(attempt_timeout=30, policy=RetryPolicy(max_attempts=1))

    async def send(attempt: Attempt) -> str:
        attempt.dispatch()
        try:
            await trio.sleep_forever()
        finally:
            raise ConnectionLostError("reset")

    with pytest.raises(ConnectionLostError):
        await world.gate.call(make_call(), send)


async def test_a_sender_with_a_nursery_times_out_like_any_other(autojump_clock: MockClock) -> None:
    """Its cancellation arrives in a group."""
    world = make_world(attempt_timeout=30, policy=RetryPolicy(max_attempts=1))

    async def send(attempt: Attempt) -> None:
        attempt.dispatch()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)

    with pytest.raises(AttemptTimeoutError):
        await world.gate.call(make_call(), send)


@pytest.mark.parametrize("timeout", [20, 30])
async def test_an_outer_rung_that_fires_first_or_at_once_is_the_one_named(
    timeout: float, autojump_clock: MockClock
) -> None:
    """The attempt is then cancelled, not timed out, and not tried again."""
    world, provider = make_world(attempt_timeout=30), ScriptedProvider(Step(latency=31))

    with pytest.raises(DeadlineExceededError) as caught, deadline_rung("stage", timeout):
        await world.gate.call(make_call(), provider.send)

    assert trio.current_time() == timeout
    assert caught.value.rung == "stage"
    assert [record.outcome for record in world.records] == ["cancelled"]
    assert len(provider.attempts) == 1


async def test_no_timeout_is_no_limit(autojump_clock: MockClock) -> None:
    """None means what it says."""
    world, provider = make_world(attempt_timeout=None), ScriptedProvider(Step(latency=80_000))

    assert await world.gate.call(make_call(), provider.send) == "done"
