"""Caps that no interleaving can pass: reserve the worst case, then settle, release or forfeit it."""

import threading
from dataclasses import dataclass
from typing import Literal

Dimension = Literal["tokens", "usd"]


@dataclass(frozen=True, slots=True)
class BudgetStatistics:
    """A snapshot of one tracker, all in its unit; `unknown` is the part of `spent` that nobody reported."""

    total: int | None
    spent: int
    reserved: int
    unknown: int


class BudgetTracker:
    """Counts one unit (tokens, or micro-dollars) against a cap; safe from any thread.

    At every instant `spent + reserved <= total`, as long as settled figures stay within what was reserved: there is
    no await between the check and the hold, and a lock for threads.

    Args:
        total: the cap; None counts without a cap.
        spent: what earlier work has already spent; more than `total` where the cap was lowered since.
        unknown: the part of it that nobody reported.
    """

    def __init__(self, total: int | None = None, spent: int = 0, unknown: int = 0) -> None:
        _check_total(total)
        if not 0 <= unknown <= spent:
            msg = f"what is spent can't be negative: spent={spent}, unknown={unknown}"
            raise ValueError(msg)
        self._lock = threading.Lock()
        self._total = total
        self._spent = spent
        self._reserved = 0
        self._unknown = unknown

    def reserve_nowait(self, amount: int) -> "Reservation | None":
        """Hold `amount`, or return None when it does not fit now (it may fit once others settle)."""
        if amount < 0:
            msg = f"can't reserve {amount}"
            raise ValueError(msg)
        with self._lock:
            if self._total is not None and self._spent + self._reserved + amount > self._total:
                return None
            self._reserved += amount
        return Reservation(self, amount)

    def could_fit(self, amount: int) -> bool:
        """Whether `amount` would fit if everything held now were given back."""
        with self._lock:
            return self._total is None or self._spent + amount <= self._total

    def remaining(self) -> int | None:
        """What is neither spent nor held; None without a cap."""
        with self._lock:
            return None if self._total is None else self._total - self._spent - self._reserved

    def set_total(self, total: int | None) -> None:
        """Count against another cap from now on; None is none. Below what is spent, nothing more fits.

        What is held stays held, so right after a cap was lowered more than it may be spent and held; never more than
        was before.
        """
        _check_total(total)
        with self._lock:
            self._total = total

    def statistics(self) -> BudgetStatistics:
        """Snapshot of all counters, taken at one instant."""
        with self._lock:
            return BudgetStatistics(self._total, self._spent, self._reserved, self._unknown)

    def _close(self, reservation: "Reservation", charge: int, *, unknown: bool) -> None:
        if charge < 0:
            msg = f"can't charge {charge}"
            raise ValueError(msg)
        with self._lock:
            if not reservation.is_open:
                msg = "this reservation has ended already"
                raise RuntimeError(msg)
            reservation.is_open = False
            self._reserved -= reservation.amount
            self._spent += charge
            if unknown:
                self._unknown += charge


def _check_total(total: int | None) -> None:
    if total is not None and total < 0:
        msg = f"a budget can't be negative: total={total}"
        raise ValueError(msg)


class Reservation:
    """One hold on a tracker; ended exactly once by `settle`, `release` or `forfeit`."""

    __slots__ = ("_tracker", "amount", "is_open")

    def __init__(self, tracker: BudgetTracker, amount: int) -> None:
        self._tracker = tracker
        self.is_open = True
        self.amount = amount

    def settle(self, actual: int) -> None:
        """Charge what was reported; give the rest back."""
        self._end(actual, unknown=False)

    def release(self) -> None:
        """Give everything back: the request never left, or was answered without being worked on."""
        self._end(0, unknown=False)

    def forfeit(self) -> None:
        """Charge everything: the request may have been worked on and nobody will tell."""
        self._end(self.amount, unknown=True)

    def _end(self, charge: int, *, unknown: bool) -> None:
        self._tracker._close(self, charge, unknown=unknown)  # noqa: SLF001  (the two are one mechanism)


class RunBudget:
    """The tokens and the money of one run, reserved together or not at all.

    Money is counted in integer micro-dollars. Both dimensions are counted also where they have no cap. Callers that
    wait for room are woken by the gate: what is held by others than the gate's own attempts wakes nobody.

    Args:
        tokens: the cap; None counts without one.
        micro_usd: likewise.
        spent_tokens: what the run's earlier sessions were charged; may be above the cap, then nothing more fits.
        unknown_tokens: the part of it that nobody reported.
        spent_micro_usd: what the earlier sessions cost.
    """

    def __init__(
        self,
        *,
        tokens: int | None = None,
        micro_usd: int | None = None,
        spent_tokens: int = 0,
        unknown_tokens: int = 0,
        spent_micro_usd: int = 0,
    ) -> None:
        self.tokens = BudgetTracker(tokens, spent_tokens, unknown_tokens)
        self.micro_usd = BudgetTracker(micro_usd, spent_micro_usd)

    def reserve_nowait(self, *, tokens: int, micro_usd: int) -> "Hold | None":
        """Hold both amounts, or nothing and return None."""
        held_tokens = self.tokens.reserve_nowait(tokens)
        if held_tokens is None:
            return None
        held_money = self.micro_usd.reserve_nowait(micro_usd)
        if held_money is None:
            held_tokens.release()
            return None
        return Hold(held_tokens, held_money)

    def set_totals(self, *, tokens: int | None, micro_usd: int | None) -> None:
        """Count against other caps from now on, both or, where one is negative, neither; wakes nobody by itself."""
        for total in (tokens, micro_usd):
            _check_total(total)
        self.tokens.set_total(tokens)
        self.micro_usd.set_total(micro_usd)

    def never_fits(self, *, tokens: int, micro_usd: int) -> Dimension | None:
        """Return the dimension that is too small even if everything held were given back, None if both could do."""
        if not self.tokens.could_fit(tokens):
            return "tokens"
        return None if self.micro_usd.could_fit(micro_usd) else "usd"


class Hold:
    """What one attempt holds of a run's budget; ended exactly once."""

    __slots__ = ("_money", "_tokens")

    def __init__(self, tokens: Reservation, money: Reservation) -> None:
        self._tokens = tokens
        self._money = money

    @property
    def tokens(self) -> int:
        """Tokens held."""
        return self._tokens.amount

    @property
    def micro_usd(self) -> int:
        """Micro-dollars held."""
        return self._money.amount

    def settle(self, *, tokens: int, micro_usd: int) -> None:
        """Charge what was reported."""
        self._tokens.settle(tokens)
        self._money.settle(micro_usd)

    def release(self) -> None:
        """Give both back."""
        self._tokens.release()
        self._money.release()

    def forfeit(self) -> None:
        """Charge both in full, as unknown spend."""
        self._tokens.forfeit()
        self._money.forfeit()
