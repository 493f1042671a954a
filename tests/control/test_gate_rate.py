"""Requests and tokens per minute, measured at the provider; waiting for them is shown and eats no attempt's time."""

import random

import pytest
import trio
from tests.control.test_rate import most_in_a_minute
from tests.control.world import WORST, limited, make_call, make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.allowance import Allowance, RateHeaders
from agent_pipeline.control.call import Attempt
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import RateLimitedError, WaitTooLongError
from agent_pipeline.testing import ScriptedProvider, Step, cancel_at_every_step


@pytest.mark.parametrize("seed", range(20))
def test_any_minute_at_the_provider_is_within_the_limits(seed: int) -> None:
    """Whenever requests arrive between their sending and their end, and however many are there to send."""
    rng = random.Random(seed)
    requests, tokens = rng.choice([None, 5, 30, 120]), rng.choice([None, 500, 3_000])
    arrivals: list[tuple[float, int]] = []

    async def send(attempt: Attempt) -> str:
        attempt.dispatch()
        sent, latency = trio.current_time(), rng.choice([0.1, 2.0, 30.0])
        await trio.sleep(latency)
        attempt.usage = Usage(rng.randrange(WORST), 0)
        arrivals.append((rng.choice([sent, sent + rng.random() * latency, sent + latency]), attempt.usage.total_tokens))
        return "done"

    async def main() -> None:
        world = make_world(in_flight=20, requests_per_minute=requests, tokens_per_minute=tokens)

        async def work(number: int) -> None:
            while True:
                await world.gate.call(make_call(scope=CallScope(str(number))), send)

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(work, number)
            await trio.sleep(300)
            nursery.cancel_scope.cancel()
        world.assert_nothing_is_held()

    trio.run(main, clock=MockClock(autojump_threshold=0))

    most_requests, most_tokens = most_in_a_minute(arrivals)
    assert requests is None or most_requests <= requests
    assert tokens is None or most_tokens <= tokens
    if requests is not None and tokens is None:
        assert len(arrivals) >= 5 * requests * 60 / (60.1 + 30) * 0.9  # no less than the latency costs


async def test_waiting_is_shown_and_counts_against_no_attempt(autojump_clock: MockClock) -> None:
    """The second waits for a minute; its own timeout of 10 never fires."""
    world = make_world(requests_per_minute=1, attempt_timeout=10)
    provider = ScriptedProvider(Step(latency=9))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), provider.send)
        await wait_all_tasks_blocked()
        nursery.start_soon(world.gate.call, make_call(), provider.send)

    assert [at for _, at in provider.attempts] == [0, pytest.approx(69.1)]
    assert [record.wait_reason for record in world.records] == [None, "rate"]
    assert [record.wait_seconds for record in world.records] == [0, pytest.approx(69.1)]
    assert [record.latency_seconds for record in world.records] == [9, pytest.approx(9)]


async def test_one_long_request_keeps_nobody_out_for_longer_than_a_minute(autojump_clock: MockClock) -> None:
    """What ended a minute ago makes room by the passing of time alone: no ending of another's tells of it."""
    world = make_world(requests_per_minute=2)
    provider = ScriptedProvider(Step(latency=1), Step(latency=500), Step(latency=1))

    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(world.gate.call, make_call(scope=CallScope(str(number))), provider.send)
                await wait_all_tasks_blocked()

    assert [at for _, at in provider.attempts] == [0, 0, pytest.approx(61.1)]
    world.assert_nothing_is_held()


async def test_a_wait_that_outlasts_the_deadline_fails_at_once(autojump_clock: MockClock) -> None:
    """As for a cooldown: nobody waits for a failure that is known."""
    world, provider = make_world(requests_per_minute=1), ScriptedProvider()
    await world.gate.call(make_call(), provider.send)

    with trio.fail_after(60), pytest.raises(WaitTooLongError) as caught:
        await world.gate.call(make_call(), provider.send)

    assert trio.current_time() == 0
    assert str(caught.value) == (
        "openai tiny: the next request may go in 60.1 s, but only 60.0 s are left of the stage's, document's or run's "
        "timeout"
    )
    world.assert_nothing_is_held()


async def test_one_in_line_is_told_when_its_turn_comes_too_late(autojump_clock: MockClock) -> None:
    """First it waits for what is in flight; only then it is known how long."""
    world, provider = make_world(requests_per_minute=1), ScriptedProvider(Step(latency=10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), provider.send)
        await wait_all_tasks_blocked()
        with trio.fail_after(60), pytest.raises(WaitTooLongError):
            await world.gate.call(make_call(), provider.send)
        assert trio.current_time() == 10

    assert len(provider.attempts) == 1
    world.assert_nothing_is_held()


async def test_tokens_are_settled_to_what_was_reported(autojump_clock: MockClock) -> None:
    """A worst case of 40 that was 5 leaves room for the next at once."""
    world = make_world(tokens_per_minute=60)
    provider = ScriptedProvider(Step(usage=Usage(3, 2), latency=1))

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(world.gate.call, make_call(), provider.send)

    assert [at for _, at in provider.attempts] == [0, 1, 2, 3, 4, pytest.approx(61.1)]


async def test_a_request_that_never_left_counts_for_nothing(autojump_clock: MockClock) -> None:
    """The provider has not seen it."""
    world = make_world(requests_per_minute=1)

    with trio.move_on_after(1):
        await world.gate.call(make_call(), ScriptedProvider(Step(connecting=5)).send)
    await world.gate.call(make_call(), ScriptedProvider().send)

    assert trio.current_time() == 1


async def test_nothing_is_held_of_the_minute_while_budget_is_waited_for(autojump_clock: MockClock) -> None:
    """Room per minute and budget are taken at one instant; else one could keep the other from everybody."""
    world = make_world(tokens=WORST + 5, requests_per_minute=2)
    slow, provider = ScriptedProvider(Step(usage=Usage(1, 1), latency=9)), ScriptedProvider(Step(usage=Usage(1, 1)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), slow.send)
        await wait_all_tasks_blocked()
        nursery.start_soon(world.gate.call, make_call(), provider.send)
        await trio.sleep(1)
        small = make_call(input_tokens_bound=5, output_tokens_cap=0)
        await world.gate.call(small, provider.send)
        assert trio.current_time() == 1

    assert [at for _, at in provider.attempts] == [1, pytest.approx(61.1)]
    waited = world.records[-1]
    assert waited.wait_reason == "rate"
    assert waited.wait_seconds == pytest.approx(61.1)


def told(headers: RateHeaders) -> Step:
    """Return the step of an answer with headers."""
    return Step(rate_headers=headers)


async def test_a_lane_whose_provider_says_nothing_is_left_pauses_until_the_reset(autojump_clock: MockClock) -> None:
    """Better waited for than refused."""
    world = make_world()
    provider = ScriptedProvider(told(RateHeaders(tokens=Allowance(1_000, 0, 7.5))), Step())

    for _ in range(2):
        await world.gate.call(make_call(), provider.send)

    assert [at for _, at in provider.attempts] == [0, 7.5]
    assert (world.records[1].wait_reason, world.lane().limit) == ("rate", 10)


async def test_a_limit_that_is_announced_holds(autojump_clock: MockClock) -> None:
    """Without a word in the configuration."""
    world = make_world()
    provider = ScriptedProvider(told(RateHeaders(Allowance(3, 2, 20.0))))

    for _ in range(4):
        await world.gate.call(make_call(), provider.send)

    assert [at for _, at in provider.attempts] == [0, 0, 0, pytest.approx(60.1)]


async def test_an_older_answer_says_nothing_about_limits(autojump_clock: MockClock) -> None:
    """It was counted before the newest, and comes late."""
    world, newer = make_world(), ScriptedProvider(Step(latency=1, rate_headers=RateHeaders(Allowance(60, 50, 10.0))))
    older = ScriptedProvider(Step(latency=5, rate_headers=RateHeaders(Allowance(60, 0, 50.0))))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), older.send)
        await wait_all_tasks_blocked()
        nursery.start_soon(world.gate.call, make_call(), newer.send)
    await world.gate.call(make_call(), ScriptedProvider().send)

    assert trio.current_time() == 5


async def test_who_can_not_wait_for_a_reset_is_told_so(autojump_clock: MockClock) -> None:
    """Also those that wait for a place just then."""
    world = make_world(in_flight=1)
    nothing_left = ScriptedProvider(Step(latency=5, rate_headers=RateHeaders(Allowance(60, 0, 50.0))))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), nothing_left.send)
        await wait_all_tasks_blocked()
        with trio.fail_after(30), pytest.raises(WaitTooLongError):
            await world.gate.call(make_call(), ScriptedProvider().send)

    assert trio.current_time() == 5


async def test_refused_requests_count_as_requests_and_not_as_tokens(autojump_clock: MockClock) -> None:
    """They arrived, and no model worked on them."""
    world = make_world(requests_per_minute=2, tokens_per_minute=WORST, policy=RetryPolicy(max_rate_limits=0))
    with pytest.raises(RateLimitedError):
        await world.gate.call(make_call(), ScriptedProvider(limited(1)).send)

    provider = ScriptedProvider(Step(usage=Usage(0, 0)))
    for _ in range(2):
        await world.gate.call(make_call(), provider.send)

    assert [at for _, at in provider.attempts] == [1, pytest.approx(60.1)]


def test_a_wait_for_the_minute_cancelled_at_every_step_holds_nothing() -> None:
    """Room that a cancelled call kept would be lost for a minute; a place, for ever."""

    async def operation(scope: trio.CancelScope) -> None:
        world = make_world(in_flight=2, requests_per_minute=3, tokens_per_minute=3 * WORST)
        provider = ScriptedProvider(Step(usage=Usage(1, 1), connecting=1, latency=1))

        with scope:
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(world.gate.call, make_call(), provider.send)

        world.assert_nothing_is_held()
        sent = len(world.dispatches)
        await trio.sleep(61)
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(world.gate.call, make_call(), provider.send)
        assert trio.current_time() == pytest.approx(begun + 4)
        assert len(world.dispatches) == sent + 3

    assert cancel_at_every_step(operation, stride=3) > 10
