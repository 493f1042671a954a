"""Whoever watches a tracker is told of every change that could make room, or make waiting vain."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent_pipeline.control.tracker import BudgetTracker, Reservation


def reserve(tracker: BudgetTracker, amount: int) -> Reservation:
    """Reserve what has to fit."""
    reservation = tracker.reserve_nowait(amount)
    assert reservation is not None
    return reservation


CHANGES: dict[str, Callable[[BudgetTracker, Reservation], object]] = {
    "settled": lambda _, held: held.settle(1),
    "settled in full": lambda _, held: held.settle(40),
    "released": lambda _, held: held.release(),
    "forfeited": lambda _, held: held.forfeit(),
    "another cap": lambda tracker, _: tracker.set_total(200),
    "no cap": lambda tracker, _: tracker.set_total(None),
    "counted by hand": lambda tracker, _: tracker.increment(5),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_rings_once_and_outside_the_lock(change: Callable[[BudgetTracker, Reservation], object]) -> None:
    """A bell that looks at the tracker would otherwise wait for ever."""
    tracker = BudgetTracker(100)
    held = reserve(tracker, 40)
    rung: list[int | None] = []
    tracker.watch(lambda: rung.append(tracker.remaining()))

    change(tracker, held)

    assert rung == [tracker.remaining()]


def test_a_bell_that_is_taken_down_is_silent() -> None:
    tracker, rung = BudgetTracker(100), threading.Event()
    tracker.watch(rung.set)
    tracker.watch(rung.set)
    tracker.unwatch(rung.set)
    tracker.unwatch(rung.set)

    tracker.increment(1)

    assert not rung.is_set()


def test_what_is_withheld_is_nobodys() -> None:
    """Somebody may have used it, and can't be asked: it is neither free nor spent."""
    rung = threading.Event()
    tracker = BudgetTracker(total=100, spent=20)
    tracker.watch(rung.set)

    tracker.withhold(30)

    assert (tracker.remaining(), tracker.spent) == (50, 20)
    assert rung.is_set()
    assert tracker.reserve_nowait(51) is None
    for amount in (-1, float("nan")):
        with pytest.raises(ValueError, match=f"can't withhold {amount}"):
            tracker.withhold(amount)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    assert tracker.remaining() == 50


def test_what_is_counted_by_hand_may_pass_the_cap() -> None:
    tracker = BudgetTracker(total=100, spent=90)

    tracker.increment(20)

    assert (tracker.total, tracker.spent, tracker.remaining()) == (100, 110, -10)
    assert repr(tracker) == "BudgetTracker(total=100, spent=110)"
    with pytest.raises(ValueError, match="can't count -1"):
        tracker.increment(-1)


@pytest.mark.parametrize(("total", "amount", "fits"), [(100, 60, True), (100, 61, False), (None, 10**9, True)])
def test_what_fits_now_leaves_room_for_what_is_held(total: int | None, amount: int, *, fits: bool) -> None:
    tracker = BudgetTracker(total=total)
    reserve(tracker, 40)

    assert tracker.fits_now(amount) is fits


def test_no_thread_misses_the_room_it_waits_for() -> None:
    """Sixteen threads pass one place around, 3,000 times; a wakeup that is lost would hold them for ever."""
    tracker = BudgetTracker(1)

    def take_turns(times: int) -> int:
        bell = threading.Event()
        tracker.watch(bell.set)
        for _ in range(times):
            while (held := tracker.reserve_nowait(1)) is None:
                assert bell.wait(30)
                bell.clear()
            held.release()
        tracker.unwatch(bell.set)
        return times

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(take_turns, [200] * 15)) == 3000

    assert tracker.statistics().reserved == 0
