"""What one worker has of one tracker: lent, under way, spent."""

from agent_pipeline.control.tracker import BudgetTracker, Lease


class Purse:
    """Keeps the tracker's hold equal to what the worker may still spend, whatever it reports.

    Attributes:
        rest: what was granted, less what left, and what was charged above it; below nothing where that passed it.
    """

    __slots__ = ("_lease", "_under_way", "rest")

    def __init__(self, tracker: BudgetTracker) -> None:
        self._lease = Lease(tracker)
        self._under_way = 0
        self.rest = 0

    def grant(self, amount: int) -> None:
        """Lend so much more; less, where it is negative."""
        self.rest += amount
        self._change()

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

    def close(self) -> None:
        """Charge what is under way, as unknown spend; lend nothing more."""
        at_risk, self._under_way, self.rest = self._under_way, 0, 0
        self._change(spent=at_risk, unknown=at_risk)

    def _change(self, *, spent: int = 0, unknown: int = 0) -> None:
        self._lease.change(max(0, self.rest) + self._under_way, spent=spent, unknown=unknown)
