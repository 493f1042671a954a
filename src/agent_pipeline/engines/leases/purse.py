"""What one worker has of one tracker: lent, under way, spent; and how much of it may leave unheard."""

from agent_pipeline.control.tracker import BudgetTracker, Lease

PART = 128
"""A window is this part of what is still to be had: what three killed workers take along is less than 3 % of a cap."""


class Purse:
    """Keeps the tracker's hold equal to what the worker may still spend, whatever it reports.

    Attributes:
        rest: what was granted, less what left, and what was charged above it; below nothing where that passed it.
    """

    __slots__ = ("_lease", "_tracker", "_under_way", "_windows", "rest")

    def __init__(self, tracker: BudgetTracker) -> None:
        self._tracker = tracker
        self._lease = Lease(tracker)
        self._under_way = 0
        self._windows: tuple[int | None, int | None] = (0, 0)
        self.rest = 0

    def grant(self, amount: int) -> None:
        """Lend so much more; less, where it is negative."""
        self.rest += amount
        self._change()

    def open_window(self, largest: int) -> int | None:
        """Return how much may have left unheard from now on, at least the largest request; None without a cap.

        Called when the worker has asked again, which proves that it keeps to the window before this one; not yet to
        this one, which it has not heard of.
        """
        counted = self._tracker.statistics()
        window = None
        if counted.total is not None:
            window = max((counted.total - counted.spent - counted.withheld) // PART, largest)
        self._windows = (self._windows[1], window)
        return window

    def more_held(self, amount: int) -> int:
        """Return by how much such a grant makes the hold grow: what was charged above worst cases is spent."""
        return max(0, self.rest + max(0, amount)) - max(0, self.rest)

    def leave(self, amount: int) -> None:
        """Count a request that may cost so much and is about to leave."""
        self.rest -= amount
        self._under_way += amount
        self._change()

    def end(self, amount: int, charged: int, *, is_unknown: bool) -> None:
        """Charge a request that was to cost so much at most; what it did not cost is the worker's again."""
        self._under_way -= amount
        self.rest += amount - charged
        self._change(spent=charged, unknown=charged if is_unknown else 0)

    def withhold(self) -> int:
        """Let nobody have what a worker that is gone may have used unheard; return how much that is."""
        unheard = max(0, self.rest)
        if self._tracker.total is None:
            unheard = 0
        elif None not in self._windows:
            unheard = min(unheard, max(one for one in self._windows if one is not None))
        self._tracker.withhold(unheard)
        self.rest -= unheard
        self._change()
        return unheard

    def close(self) -> None:
        """Charge what is under way, as unknown spend; lend nothing more."""
        at_risk, self._under_way, self.rest = self._under_way, 0, 0
        self._change(spent=at_risk, unknown=at_risk)

    def _change(self, *, spent: int = 0, unknown: int = 0) -> None:
        self._lease.change(max(0, self.rest) + self._under_way, spent=spent, unknown=unknown)
