"""Who may send and when: places in flight, the lane's pause, the budget; and that waiting eats no attempt's time."""

import pytest
import trio
from tests.control.world import WORST, limited, make_call, make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import BudgetExceededError, RateLimitedError, ServerError
from agent_pipeline.testing import ScriptedProvider, Step


async def test_requests_in_flight_are_bounded_and_first_come_first_served(autojump_clock: MockClock) -> None:
    """Ten calls, three places, two seconds each: four rounds, in order of asking."""
    world, provider = make_world(in_flight=3), ScriptedProvider(Step(latency=2))
    finished: list[int] = []

    async def ask(number: int) -> None:
        await world.gate.call(make_call(), provider.send)
        finished.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(ask, number)
            await wait_all_tasks_blocked()
        assert (world.lane().in_flight, world.lane().waiting) == (3, 7)

    assert provider.most_in_flight == 3
    assert [at for _, at in provider.attempts] == [0, 0, 0, 2, 2, 2, 4, 4, 4, 6]
    assert [set(finished[first : first + 3]) for first in (0, 3, 6, 9)] == [{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9}]
    world.assert_nothing_is_held()


async def test_each_provider_and_model_has_a_lane_of_its_own(autojump_clock: MockClock) -> None:
    """One model's limit says nothing about another's."""
    world, provider = make_world(in_flight=1), ScriptedProvider(limited(90), Step())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(model="tiny"), provider.send)
        await wait_all_tasks_blocked()
        await world.gate.call(make_call(model="large"), provider.send)

        assert trio.current_time() == 0
        assert world.lane(model="tiny").cooldown == 90
        assert world.lane(model="large").cooldown == 0

    assert trio.current_time() == 90


async def test_four_rate_limits_of_90_seconds_take_360(autojump_clock: MockClock) -> None:
    """A 429 uses up no attempt, and what the provider asks for is waited out exactly."""
    world = make_world(policy=RetryPolicy(max_attempts=1))
    provider = ScriptedProvider(*[limited(90)] * 4, Step())

    assert await world.gate.call(make_call(), provider.send) == "done"

    assert provider.attempts == [(1, 0), (1, 90), (1, 180), (1, 270), (1, 360)]
    assert trio.current_time() == 360


async def test_all_of_a_lane_share_one_pause(autojump_clock: MockClock) -> None:
    """Fifty documents wait once, not fifty times; then one goes ahead, and the others follow in waves."""
    world, provider = make_world(in_flight=64), ScriptedProvider(limited(90), Step(latency=0.5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), provider.send)
        await wait_all_tasks_blocked()
        for _ in range(50):
            nursery.start_soon(world.gate.call, make_call(), provider.send)

    waves = {90: 1, 90.5: 2, 91: 4, 91.5: 8, 92: 16, 92.5: 20}
    assert [at for _, at in provider.attempts] == [0, *(at for at, size in waves.items() for _ in range(size))]
    assert trio.current_time() == 93


async def test_the_pause_survives_the_task_that_met_the_429(autojump_clock: MockClock) -> None:
    """Whoever reports a 429 must not own everybody's pause."""
    world, provider = make_world(), ScriptedProvider(limited(90), Step())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), provider.send)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()

    await world.gate.call(make_call(), provider.send)

    assert [at for _, at in provider.attempts] == [0, 90]
    world.assert_nothing_is_held()


async def test_a_call_that_gives_up_on_rate_limits_still_pauses_the_lane(autojump_clock: MockClock) -> None:
    """It speaks for all: the others need not each collect a 429 of their own."""
    world = make_world(policy=RetryPolicy(max_rate_limits=0))
    provider = ScriptedProvider(limited(90), Step())

    with pytest.raises(RateLimitedError):
        await world.gate.call(make_call(), provider.send)
    assert trio.current_time() == 0
    await world.gate.call(make_call(), provider.send)

    assert [at for _, at in provider.attempts] == [0, 90]


async def test_a_provider_that_asks_for_no_pause_is_not_asked_in_a_hot_loop(autojump_clock: MockClock) -> None:
    """`Retry-After: 0` is a floor below the backoff, so the pauses grow all the same."""
    world, provider = make_world(), ScriptedProvider(*[limited(0)] * 3, Step())

    await world.gate.call(make_call(), provider.send)

    assert [at for _, at in provider.attempts] == [0, 0.5, 1.5, 3.5]


async def test_a_pause_that_grows_while_it_is_waited_out_is_waited_out_to_its_new_end(
    autojump_clock: MockClock,
) -> None:
    """A request sent before the last 429 was answered may extend the pause."""
    world, provider = make_world(), ScriptedProvider(limited(10), Step(error=limited(30).error, latency=5), Step())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), ScriptedProvider(Step(latency=8)).send)
        nursery.start_soon(world.gate.call, make_call(), provider.send)
        nursery.start_soon(world.gate.call, make_call(), provider.send)

    assert [at for _, at in provider.attempts] == [0, 0, 35, 35]


async def test_no_request_goes_during_a_pause_that_began_while_it_waited_for_budget(autojump_clock: MockClock) -> None:
    """Room in the budget is no licence to send into a cooldown; both have to hold at one instant."""
    world = make_world(tokens=2 * WORST)
    usage = Usage(1, 1)
    slow = ScriptedProvider(Step(usage=usage, latency=20))
    provider = ScriptedProvider(Step(error=limited(90).error, latency=10), Step(usage=usage))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), slow.send)
        nursery.start_soon(world.gate.call, make_call(), provider.send)
        await wait_all_tasks_blocked()
        nursery.start_soon(world.gate.call, make_call(), provider.send)

    assert [at for _, at in provider.attempts] == [0, 100, 100]
    waited = {record.started_at.second: record for record in world.records if record.outcome == "succeeded"}
    assert waited[40].wait_reason == "cooldown"
    assert {record.wait_seconds for record in world.records} == {0, 90, 100}


async def test_waiting_for_a_place_eats_no_attempt_time(autojump_clock: MockClock) -> None:
    """The third waits for 18 of its 27 seconds; its own timeout of 10 never fires."""
    world, provider = make_world(in_flight=1, attempt_timeout=10), ScriptedProvider(Step(latency=9))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(world.gate.call, make_call(), provider.send)

    assert trio.current_time() == 27
    assert [record.wait_seconds for record in world.records] == [0, 9, 18]
    assert [record.wait_reason for record in world.records] == [None, "admission", "admission"]
    assert [record.latency_seconds for record in world.records] == [9, 9, 9]


async def test_waiting_for_a_cooldown_eats_no_attempt_time(autojump_clock: MockClock) -> None:
    """A pause of 90 seconds fits any attempt timeout."""
    world, provider = make_world(attempt_timeout=10), ScriptedProvider(limited(90), Step(latency=9))

    await world.gate.call(make_call(), provider.send)

    assert trio.current_time() == 99
    assert (world.records[1].wait_seconds, world.records[1].wait_reason) == (90, "cooldown")


async def test_waiting_for_budget_eats_no_attempt_time(autojump_clock: MockClock) -> None:
    """A worst case that does not fit now is no fault of the attempt."""
    world = make_world(tokens=WORST + 5, attempt_timeout=10)
    provider = ScriptedProvider(Step(usage=Usage(1, 1), latency=9))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(world.gate.call, make_call(), provider.send)

    assert trio.current_time() == 27
    assert [record.wait_seconds for record in world.records] == [0, 9, 18]
    assert [record.wait_reason for record in world.records] == [None, "budget", "budget"]


async def test_a_place_that_one_who_waits_for_budget_keeps_is_waited_for_because_of_the_budget(
    autojump_clock: MockClock,
) -> None:
    """Whoever reads of places would raise their number, and nothing would go sooner."""
    world = make_world(tokens=WORST + 7, in_flight=2)
    provider = ScriptedProvider(Step(usage=Usage(1, 1), latency=9))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(world.gate.call, make_call(), provider.send)

    assert [record.wait_seconds for record in world.records] == [0, 9, 18, 27]
    assert [record.wait_reason for record in world.records] == [None, "budget", "budget", "budget"]


async def test_a_place_in_use_again_is_waited_for_because_there_are_too_few(autojump_clock: MockClock) -> None:
    """Its request got its budget after two seconds, and took twenty."""
    world, usage = make_world(tokens=WORST + 9, in_flight=1), Usage(1, 1)
    hog, first = ScriptedProvider(Step(usage=usage, latency=2)), ScriptedProvider(Step(usage=usage, latency=20))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(model="large"), hog.send)
        await wait_all_tasks_blocked()
        nursery.start_soon(world.gate.call, make_call(), first.send)
        await wait_all_tasks_blocked()
        await world.gate.call(make_call(), ScriptedProvider(Step(usage=usage)).send)

    assert [(record.wait_seconds, record.wait_reason) for record in world.records] == [
        (0, None),
        (2, "budget"),
        (22, "admission"),
    ]


async def test_who_waits_for_budget_is_refused_as_soon_as_it_can_never_fit(autojump_clock: MockClock) -> None:
    """While others hold, it may still fit; once they have spent, it can't, and waiting on would be for ever."""
    world = make_world(tokens=WORST + 5)
    provider = ScriptedProvider(Step(usage=Usage(5, 1), latency=9))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), provider.send)
        await wait_all_tasks_blocked()
        with pytest.raises(BudgetExceededError) as caught:
            await world.gate.call(make_call(), provider.send)

    assert trio.current_time() == 9
    assert caught.value.dimension == "tokens"
    assert str(caught.value) == (
        "the budget of 45 tokens has 39 left, and the next request of role writer may cost 40 tokens; "
        "raise the budget to go on"
    )
    assert len(provider.attempts) == len(world.records) == 1
    world.assert_nothing_is_held()


async def test_a_call_that_can_never_fit_is_refused_during_a_pause_too(autojump_clock: MockClock) -> None:
    """An hour of cooldown would end in the same refusal."""
    world = make_world(tokens=WORST - 1, policy=RetryPolicy(max_rate_limits=0))
    with pytest.raises(RateLimitedError):
        await world.gate.call(make_call(input_tokens_bound=1), ScriptedProvider(limited(3_600)).send)

    with pytest.raises(BudgetExceededError):
        await world.gate.call(make_call(), ScriptedProvider().send)

    assert trio.current_time() == 0
    world.assert_nothing_is_held()


async def test_a_place_is_free_while_its_call_backs_off(autojump_clock: MockClock) -> None:
    """A pause of one request is no reason for another to wait."""
    busy = ServerError("busy", status_code=503, retry_after=60)
    world = make_world(in_flight=1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), ScriptedProvider(Step(error=busy), Step()).send)
        await wait_all_tasks_blocked()
        await world.gate.call(make_call(), ScriptedProvider(Step(latency=1)).send)
        assert trio.current_time() == 1

    assert trio.current_time() == 60


async def test_statistics_count_calls_and_attempts_apart(autojump_clock: MockClock) -> None:
    """Requests are calls of which something left, attempts what was sent for them; the ledger has no others."""
    world = make_world()
    answer = Step(usage=Usage(3, 2))
    provider = ScriptedProvider(limited(1), answer, answer, Step(reaches=False))

    for _ in range(3):
        await world.gate.call(make_call(), provider.send)

    counted = world.gate.statistics()
    assert (counted.requests, counted.attempts, counted.usage) == (2, 3, Usage(6, 4))


async def test_calls_under_way_can_be_seen(autojump_clock: MockClock) -> None:
    """Which one waits, which one is sent, and since when; an ended one is gone."""
    world = make_world(in_flight=1)
    provider = ScriptedProvider(Step(latency=5), Step(latency=5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), provider.send)
        await trio.sleep(1)
        nursery.start_soon(world.gate.call, make_call(), provider.send)
        await trio.sleep(1)
        seen = sorted((one.since, one.is_sent) for one in world.gate.open_calls())

    assert seen == [(0, True), (1, False)]
    assert world.gate.open_calls() == ()
