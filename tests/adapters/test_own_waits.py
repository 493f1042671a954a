"""Users' own adapters: timeouts, waiting for room on a tracker, and what cancellation leaves."""

import asyncio
import threading
import time

import pytest
import trio
from tests.adapters.flavours import FLAVOURS, Flavour, ask
from tests.adapters.own import NativeAsync, SyncOnly
from trio.testing import MockClock

from agent_pipeline.adapters import BudgetTracker, LLMBudgetExceededError, LLMTimeoutError, RunConfig
from agent_pipeline.adapters.holding import Wanted
from agent_pipeline.bridge import in_worker
from agent_pipeline.control.budget import BudgetStatistics

WORST = 5 + 16 + 30
"""Of the prompt `hello`."""


def assert_settles(tracker: BudgetTracker) -> None:
    """A thread that was left behind charges what it used when it ends."""
    deadline = time.monotonic() + 10
    while tracker.statistics().reserved:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert tracker.statistics() == BudgetStatistics(total=100, spent=10, reserved=0, unknown=0)


@pytest.mark.parametrize("flavour", ["trio", "asyncio"])
def test_a_timeout_ends_the_wait_for_a_thread_and_the_call_is_charged_when_it_ends(flavour: Flavour) -> None:
    go = threading.Event()
    tracker = BudgetTracker(total=100)
    adapter = SyncOnly(work=lambda: go.wait(10))

    # A loop that ends waits for its threads: so the thread is let go from another one.
    threading.Timer(0.2, go.set).start()
    with pytest.raises(LLMTimeoutError, match=r"SyncOnly: the 0.05 s timeout"):
        ask(flavour, adapter, "hello", RunConfig(budget_tracker=tracker, timeout=0.05))

    assert_settles(tracker)


@pytest.mark.parametrize("flavour", ["trio", "asyncio"])
@pytest.mark.parametrize("with_tracker", [True, False])
def test_a_timeout_cancels_a_native_call(flavour: Flavour, *, with_tracker: bool) -> None:
    tracker = BudgetTracker(total=100) if with_tracker else None
    adapter = NativeAsync(delay=30)

    with pytest.raises(LLMTimeoutError) as caught:
        ask(flavour, adapter, "hello", RunConfig(budget_tracker=tracker, timeout=0.05))

    assert caught.value.timeout == 0.05
    assert adapter.threads == {threading.get_ident()}
    if tracker is not None:
        assert tracker.statistics() == BudgetStatistics(total=100, spent=WORST, reserved=0, unknown=WORST)


def test_a_synchronous_call_is_told_what_is_left_of_its_timeout() -> None:
    """Nobody can stop it from outside; the wait for room counts."""
    tracker = BudgetTracker(total=WORST)
    held = tracker.reserve_nowait(WORST)
    assert held is not None
    threading.Timer(0.1, held.release).start()
    adapter = SyncOnly()

    adapter.execute_prompt("hello", RunConfig(budget_tracker=tracker, timeout=10))

    (config,) = adapter.configs
    assert config is not None
    assert config.timeout is not None
    assert 1 < config.timeout <= 9.95


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("make", [SyncOnly, NativeAsync])
def test_a_timeout_bounds_the_wait_for_room(make: type[SyncOnly], flavour: Flavour) -> None:
    tracker = BudgetTracker(total=WORST)
    held = tracker.reserve_nowait(1)
    assert held is not None
    adapter = make()

    with pytest.raises(LLMTimeoutError):
        ask(flavour, adapter, "hello", RunConfig(budget_tracker=tracker, timeout=0.05))

    assert adapter.configs == []
    assert tracker.statistics() == BudgetStatistics(total=WORST, spent=0, reserved=1, unknown=0)
    assert not tracker._bells


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("make", [SyncOnly, NativeAsync])
def test_a_call_goes_on_as_soon_as_there_is_room(make: type[SyncOnly], flavour: Flavour) -> None:
    tracker = BudgetTracker(total=WORST)
    held = tracker.reserve_nowait(WORST)
    assert held is not None
    threading.Timer(0.05, held.settle, [0]).start()

    assert ask(flavour, make(), "hello", RunConfig(budget_tracker=tracker)).text == "HELLO"
    assert not tracker._bells


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("make", [SyncOnly, NativeAsync])
def test_whoever_waits_in_vain_is_told(make: type[SyncOnly], flavour: Flavour) -> None:
    """What others held was used up, so that no room will ever come."""
    tracker = BudgetTracker(total=WORST)
    held = tracker.reserve_nowait(WORST)
    assert held is not None
    threading.Timer(0.05, held.settle, [1]).start()

    with pytest.raises(LLMBudgetExceededError):
        ask(flavour, make(), "hello", RunConfig(budget_tracker=tracker))


def test_a_raised_cap_wakes_who_waits() -> None:
    tracker = BudgetTracker(total=WORST)
    assert tracker.reserve_nowait(WORST) is not None
    threading.Timer(0.05, tracker.set_total, [2 * WORST]).start()

    assert SyncOnly().execute_prompt("hello", RunConfig(budget_tracker=tracker)).text == "HELLO"


async def test_a_synchronous_call_in_a_loop_does_not_wait_for_that_loops_own_tasks() -> None:
    """It would block those who are to give room back."""
    tracker = BudgetTracker(total=WORST)
    held = tracker.reserve_nowait(1)
    assert held is not None

    with pytest.raises(LLMBudgetExceededError, match="1 of them held"):
        SyncOnly().execute_prompt("hello", RunConfig(budget_tracker=tracker))


async def test_cancelling_who_waits_for_room_leaves_nothing_held(autojump_clock: MockClock) -> None:
    tracker = BudgetTracker(total=WORST)
    held = tracker.reserve_nowait(1)
    assert held is not None
    adapter = NativeAsync()

    with trio.move_on_after(5) as scope:
        await adapter.async_execute_prompt("hello", RunConfig(budget_tracker=tracker))

    assert scope.cancelled_caught
    assert tracker.statistics() == BudgetStatistics(total=WORST, spent=0, reserved=1, unknown=0)
    assert not tracker._bells


async def test_cancelling_a_native_call_charges_it_in_full(autojump_clock: MockClock) -> None:
    tracker = BudgetTracker(total=WORST)

    with trio.move_on_after(5):
        await NativeAsync(delay=10).async_execute_prompt("hello", RunConfig(budget_tracker=tracker))

    assert tracker.statistics() == BudgetStatistics(total=WORST, spent=WORST, reserved=0, unknown=WORST)


def test_cancelling_before_a_thread_was_free_gives_the_room_back() -> None:
    """It was never begun, so nothing can have been sent."""
    go = threading.Event()

    async def main() -> None:
        limiter = trio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        tracker = BudgetTracker(total=100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, lambda: go.wait(10))
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.05):
                await SyncOnly().async_execute_prompt("hello", RunConfig(budget_tracker=tracker))
            go.set()
        assert tracker.statistics() == BudgetStatistics(total=100, spent=0, reserved=0, unknown=0)

    trio.run(main)


def test_cancelling_under_asyncio_leaves_the_thread_to_charge_what_it_used() -> None:
    begun, go = threading.Event(), threading.Event()
    tracker = BudgetTracker(total=100)

    def work() -> None:
        begun.set()
        go.wait(10)

    async def main() -> None:
        task = asyncio.create_task(SyncOnly(work=work).async_execute_prompt("hello", RunConfig(budget_tracker=tracker)))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tracker.statistics() == BudgetStatistics(total=100, spent=0, reserved=WORST, unknown=0)
        go.set()

    asyncio.run(main())

    assert_settles(tracker)


def test_a_thread_that_comes_free_too_late_makes_no_call() -> None:
    """Under asyncio, too, what was cancelled may still be waiting for a worker."""
    go, tracker, adapter = threading.Event(), BudgetTracker(total=100), SyncOnly()

    async def main() -> None:
        blockers = [asyncio.create_task(in_worker(go.wait, 10)) for _ in range(40)]
        await asyncio.sleep(0)
        with pytest.raises(LLMTimeoutError):
            await adapter.async_execute_prompt("hello", RunConfig(budget_tracker=tracker, timeout=0.05))
        assert tracker.statistics().reserved == 0
        go.set()
        await asyncio.gather(*blockers)

    asyncio.run(main())

    assert adapter.prompts == []
    assert tracker.statistics() == BudgetStatistics(total=100, spent=0, reserved=0, unknown=0)


def test_a_call_that_was_given_up_before_it_began_is_not_made() -> None:
    """A thread may take it up in the moment in which its caller goes."""
    tracker, adapter = BudgetTracker(total=WORST), SyncOnly()
    held, _ = Wanted(tracker, WORST, None, "SyncOnly").take()

    held.release_unused()

    with pytest.raises(LLMTimeoutError, match="nobody waits"):
        held.around(lambda: adapter.execute_prompt("hello"))
    assert adapter.prompts == []
    assert tracker.statistics() == BudgetStatistics(total=WORST, spent=0, reserved=0, unknown=0)
