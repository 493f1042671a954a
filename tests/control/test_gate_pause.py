"""Pauses against deadlines: what can't be waited out fails at once, and who is cancelled is not failed."""

import pytest
import trio
from tests.control.world import limited, make_call, make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.call import Attempt
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.scope import CallScope
from agent_pipeline.errors import RateLimitedError, ServerError, WaitTooLongError
from agent_pipeline.testing import ScriptedProvider, Step


@pytest.mark.parametrize("timeout", [89, 90])
async def test_a_pause_that_outlasts_the_deadline_fails_at_once(timeout: float, autojump_clock: MockClock) -> None:
    """Nobody waits 89 seconds for a failure that is known now; the reason says who asked for the pause."""
    world, provider = make_world(), ScriptedProvider(limited(90))

    with trio.fail_after(timeout), pytest.raises(WaitTooLongError) as caught:
        await world.gate.call(make_call(), provider.send)

    assert trio.current_time() == 0
    assert isinstance(caught.value.__cause__, RateLimitedError)
    assert str(caught.value) == (
        f"openai tiny: the next request may go in 90.0 s, but only {timeout}.0 s are left of the stage's, document's "
        "or run's timeout"
    )
    assert len(provider.attempts) == 1
    world.assert_nothing_is_held()


async def test_a_pause_that_ends_before_the_deadline_is_waited_out(autojump_clock: MockClock) -> None:
    """91 seconds are enough for 90."""
    world, provider = make_world(), ScriptedProvider(limited(90), Step())

    with trio.fail_after(91):
        await world.gate.call(make_call(), provider.send)

    assert trio.current_time() == 90


async def test_a_backoff_that_outlasts_the_deadline_fails_at_once(autojump_clock: MockClock) -> None:
    """Any known pause counts, not only a cooldown's."""
    error = ServerError("busy", status_code=503, retry_after=90)
    world, provider = make_world(), ScriptedProvider(Step(error=error))

    with trio.fail_after(60), pytest.raises(WaitTooLongError) as caught:
        await world.gate.call(make_call(), provider.send)

    assert trio.current_time() == 0
    assert caught.value.__cause__ is error
    assert world.lane().cooldown == 0


async def test_the_deadline_carried_by_the_scope_counts_too(autojump_clock: MockClock) -> None:
    """A request from the document's asyncio loop runs outside the stage's cancel scope."""
    world, provider = make_world(), ScriptedProvider(limited(90))

    with pytest.raises(WaitTooLongError):
        await world.gate.call(make_call(scope=CallScope(deadline=60)), provider.send)

    assert trio.current_time() == 0


async def test_a_newcomer_whose_deadline_the_pause_outlasts_sends_nothing(autojump_clock: MockClock) -> None:
    """The pause is known before it asks."""
    world = make_world(policy=RetryPolicy(max_rate_limits=0))
    with pytest.raises(RateLimitedError):
        await world.gate.call(make_call(), ScriptedProvider(limited(90)).send)
    provider = ScriptedProvider()

    with trio.fail_after(60), pytest.raises(WaitTooLongError):
        await world.gate.call(make_call(), provider.send)

    assert trio.current_time() == 0
    assert provider.attempts == []


async def test_a_newcomer_is_told_of_the_pause_before_it_queues(autojump_clock: MockClock) -> None:
    """Queueing would cost it time and change nothing."""
    world = make_world(in_flight=2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), ScriptedProvider(Step(latency=20)).send)
        nursery.start_soon(world.gate.call, make_call(), ScriptedProvider(limited(90), Step()).send)
        await wait_all_tasks_blocked()
        assert (world.lane().in_flight, world.lane().waiting) == (1, 1)
        with trio.fail_after(60), pytest.raises(WaitTooLongError):
            await world.gate.call(make_call(), ScriptedProvider().send)
        assert trio.current_time() == 0


async def test_a_pause_that_grows_beyond_a_waiters_deadline_fails_it_when_it_knows(autojump_clock: MockClock) -> None:
    """When the new pause begins, not at the end of the old one, at the deadline or by sending into the new one."""
    world = make_world()
    first = ScriptedProvider(limited(10), Step())
    second = ScriptedProvider(Step(error=limited(100).error, latency=5), Step())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), second.send)
        await wait_all_tasks_blocked()
        with trio.fail_after(50), pytest.raises(WaitTooLongError):
            await world.gate.call(make_call(), first.send)
        assert trio.current_time() == 5

    assert [at for _, at in first.attempts] == [0]
    assert [at for _, at in second.attempts] == [0, 105]


@pytest.mark.parametrize("pausing", [False, True])
async def test_a_cancelled_caller_is_cancelled_not_failed(pausing: bool, autojump_clock: MockClock) -> None:  # noqa: FBT001
    """After Ctrl-C a document that just comes to the gate is cancelled, whatever pause or none there is."""
    world, provider = make_world(policy=RetryPolicy(max_rate_limits=0)), ScriptedProvider()
    if pausing:
        with pytest.raises(RateLimitedError):
            await world.gate.call(make_call(), ScriptedProvider(limited(90)).send)

    with trio.CancelScope() as scope:
        scope.cancel()
        await world.gate.call(make_call(), provider.send)

    assert scope.cancelled_caught
    assert provider.attempts == []
    world.assert_nothing_is_held()


@pytest.mark.parametrize("error", [limited(90).error, ServerError("busy", status_code=503)])
async def test_a_caller_cancelled_while_its_error_arrives_is_cancelled(
    error: Exception, autojump_clock: MockClock
) -> None:
    """The pause it would need is not what ends it."""
    world = make_world()
    scope = trio.CancelScope()

    async def send(attempt: Attempt) -> str:
        attempt.dispatch()
        scope.cancel()
        raise error

    with scope:
        await world.gate.call(make_call(), send)

    assert scope.cancelled_caught
    assert trio.current_time() == 0
    world.assert_nothing_is_held()


async def test_a_caller_past_its_deadline_is_not_failed_for_a_pause_that_is_over(autojump_clock: MockClock) -> None:
    """Its own deadline will end it; an old cooldown is nobody's reason."""
    world, provider = make_world(), ScriptedProvider(limited(10), Step())
    await world.gate.call(make_call(), provider.send)
    await trio.sleep(10)

    assert await world.gate.call(make_call(scope=CallScope(deadline=5)), provider.send) == "done"
