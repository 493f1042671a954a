"""Several gates hold on one tracker: each attempt its own worst case, and whoever makes room wakes the others."""

import threading
from collections.abc import Callable
from functools import partial

import pytest
import trio
from tests.control.world import WORST, World, make_call, make_world
from trio.testing import MockClock

from agent_pipeline.control.budget import Budget, BudgetStatistics, BudgetTracker, Caps, SharedBudget
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import ConnectionLostError, DocumentBudgetExceededError, LLMBudgetExceededError
from agent_pipeline.testing import ScriptedProvider, Step, cancel_at_every_step

USED = Usage(20, 5)


async def ask(world: World, tracker: BudgetTracker, provider: ScriptedProvider, *, may_wait: bool = True) -> str:
    """Make one call that holds on the tracker."""
    scope = CallScope(budget=SharedBudget(tracker, may_wait=may_wait))
    return await world.gate.call(make_call(scope=scope), provider.send)


async def test_a_call_is_held_and_charged_on_the_tracker_and_on_the_run(autojump_clock: MockClock) -> None:
    world, tracker = make_world(tokens=WORST), BudgetTracker(WORST)

    assert await ask(world, tracker, ScriptedProvider(Step(usage=USED))) == "done"

    expected = BudgetStatistics(total=WORST, spent=25, reserved=0, unknown=0)
    assert tracker.statistics() == expected
    assert world.tokens == expected


async def test_every_attempt_holds_its_own_worst_case(autojump_clock: MockClock) -> None:
    """One that was lost stays charged in full."""
    world, tracker = make_world(policy=RetryPolicy(max_attempts=3)), BudgetTracker(2 * WORST)
    provider = ScriptedProvider(Step(error=ConnectionLostError("reset")), Step(usage=USED))

    await ask(world, tracker, provider)

    assert tracker.statistics() == BudgetStatistics(total=2 * WORST, spent=WORST + 25, reserved=0, unknown=WORST)


async def test_room_made_by_another_gate_is_taken_at_once(autojump_clock: MockClock) -> None:
    tracker = BudgetTracker(WORST + 25)
    worlds = [make_world(), make_world()]
    ended: list[float] = []

    async def one(world: World) -> None:
        await ask(world, tracker, ScriptedProvider(Step(usage=USED, latency=3)))
        ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for world in worlds:
            nursery.start_soon(one, world)

    assert ended == [3, 6]
    assert not tracker._bells


async def test_room_made_by_another_thread_is_taken_at_once() -> None:
    tracker = BudgetTracker(WORST)
    held = tracker.reserve_nowait(WORST)
    assert held is not None
    timer = threading.Timer(0.05, held.release)
    timer.start()

    with trio.fail_after(10):
        await ask(make_world(), tracker, ScriptedProvider(Step(usage=USED)))

    timer.join()
    assert tracker.spent == 25


async def test_whoever_waits_for_what_another_uses_up_is_told(autojump_clock: MockClock) -> None:
    tracker = BudgetTracker(WORST)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, make_world(), tracker, ScriptedProvider(Step(usage=USED, latency=3)))
        await trio.sleep(1)
        with pytest.raises(LLMBudgetExceededError, match="the shared budget of 40 tokens has 15 left"):
            await ask(make_world(), tracker, ScriptedProvider())
        assert trio.current_time() == 3


async def test_a_call_that_may_not_wait_is_refused_while_others_hold_the_room(autojump_clock: MockClock) -> None:
    tracker = BudgetTracker(WORST + 25)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, make_world(), tracker, ScriptedProvider(Step(usage=USED, latency=3)))
        await trio.sleep(1)
        with pytest.raises(LLMBudgetExceededError, match=r"65 left \(40 of them held by calls under way\)"):
            await ask(make_world(), tracker, ScriptedProvider(), may_wait=False)
        assert trio.current_time() == 1


async def test_a_call_that_may_not_wait_goes_where_there_is_room(autojump_clock: MockClock) -> None:
    assert await ask(make_world(), BudgetTracker(WORST), ScriptedProvider(), may_wait=False) == "done"


async def test_the_document_is_asked_before_the_tracker(autojump_clock: MockClock) -> None:
    """A call has one of them; the table that words the refusal has both."""
    budget = Budget("document", "d", Caps(tokens=1))

    with pytest.raises(DocumentBudgetExceededError):
        await make_world().gate.call(make_call(scope=CallScope(budget=budget)), ScriptedProvider().send)


def test_a_bell_that_rings_after_its_run_has_ended_does_no_harm() -> None:
    """A thread may be about to ring it while the run goes."""
    tracker = BudgetTracker(WORST)
    held = tracker.reserve_nowait(WORST)
    assert held is not None
    bells: list[Callable[[], object]] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, make_world(), tracker, ScriptedProvider())
            await trio.testing.wait_all_tasks_blocked()
            bells.extend(tracker._bells)
            nursery.cancel_scope.cancel()

    trio.run(main)
    (bell,) = bells
    assert not tracker._bells
    tracker.watch(bell)

    held.release()

    assert tracker.remaining() == WORST


def test_cancelled_at_every_step_nothing_is_held_and_no_bell_is_left() -> None:
    """One that waits for another gate's room, and one that is sent."""

    async def operation(scope: trio.CancelScope) -> None:
        tracker = BudgetTracker(WORST + 25)
        worlds = [make_world(), make_world()]
        with scope:
            async with trio.open_nursery() as nursery:
                for world in worlds:
                    nursery.start_soon(partial(ask, world, tracker, ScriptedProvider(Step(usage=USED, latency=3))))
        now = tracker.statistics()
        assert now.reserved == 0
        assert now.spent == sum(record.charged_tokens for world in worlds for record in world.records)
        assert not tracker._bells
        for world in worlds:
            world.assert_nothing_is_held()

    assert cancel_at_every_step(operation) > 10
