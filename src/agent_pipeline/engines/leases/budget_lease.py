"""The worker's side of one budget: it has what was granted, asks for more in time, and gives back what is idle."""

import math
from collections.abc import Callable
from dataclasses import replace

from agent_pipeline.control.budget import Budget, Caps, Dimension
from agent_pipeline.engines.leases.departures import PATIENCE, Departures
from agent_pipeline.engines.messages import Amount, Grant, LeaseReturned, LeaseWanted

AHEAD = 200
"""Requests, at their worst, that one grant is to last for; most cost much less."""

IDLE = 10.0
"""Seconds without a request after which a worker keeps no more than one request's worth."""

_RECENT = 1 / 32
"""What the newest request counts in the mean."""


class BudgetLease:
    """Supplies a budget of the worker's with grants from the driver.

    At most one question is open, whoever waits: that of the first. It is answered to the lease, not to who waits, so a
    cancelled waiter takes nothing along. When less than half of the last grant is left, more is asked for before
    anybody waits; where grants have shrunk to nothing that ends, and each asks when he needs it.

    Of what was granted the gate gets no more than what the driver has heard of, and a window: so much at most would be
    used and unknown if the worker were gone. Where that is all that keeps a request waiting, nothing is asked for but
    what was heard, in time: when half of the window is full.

    Args:
        owner: whose budget it is a part of.
        budget: the worker's part; what is used of it already counts as granted.
        departures: what was heard of the worker's requests.
        report: queues a report and lets it leave at once.
        clock: seconds.
    """

    def __init__(
        self,
        owner: str,
        budget: Budget,
        departures: Departures,
        report: Callable[[LeaseWanted | LeaseReturned], object],
        clock: Callable[[], float],
    ) -> None:
        self._owner = owner
        self._budget = budget
        self._departures = departures
        self._report = report
        self._clock = clock
        self._asked: LeaseWanted | None = None
        self._asked_at = -math.inf
        self._number = 0
        self._granted = self._used()
        self._window = Caps()
        self._largest = Amount()
        self._is_short = False
        self._last = Amount()
        self._left: dict[str, tuple[int, int]] = {}
        self._mean = (0.0, 0.0)
        self._used_at = -math.inf
        self._is_scarce = False
        self.resize()
        budget.supply = self

    @property
    def needs_news(self) -> bool:
        """Whether somebody waits, or soon will, for no more than that the driver says what it heard."""
        return self._is_short or not _fits(self._unheard() + self._unheard(), self._window)

    # --- what the gate tells and asks --------------------------------------------------------------------------------

    def taken(self, tokens: int, micro_usd: int) -> None:
        """Learn what requests may cost, and ask ahead when little is left."""
        self._note(tokens, micro_usd)
        free = self._free()
        if 2 * free.tokens < self._last.tokens or 2 * free.micro_usd < self._last.micro_usd:
            self.ask_ahead()

    def lacking(self, tokens: int, micro_usd: int) -> None:
        """Ask for what one who waits lacks: more, a larger window, or only what was heard."""
        self._used_at = self._clock()
        worst_case = Amount(tokens, micro_usd)
        self._largest = _largest(self._largest, worst_case)
        if self._mean == (0.0, 0.0):
            self._note(tokens, micro_usd)
        lack = self._lack(worst_case)
        if lack == Amount() and _fits(worst_case, self._window):
            self._is_short = True
            self._departures.ask()
        else:
            self._ask(lack, worst_case)

    def could_fit(self, dimension: Dimension, amount: int) -> bool:
        """Whether nobody said yet that so much can't fit."""
        return dimension not in self._left or amount <= self._left[dimension][1]

    def standing(self, dimension: Dimension) -> tuple[int, int]:
        """Return total and rest of the whole budget, as the driver told when it refused; nothing before."""
        return self._left.get(dimension, (0, 0))

    # --- what the driver says ----------------------------------------------------------------------------------------

    def answer(self, grant: Grant) -> None:
        """Take a grant; one that answers no open question was taken before, or says that caps have changed."""
        if not grant.lease_id:
            self._left.clear()
            return
        if self._asked is None or grant.lease_id != self._asked.lease_id:
            return
        self._asked = None
        self._is_scarce = False
        self._window = grant.window
        self._add(grant.amount)
        self._last = grant.amount
        self._left.update({one.dimension: (one.total, one.amount) for one in grant.left})

    def recall(self) -> None:
        """Give back what no request holds, now and until something is granted again."""
        self._is_scarce = True
        self.give_back(Amount())

    def heard(self) -> None:
        """Let the gate use what the driver said to have heard of; who waits asks anew where that is too little."""
        self._is_short = False
        self.resize()

    # --- in between --------------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """Do what time asks for; called about once a second."""
        now = self._clock()
        if self._asked is not None and now >= self._asked_at + PATIENCE:
            self._repeat()
        if self._is_scarce:
            self.give_back(Amount())
        elif now >= self._used_at + IDLE and not self._is_in_use():
            self.give_back(Amount(math.ceil(self._mean[0]), math.ceil(self._mean[1])))

    def resize(self) -> None:
        """Let the gate have what was granted, but no more unheard than the window; for when either has changed."""
        covered = self._departures.covered(self._owner)
        self._budget.set_totals(
            tokens=_least(self._granted.tokens, covered.tokens, self._window.tokens),
            micro_usd=_least(self._granted.micro_usd, covered.micro_usd, self._window.micro_usd),
        )

    def ask_ahead(self) -> None:
        """Ask for more without a need, unless a question is open."""
        self._ask(Amount(), Amount())

    def give_back(self, but: Amount) -> None:
        """Return what no request holds, but for so much."""
        free = self._free()
        back = Amount(max(0, free.tokens - but.tokens), max(0, free.micro_usd - but.micro_usd))
        if back != Amount():
            self._last = Amount()  # what was given back is not asked for ahead
            self._add(Amount(-back.tokens, -back.micro_usd))
            self._report(LeaseReturned(self._owner, back))

    def _ask(self, need: Amount, worst_case: Amount) -> None:
        if self._asked is not None:
            return
        self._number += 1
        want = Amount(self._enough(0) + need.tokens, self._enough(1) + need.micro_usd)
        self._asked = LeaseWanted(f"{self._owner}#{self._number}", self._owner, need, want, worst_case, self._largest)
        self._asked_at = self._clock()
        self._largest = Amount()
        self._report(self._asked)

    def _repeat(self) -> None:
        """Ask the same again, with what is lacking by now."""
        if self._asked is None:
            return
        need = self._lack(self._asked.worst_case)
        self._asked, self._asked_at = replace(self._asked, need=need), self._clock()
        self._report(self._asked)

    def _lack(self, amount: Amount) -> Amount:
        free = self._free()
        return Amount(max(0, amount.tokens - free.tokens), max(0, amount.micro_usd - free.micro_usd))

    def _enough(self, unit: int) -> int:
        """Return what keeps the worker busy for a while, in tokens (0) or micro-dollars (1)."""
        in_flight = (self._budget.tokens, self._budget.micro_usd)[unit].statistics().reserved
        return max(2 * in_flight, math.ceil(AHEAD * self._mean[unit]))

    def _note(self, tokens: int, micro_usd: int) -> None:
        self._used_at = self._clock()
        self._largest = _largest(self._largest, Amount(tokens, micro_usd))
        if self._mean == (0.0, 0.0):
            self._mean = (tokens, micro_usd)
        else:
            before = self._mean
            self._mean = (
                before[0] + (tokens - before[0]) * _RECENT,
                before[1] + (micro_usd - before[1]) * _RECENT,
            )

    def _free(self) -> Amount:
        """Return what of the grants is neither spent nor held; below nothing where an answer passed its worst case."""
        return _less(self._granted, self._used())

    def _unheard(self) -> Amount:
        """Return what is used here and would be known to nobody if the worker were gone."""
        return _less(self._used(), self._departures.covered(self._owner))

    def _used(self) -> Amount:
        tokens, money = self._budget.tokens.statistics(), self._budget.micro_usd.statistics()
        return Amount(tokens.spent + tokens.reserved, money.spent + money.reserved)

    def _is_in_use(self) -> bool:
        return bool(self._budget.tokens.statistics().reserved or self._budget.micro_usd.statistics().reserved)

    def _add(self, amount: Amount) -> None:
        self._granted += amount
        self.resize()


def _least(granted: int, covered: int, window: int | None) -> int:
    return granted if window is None else min(granted, covered + window)


def _fits(amount: Amount, window: Caps) -> bool:
    return (window.tokens is None or amount.tokens <= window.tokens) and (
        window.micro_usd is None or amount.micro_usd <= window.micro_usd
    )


def _largest(one: Amount, other: Amount) -> Amount:
    return Amount(max(one.tokens, other.tokens), max(one.micro_usd, other.micro_usd))


def _less(one: Amount, other: Amount) -> Amount:
    return Amount(one.tokens - other.tokens, one.micro_usd - other.micro_usd)
