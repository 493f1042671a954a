"""Reservations: what each end charges, what never fits, and that neither threads nor interleavings pass the cap."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent_pipeline.control.budget import (
    BudgetStatistics,
    BudgetTracker,
    Caps,
    Hold,
    Reservation,
    RunBudget,
    Shortage,
    find_shortages,
)
from agent_pipeline.control.tracker import reserve_all_nowait


def reserve(tracker: BudgetTracker, amount: int) -> Reservation:
    """Reserve what has to fit."""
    reservation = tracker.reserve_nowait(amount)
    assert reservation is not None
    return reservation


def hold(budget: RunBudget, *, tokens: int, micro_usd: int) -> Hold:
    """Hold what has to fit."""
    held = budget.reserve_nowait(tokens=tokens, micro_usd=micro_usd)
    assert held is not None
    return held


class Yielding(int):
    """An amount that lets other threads run in the middle of any sum it is part of."""

    def __radd__(self, other: int) -> int:
        """Add, with a pause."""
        time.sleep(0)
        return other + int(self)

    def __rsub__(self, other: int) -> int:
        """Subtract, with a pause."""
        time.sleep(0)
        return other - int(self)


def test_settling_charges_what_was_reported_and_gives_the_rest_back() -> None:
    """The worst case is held only as long as nobody knows better."""
    tracker = BudgetTracker(100)
    reservation = reserve(tracker, 60)
    assert tracker.statistics() == BudgetStatistics(total=100, spent=0, reserved=60, unknown=0)
    assert tracker.remaining() == 40

    reservation.settle(25)

    assert tracker.statistics() == BudgetStatistics(total=100, spent=25, reserved=0, unknown=0)
    assert tracker.remaining() == 75


def test_releasing_charges_nothing() -> None:
    """A request that never left costs nothing."""
    tracker = BudgetTracker(100)

    reserve(tracker, 60).release()

    assert tracker.statistics() == BudgetStatistics(total=100, spent=0, reserved=0, unknown=0)


def test_forfeiting_charges_all_as_unknown_spend() -> None:
    """Nobody will tell whether it was billed, so it counts, and is shown apart."""
    tracker = BudgetTracker(100, spent=5)

    reserve(tracker, 60).forfeit()

    assert tracker.statistics() == BudgetStatistics(total=100, spent=65, reserved=0, unknown=60)


def test_the_cap_itself_fits_and_one_more_does_not() -> None:
    """The cap is inclusive."""
    tracker = BudgetTracker(100, spent=40)

    assert tracker.reserve_nowait(61) is None
    reserve(tracker, 60)

    assert tracker.reserve_nowait(1) is None
    assert tracker.reserve_nowait(0) is not None
    assert tracker.remaining() == 0


def test_what_does_not_fit_now_could_fit_later_unless_it_is_spent() -> None:
    """Held amounts may come back, spent ones never."""
    tracker = BudgetTracker(100)
    reservation = reserve(tracker, 60)

    assert tracker.reserve_nowait(50) is None
    assert tracker.could_fit(100)
    assert not tracker.could_fit(101)

    reservation.settle(51)
    assert not tracker.could_fit(50)
    assert tracker.could_fit(49)


def test_usage_above_the_reservation_is_charged_in_full() -> None:
    """What was reported was billed, also where the estimate was too low; the cap then lets nothing more through."""
    tracker = BudgetTracker(100)

    reserve(tracker, 60).settle(130)

    assert tracker.statistics() == BudgetStatistics(total=100, spent=130, reserved=0, unknown=0)
    assert tracker.remaining() == -30
    assert tracker.reserve_nowait(0) is None
    assert not tracker.could_fit(0)


def test_without_a_cap_everything_fits_and_is_counted() -> None:
    """No cap is no reason not to know."""
    tracker = BudgetTracker()

    reserve(tracker, 10**12).settle(7)

    assert tracker.statistics() == BudgetStatistics(total=None, spent=7, reserved=0, unknown=0)
    assert tracker.remaining() is None
    assert tracker.could_fit(10**15)


@pytest.mark.parametrize(
    ("total", "spent", "unknown"), [(-1, 0, 0), (10, -1, 0), (None, -1, 0), (10, 5, 6), (10, 5, -1)]
)
def test_a_negative_budget_is_refused(total: int | None, spent: int, unknown: int) -> None:
    """It would let nothing, or anything, through."""
    with pytest.raises(ValueError, match="negative"):
        BudgetTracker(total, spent, unknown)


def test_a_negative_amount_is_refused_and_changes_nothing() -> None:
    """A negative hold or charge would make room for others."""
    tracker = BudgetTracker(100)
    with pytest.raises(ValueError, match="can't reserve -1"):
        tracker.reserve_nowait(-1)
    reservation = reserve(tracker, 60)

    with pytest.raises(ValueError, match="can't charge -1"):
        reservation.settle(-1)

    assert tracker.statistics() == BudgetStatistics(total=100, spent=0, reserved=60, unknown=0)
    reservation.release()


@pytest.mark.parametrize("first", ["settle", "release", "forfeit"])
@pytest.mark.parametrize("second", ["settle", "release", "forfeit"])
def test_a_reservation_ends_once(first: str, second: str) -> None:
    """Given back twice, it would make room that is not there."""
    tracker = BudgetTracker(100)
    other, reservation = reserve(tracker, 30), reserve(tracker, 60)
    ends = {"settle": lambda: reservation.settle(10), "release": reservation.release, "forfeit": reservation.forfeit}
    ends[first]()
    before = tracker.statistics()

    with pytest.raises(RuntimeError, match="ended already"):
        ends[second]()

    assert tracker.statistics() == before
    assert before.reserved == other.amount


def test_threads_together_never_pass_the_cap() -> None:
    """Check and hold are one step for every thread, and so is each end."""
    tracker = BudgetTracker(1_000)
    over: list[BudgetStatistics] = []

    def spend() -> int:
        charged = 0
        while (reservation := tracker.reserve_nowait(Yielding(7))) is not None:
            seen = tracker.statistics()
            if seen.spent + seen.reserved > 1_000:
                over.append(seen)
            reservation.settle(Yielding(1))
            charged += 1
        return charged

    with ThreadPoolExecutor(8) as pool:
        charged = sum(future.result() for future in [pool.submit(spend) for _ in range(8)])

    assert not over
    assert tracker.statistics() == BudgetStatistics(total=1_000, spent=charged, reserved=0, unknown=0)
    assert charged >= 1_000 - 8 * 7


@pytest.mark.parametrize(("caps", "exist"), [(Caps(), 0), (Caps(tokens=0), 1), (Caps(micro_usd=0), 1)])
def test_a_cap_of_nothing_is_a_cap(caps: Caps, exist: int) -> None:
    """Only None is unlimited."""
    assert caps.exist == bool(exist)


def test_several_trackers_are_held_at_one_instant_or_none_is() -> None:
    """The last one refuses: what the others gave is back before anybody could see it."""
    wide, narrow = BudgetTracker(100), BudgetTracker(10)

    assert reserve_all_nowait([(wide, 5), (wide, 6), (narrow, 11)]) is None
    with pytest.raises(ValueError, match="can't reserve -1"):
        reserve_all_nowait([(wide, 5), (narrow, -1)])

    assert (wide.statistics().reserved, narrow.statistics().reserved) == (0, 0)
    held = reserve_all_nowait([(wide, 5), (narrow, 10)])
    assert held is not None
    assert (wide.remaining(), narrow.remaining()) == (95, 0)
    assert reserve_all_nowait([]) == []


def test_a_tracker_that_is_there_twice_needs_room_for_both() -> None:
    """Two owners may share one: then each of them counts."""
    tracker = BudgetTracker(10)

    assert reserve_all_nowait([(tracker, 5), (tracker, 6)]) is None
    assert tracker.remaining() == 10
    assert reserve_all_nowait([(tracker, 5), (tracker, 5)]) is not None
    assert tracker.remaining() == 0


def test_a_chain_of_agents_in_threads_shares_one_tracker() -> None:
    """A asks B, B asks C, each in a thread of its own while the one before still holds: one cap for all of them."""
    tracker = BudgetTracker(100, spent=10)
    left: list[int | None] = []

    def work(chain: str, pool: ThreadPoolExecutor) -> None:
        reservation = reserve(tracker, 30)
        left.append(tracker.remaining())
        if chain:
            pool.submit(work, chain[1:], pool).result()
        reservation.settle(20)

    with ThreadPoolExecutor(3) as pool:
        pool.submit(work, "BC", pool).result()

    assert left == [60, 30, 0]
    assert tracker.statistics() == BudgetStatistics(total=100, spent=70, reserved=0, unknown=0)
    assert tracker.remaining() == 30


def test_threads_together_never_see_half_a_hold() -> None:
    """Who looks while others reserve sees both trackers changed or neither."""
    first, second = BudgetTracker(1_000), BudgetTracker(3)
    seen: list[int] = []

    def reserve_in_vain() -> None:
        for _ in range(300):
            assert reserve_all_nowait([(first, Yielding(7)), (second, Yielding(4))]) is None

    with ThreadPoolExecutor(4) as pool:
        trying = [pool.submit(reserve_in_vain) for _ in range(3)]
        while not all(one.done() for one in trying):
            seen.append(first.statistics().reserved)
        for one in trying:
            one.result()

    assert set(seen) == {0}


def test_two_dimensions_are_held_together_or_not_at_all() -> None:
    """Half a hold would block others for nothing."""
    budget = RunBudget(tokens=100, micro_usd=100)

    assert budget.reserve_nowait(tokens=10, micro_usd=101) is None
    assert budget.reserve_nowait(tokens=101, micro_usd=10) is None

    assert budget.tokens.statistics().reserved == 0
    assert budget.micro_usd.statistics().reserved == 0
    held = hold(budget, tokens=10, micro_usd=20)
    assert (held.tokens, held.micro_usd) == (10, 20)


def test_each_end_of_a_hold_reaches_both_dimensions() -> None:
    """Tokens and money of one request have one fate."""
    budget = RunBudget(tokens=100, micro_usd=100)

    hold(budget, tokens=10, micro_usd=20).settle(tokens=1, micro_usd=2)
    hold(budget, tokens=10, micro_usd=20).release()
    hold(budget, tokens=10, micro_usd=20).forfeit()

    assert budget.tokens.statistics() == BudgetStatistics(total=100, spent=11, reserved=0, unknown=10)
    assert budget.micro_usd.statistics() == BudgetStatistics(total=100, spent=22, reserved=0, unknown=20)


def test_all_that_never_fits_is_named() -> None:
    """Who raises one budget only to meet the next has waited for nothing."""
    budget = RunBudget(tokens=100, micro_usd=50)
    hold(budget, tokens=100, micro_usd=50)

    assert find_shortages([budget], tokens=100, micro_usd=50) == ()
    assert find_shortages([budget], tokens=101, micro_usd=50) == (Shortage(budget, "tokens", 101),)
    assert find_shortages([budget], tokens=100, micro_usd=51) == (Shortage(budget, "usd", 51),)
    assert len(find_shortages([budget], tokens=101, micro_usd=51)) == 2


def test_what_earlier_sessions_spent_counts() -> None:
    """The cap is the run's, however often it was interrupted; so is what nobody ever reported."""
    budget = RunBudget(tokens=100, micro_usd=50, spent_tokens=60, unknown_tokens=20, spent_micro_usd=50)

    assert budget.tokens.statistics() == BudgetStatistics(total=100, spent=60, reserved=0, unknown=20)
    assert budget.micro_usd.statistics() == BudgetStatistics(total=50, spent=50, reserved=0, unknown=0)
    assert budget.reserve_nowait(tokens=41, micro_usd=0) is None
    assert budget.reserve_nowait(tokens=40, micro_usd=1) is None
    assert budget.reserve_nowait(tokens=40, micro_usd=0) is not None


@pytest.mark.parametrize(("total", "left"), [(60, -40), (100, 0), (101, 1), (None, None)])
def test_another_cap_counts_from_now_on(total: int | None, left: int | None) -> None:
    """What is spent and held stays what it is: a cap below it is no error, and lets nothing more through."""
    tracker = BudgetTracker(1_000, spent=40)
    reservation = reserve(tracker, 60)

    tracker.set_total(total)

    assert tracker.statistics() == BudgetStatistics(total=total, spent=40, reserved=60, unknown=0)
    assert tracker.remaining() == left
    assert (tracker.reserve_nowait(1) is None) == (left is not None and left < 1)
    reservation.settle(60)


def test_a_negative_cap_changes_neither_dimension() -> None:
    """Half a change would be one nobody asked for."""
    budget = RunBudget(tokens=100, micro_usd=50)

    with pytest.raises(ValueError, match="negative: total=-1"):
        budget.set_totals(tokens=7, micro_usd=-1)
    with pytest.raises(ValueError, match="negative: total=-2"):
        budget.tokens.set_total(-2)

    assert (budget.tokens.remaining(), budget.micro_usd.remaining()) == (100, 50)
    budget.set_totals(tokens=7, micro_usd=None)
    assert (budget.tokens.remaining(), budget.micro_usd.remaining()) == (7, None)


@pytest.mark.parametrize("amount", [0, 1])
def test_a_budget_that_is_overspent_fits_nothing_more(amount: int) -> None:
    """The cap was lowered, or usage passed its worst case: a refusal, not a bug. Not even a free request fits."""
    budget = RunBudget(tokens=100, spent_tokens=130)

    assert budget.reserve_nowait(tokens=amount, micro_usd=0) is None
    assert find_shortages([budget], tokens=amount, micro_usd=0) == (Shortage(budget, "tokens", amount),)
    assert budget.tokens.remaining() == -30


def test_what_is_no_number_is_refused_as_nothing_passes_it() -> None:
    """Every amount fits a cap of NaN, and any cap after NaN was counted."""
    nan = float("nan")
    tracker = BudgetTracker(total=10)

    with pytest.raises(ValueError, match="total=nan"):
        BudgetTracker(total=nan)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    with pytest.raises(ValueError, match="total=nan"):
        tracker.set_total(nan)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    with pytest.raises(ValueError, match="can't count nan"):
        tracker.increment(nan)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    with pytest.raises(ValueError, match="can't reserve nan"):
        tracker.reserve_nowait(nan)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    with pytest.raises(ValueError, match="can't charge nan"):
        reserve(tracker, 1).settle(nan)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]

    assert tracker.statistics() == BudgetStatistics(total=10, spent=0, reserved=1, unknown=0)
