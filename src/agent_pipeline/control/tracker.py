"""One counted unit against a cap that no interleaving can pass: reserve, then settle, release or forfeit."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_lock = threading.Lock()
"""One for all trackers: so several are held at one instant or not at all, and no order of locks can be wrong."""


@dataclass(frozen=True, slots=True)
class BudgetStatistics:
    """A snapshot of one tracker, all in its unit.

    Attributes:
        unknown: the part of `spent` that nobody reported.
        withheld: charged to nobody, and not to be had: it may have been used by somebody who can't tell any more.
    """

    total: int | None
    spent: int
    reserved: int
    unknown: int
    withheld: int = 0


class BudgetTracker:
    """Counts one unit (tokens, or micro-dollars) against a cap; safe from any thread.

    At every instant `spent + reserved + withheld <= total`, as long as settled figures stay within what was reserved
    and the cap is not lowered below it: there is no await between the check and the hold, and a lock for threads.

    Several gates and adapters may hold on one tracker. Whoever waits for room watches it: a bell is rung after each
    change that could make room, or make waiting vain.

    Args:
        total: the cap; None counts without a cap.
        spent: what earlier work has already spent; more than `total` where the cap was lowered since.
        unknown: the part of it that nobody reported.

    >>> tracker = BudgetTracker(total=100, spent=30)
    >>> held = tracker.reserve_nowait(50)
    >>> tracker.remaining()
    20
    >>> held.settle(10)
    >>> tracker
    BudgetTracker(total=100, spent=40)
    """

    def __init__(self, total: int | None = None, spent: int = 0, unknown: int = 0) -> None:
        check_total(total)
        if not 0 <= unknown <= spent:
            msg = f"what is spent can't be negative: spent={spent}, unknown={unknown}"
            raise ValueError(msg)
        self._total = total
        self._spent = spent
        self._reserved = 0
        self._unknown = unknown
        self._withheld = 0
        self._bells: dict[Callable[[], object], None] = {}

    def __repr__(self) -> str:
        snapshot = self.statistics()
        return f"BudgetTracker(total={snapshot.total}, spent={snapshot.spent})"

    @property
    def total(self) -> int | None:
        """The cap; None where there is none."""
        return self._total

    @property
    def spent(self) -> int:
        """What has been charged so far, reported or not."""
        return self._spent

    def increment(self, amount: int) -> None:
        """Count what was used without having been reserved, for example by another program; may pass the cap.

        Raises:
            ValueError: the amount is negative or no number; nothing was counted.
        """
        if not amount >= 0:  # NaN neither: after it no cap would hold
            msg = f"can't count {amount}"
            raise ValueError(msg)
        with _lock:
            self._spent += amount
        self._ring()

    def withhold(self, amount: int) -> None:
        """Let nobody have so much more of it, for as long as this tracker is there; it is charged to nobody.

        Raises:
            ValueError: the amount is negative or no number; nothing was withheld.
        """
        if not amount >= 0:
            msg = f"can't withhold {amount}"
            raise ValueError(msg)
        with _lock:
            self._withheld += amount
        self._ring()

    def watch(self, bell: Callable[[], object]) -> None:
        """Call `bell` after each change that could make room, or end the hope for it, until `unwatch`.

        It is called in the thread that made the change, and once more perhaps after `unwatch`; it must neither block
        nor raise. No change is missed by who watches first and looks then.
        """
        with _lock:
            self._bells[bell] = None

    def unwatch(self, bell: Callable[[], object]) -> None:
        """Call that bell no more; one that is not there is no error."""
        with _lock:
            self._bells.pop(bell, None)

    def reserve_nowait(self, amount: int) -> "Reservation | None":
        """Hold `amount`, or return None when it does not fit now (it may fit once others settle)."""
        held = reserve_all_nowait([(self, amount)])
        return None if held is None else held[0]

    def could_fit(self, amount: int) -> bool:
        """Whether `amount` would fit if everything held now were given back."""
        with _lock:
            return self._total is None or self._spent + self._withheld + amount <= self._total

    def fits_now(self, amount: int) -> bool:
        """Whether `amount` fits beside what is held now."""
        with _lock:
            return self._total is None or self._in_use() + amount <= self._total

    def remaining(self) -> int | None:
        """What is neither spent, held nor withheld; None without a cap."""
        with _lock:
            return None if self._total is None else self._total - self._in_use()

    def set_total(self, total: int | None) -> None:
        """Count against another cap from now on; None is none. Below what is spent, nothing more fits.

        What is held stays held, so right after a cap was lowered more than it may be spent and held; never more than
        was before.
        """
        check_total(total)
        with _lock:
            self._total = total
        self._ring()

    def statistics(self) -> BudgetStatistics:
        """Snapshot of all counters, taken at one instant."""
        with _lock:
            return BudgetStatistics(self._total, self._spent, self._reserved, self._unknown, self._withheld)

    def _in_use(self) -> int:
        return self._spent + self._reserved + self._withheld

    def _take(self, amount: int) -> bool:
        if self._total is not None and self._in_use() + amount > self._total:
            return False
        self._reserved += amount
        return True

    def _give_back(self, amount: int) -> None:
        self._reserved -= amount

    def _close(self, reservation: "Reservation", charge: int, *, unknown: int) -> None:
        if not 0 <= unknown <= charge:
            msg = f"can't charge {charge}, {unknown} of it unknown"
            raise ValueError(msg)
        with _lock:
            if not reservation.is_open:
                msg = "this reservation has ended already"
                raise RuntimeError(msg)
            reservation.is_open = False
            self._reserved -= reservation.amount
            self._spent += charge
            self._unknown += unknown
        self._ring()

    def _move(self, reserved: int, *, spent: int, unknown: int) -> None:
        with _lock:
            self._reserved += reserved
            self._spent += spent
            self._unknown += unknown
        self._ring()

    def _ring(self) -> None:
        if not self._bells:  # a bell that is hung up this very moment looks by itself
            return
        with _lock:
            bells = tuple(self._bells)
        for bell in bells:
            bell()


class Reservation:
    """One hold on a tracker; ended exactly once by `settle`, `release` or `forfeit`."""

    __slots__ = ("_tracker", "amount", "is_open")

    def __init__(self, tracker: BudgetTracker, amount: int) -> None:
        self._tracker = tracker
        self.is_open = True
        self.amount = amount

    def settle(self, actual: int, *, unknown: int = 0) -> None:
        """Charge what was reported, and `unknown` more that nobody reported; give the rest back."""
        self._end(actual + unknown, unknown=unknown)

    def release(self) -> None:
        """Give everything back: the request never left, or was answered without being worked on."""
        self._end(0, unknown=0)

    def forfeit(self) -> None:
        """Charge everything: the request may have been worked on and nobody will tell."""
        self._end(self.amount, unknown=self.amount)

    def _end(self, charge: int, *, unknown: int) -> None:
        self._tracker._close(self, charge, unknown=unknown)  # noqa: SLF001  (the two are one mechanism)


class Lease:
    """A hold that changes as long as it is there: what is lent to somebody who counts for himself what he uses of it.

    Whoever changes it sees to it that it fits.
    """

    __slots__ = ("_tracker", "amount")

    def __init__(self, tracker: BudgetTracker) -> None:
        self._tracker = tracker
        self.amount = 0

    def change(self, amount: int, *, spent: int = 0, unknown: int = 0) -> None:
        """Hold `amount` from now on; charge `spent`, of which nobody reported `unknown`; all at one instant."""
        if amount < 0 or not 0 <= unknown <= spent:
            msg = f"can't lend {amount} and charge {spent}, {unknown} of it unknown"
            raise ValueError(msg)
        self._tracker._move(amount - self.amount, spent=spent, unknown=unknown)  # noqa: SLF001  (one mechanism)
        self.amount = amount


def reserve_all_nowait(wanted: Sequence[tuple[BudgetTracker, int]]) -> list[Reservation] | None:
    """Hold every amount on its tracker at one instant; where one does not fit now, hold nothing and return None.

    No other thread sees a part of it. A tracker may be there twice: then both amounts have to fit.
    """
    for _, amount in wanted:
        if not amount >= 0:
            msg = f"can't reserve {amount}"
            raise ValueError(msg)
    with _lock:
        for position, (tracker, amount) in enumerate(wanted):
            if not tracker._take(amount):  # noqa: SLF001  (they are one mechanism)
                for earlier, taken in wanted[:position]:
                    earlier._give_back(taken)  # noqa: SLF001
                return None
    return [Reservation(tracker, amount) for tracker, amount in wanted]


def reserve_all_regardless(wanted: Sequence[tuple[BudgetTracker, int]]) -> list[Reservation]:
    """Hold every amount at one instant, also beyond the caps: for work that is under way already.

    Until it ends, nothing more fits where a cap is passed by it.
    """
    with _lock:
        for tracker, amount in wanted:
            tracker._reserved += amount  # noqa: SLF001  (they are one mechanism)
    return [Reservation(tracker, amount) for tracker, amount in wanted]


def check_total(total: int | None) -> None:
    """Refuse a cap below nothing, and one that nothing passes since nothing compares with it (NaN)."""
    if total is not None and (isinstance(total, bool) or not isinstance(total, int | float)):
        msg = f"total is a number, or None for no cap, not {total!r}"
        raise TypeError(msg)
    if total is not None and not total >= 0:
        msg = f"a budget can't be negative: total={total}"
        raise ValueError(msg)
