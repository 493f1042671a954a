"""After a 429: nobody before the end of the pause, then one, then more and more."""

import pytest
import trio
from tests.control.world import World, limited, make_call, make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import BudgetExceededError, ProviderUnreachableError, RateLimitedError, ServerError
from agent_pipeline.testing import ScriptedProvider, Step, cancel_at_every_step

ONCE = RetryPolicy(max_attempts=1, max_rate_limits=0)


async def cooling(world: World, pause: float) -> None:
    """Meet a 429 that asks for a pause, and give up."""
    with pytest.raises(RateLimitedError):
        await world.gate.call(make_call(scope=CallScope("first")), ScriptedProvider(limited(pause)).send)


async def ask(world: World, number: int, provider: ScriptedProvider) -> None:
    """Ask as a document of that number."""
    await world.gate.call(make_call(scope=CallScope(str(number))), provider.send)


async def test_fifty_documents_cause_one_probe(autojump_clock: MockClock) -> None:
    """The others wait for its ending; a 429 again pauses again, and there is one more."""
    world = make_world(in_flight=64)
    provider = ScriptedProvider(*[limited(90)] * 4, Step(latency=0.5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, world, 0, provider)
        await wait_all_tasks_blocked()
        for number in range(1, 50):
            nursery.start_soon(ask, world, number, provider)

    waves = {0: 1, 90: 1, 180: 1, 270: 1, 360: 1, 360.5: 2, 361: 4, 361.5: 8, 362: 16, 362.5: 19}
    assert [at for _, at in provider.attempts] == [at for at, size in waves.items() for _ in range(size)]
    world.assert_nothing_is_held()


async def test_one_that_comes_while_the_probe_is_out_waits_too(autojump_clock: MockClock) -> None:
    """Whoever happens to come later has no better right."""
    world, provider = make_world(policy=ONCE), ScriptedProvider(Step(latency=5))
    await cooling(world, 10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, world, 1, provider)
        await trio.sleep(12)
        nursery.start_soon(ask, world, 2, provider)

    assert [at for _, at in provider.attempts] == [10, 15]


@pytest.mark.parametrize("error", [ServerError("busy", status_code=503), ProviderUnreachableError("gone")])
async def test_any_other_ending_of_the_probe_lets_the_others_go(error: Exception, autojump_clock: MockClock) -> None:
    """Whether the provider is ill is not for the cooldown to say."""
    world, provider = make_world(policy=ONCE), ScriptedProvider(Step(latency=5))
    await cooling(world, 10)

    async with trio.open_nursery() as nursery:

        async def fail() -> None:
            reaches = isinstance(error, ServerError)
            with pytest.raises(type(error)):
                await world.gate.call(make_call(), ScriptedProvider(Step(error=error, latency=3, reaches=reaches)).send)

        nursery.start_soon(fail)
        await wait_all_tasks_blocked()
        for number in range(3):
            nursery.start_soon(ask, world, number, provider)

    assert [at for _, at in provider.attempts] == [13, 13, 13.5]


@pytest.mark.parametrize("connecting", [0, 9])
async def test_a_probe_that_is_cancelled_hands_on(connecting: float, autojump_clock: MockClock) -> None:
    """Before or after its first byte: somebody has to find out."""
    world, provider = make_world(policy=ONCE), ScriptedProvider(Step(latency=5))
    await cooling(world, 10)

    async with trio.open_nursery() as nursery:

        async def give_up() -> None:
            with trio.move_on_after(14):
                await world.gate.call(
                    make_call(scope=CallScope("quits")), ScriptedProvider(Step(latency=9, connecting=connecting)).send
                )

        nursery.start_soon(give_up)
        await wait_all_tasks_blocked()
        for number in range(3):
            nursery.start_soon(ask, world, number, provider)

    assert [at for _, at in provider.attempts] == [14, 19, 19]
    world.assert_nothing_is_held()


async def test_the_next_in_turn_keeps_the_time_for_all(autojump_clock: MockClock) -> None:
    """Cancelled while it sleeps for the others, it wakes another."""
    world, provider = make_world(policy=ONCE), ScriptedProvider(Step())
    await cooling(world, 10)

    async with trio.open_nursery() as nursery, trio.open_nursery() as inner:
        inner.start_soon(ask, world, 0, provider)
        await wait_all_tasks_blocked()
        nursery.start_soon(ask, world, 1, provider)
        await trio.sleep(5)
        inner.cancel_scope.cancel()

    assert [at for _, at in provider.attempts] == [10]


async def test_a_probe_that_waits_for_budget_lets_another_go_first(autojump_clock: MockClock) -> None:
    """Nobody waits for one that can't send."""
    world, provider = make_world(policy=ONCE, tokens=100), ScriptedProvider(Step(usage=Usage(), latency=5))
    long = ScriptedProvider(Step(latency=40))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(input_tokens_bound=30, output_tokens_cap=0), long.send)
        await wait_all_tasks_blocked()
        await cooling(world, 10)
        nursery.start_soon(world.gate.call, make_call(input_tokens_bound=70, output_tokens_cap=0), provider.send)
        await wait_all_tasks_blocked()
        held = world.budget.tokens.reserve_nowait(20)
        assert held is not None
        nursery.start_soon(world.gate.call, make_call(input_tokens_bound=25, output_tokens_cap=0), provider.send)
        await trio.sleep(12)
        assert [at for _, at in provider.attempts] == [10]
        held.release()

    assert [at for _, at in provider.attempts] == [10, 15]
    world.assert_nothing_is_held()


async def test_a_request_that_connects_while_a_pause_begins_is_held_back(autojump_clock: MockClock) -> None:
    """Admitted is not sent: its first byte waits like all the others, and it is no attempt."""
    world = make_world()
    slow = ScriptedProvider(Step(connecting=5, latency=1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), slow.send)
        nursery.start_soon(world.gate.call, make_call(), ScriptedProvider(limited(90), Step()).send)

    assert [at for _, at in slow.attempts] == [0, 90]
    assert len(world.records) == len(world.dispatches) == 3
    world.assert_nothing_is_held()


async def test_who_was_let_in_as_a_pause_begins_goes_first_after_it(autojump_clock: MockClock) -> None:
    """Its turn had come at the same instant; it is neither sent into the pause nor put to the end."""
    world, provider = make_world(in_flight=2), ScriptedProvider(Step(latency=1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, world, 1, ScriptedProvider(Step(latency=5)))
        nursery.start_soon(ask, world, 2, ScriptedProvider(Step(error=limited(90).error, latency=5), Step()))
        await wait_all_tasks_blocked()
        for number in (3, 4):
            nursery.start_soon(ask, world, number, provider)
            await wait_all_tasks_blocked()

    assert min(at for _, at in provider.attempts) >= 5
    assert not any(5 < at < 95 for _, at in provider.attempts)
    world.assert_nothing_is_held()


async def test_refused_probes_are_further_and_further_apart(autojump_clock: MockClock) -> None:
    """Each by another call, none of which knows of the others: the lane does."""
    world = make_world(policy=RetryPolicy(max_rate_limits=0, initial_delay=0.001))
    provider = ScriptedProvider(limited(0))

    async with trio.open_nursery() as nursery:

        async def refused(number: int) -> None:
            with pytest.raises(RateLimitedError):
                await ask(world, number, provider)

        for number in range(6):
            nursery.start_soon(refused, number)
            await wait_all_tasks_blocked()

    times = [at for _, at in provider.attempts]
    assert times == pytest.approx([0, 0.05, 0.15, 0.35, 0.75, 1.55])


async def test_a_probe_whose_budget_is_spent_is_not_waited_for(autojump_clock: MockClock) -> None:
    """It is refused, and the next one finds out."""
    world, provider = make_world(policy=ONCE, tokens=50), ScriptedProvider(Step(usage=Usage()))
    await cooling(world, 10)

    async with trio.open_nursery() as nursery:

        async def refused() -> None:
            with pytest.raises(BudgetExceededError):
                await world.gate.call(make_call(), provider.send)

        nursery.start_soon(refused)
        await wait_all_tasks_blocked()
        held = world.budget.tokens.reserve_nowait(20)
        assert held is not None
        held.settle(20)
        nursery.start_soon(world.gate.call, make_call(input_tokens_bound=5, output_tokens_cap=0), provider.send)

    assert [at for _, at in provider.attempts] == [10]
    assert (world.lane().in_flight, world.lane().waiting, world.tokens.reserved) == (0, 0, 0)


async def test_a_deadline_that_was_moved_is_heard(autojump_clock: MockClock) -> None:
    """What was too long when the wait began may be short enough when it is known."""
    world, provider = make_world(), ScriptedProvider(Step())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), ScriptedProvider(limited(10), Step()).send)
        nursery.start_soon(
            world.gate.call,
            make_call(),
            ScriptedProvider(Step(error=limited(50).error, latency=5, status_code=429), Step()).send,
        )
        await wait_all_tasks_blocked()
        with trio.CancelScope(deadline=20) as scope:
            nursery.start_soon(_move, scope)
            await world.gate.call(make_call(), provider.send)

    assert [at for _, at in provider.attempts] != []
    assert not scope.cancelled_caught


async def _move(scope: trio.CancelScope) -> None:
    await trio.sleep(4)
    scope.deadline = 1_000


def test_probes_cancelled_at_every_step_leave_nothing_behind() -> None:
    """Whoever is the probe, whoever keeps the time: the ones that are left get their answers."""

    async def operation(scope: trio.CancelScope) -> None:
        world = make_world(in_flight=4)
        provider = ScriptedProvider(Step(error=limited(5).error, latency=1), limited(3), Step(latency=1))
        left: list[int] = []

        async def stay(number: int) -> None:
            await trio.sleep(0.5)
            await ask(world, number, provider)
            left.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stay, 7)
            nursery.start_soon(stay, 8)
            with scope:
                async with trio.open_nursery() as inner:
                    for number in range(3):
                        inner.start_soon(ask, world, number, provider)

        assert sorted(left) == [7, 8]
        world.assert_nothing_is_held()

    assert cancel_at_every_step(operation, stride=3) > 15
