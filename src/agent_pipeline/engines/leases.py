"""The driver's side of the budgets: what of them is lent to which worker, and what became of it."""

from collections.abc import Callable

from agent_pipeline.control.budget import RunBudget
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.engines.messages import Grant, LeaseReturned, LeaseWanted, Recall


class BudgetLessor:
    """Lends out the budgets of a run.

    The driver calls `join` when a worker says `Ready`; `want`, `returned` and `spent` for each `LeaseWanted`,
    `LeaseReturned` and `Attempted` of it, in their order; `revoke` when it was killed, was lost or is done; and
    `caps_changed` after a cap was changed. All else goes out through `tell`.

    Args:
        budget: the run's own, whose trackers hold what is lent.
        tell: sends a command to a worker, by its number; never blocks.
    """

    def __init__(self, budget: RunBudget, tell: Callable[[int, Grant | Recall], object]) -> None:
        self._budget = budget
        self._tell = tell

    def join(self, worker: int) -> None:
        """Count a worker among those who share."""
        raise NotImplementedError

    def want(self, worker: int, wanted: LeaseWanted) -> Grant | None:
        """Return what the worker gets, or None where it has to wait: then `tell` brings it."""
        raise NotImplementedError

    def spent(self, worker: int, record: AttemptRecord) -> None:
        """Take an attempt as it leaves (no outcome) or has ended: what it was charged is spent."""
        raise NotImplementedError

    def returned(self, worker: int, returned: LeaseReturned) -> None:
        """Take back what a worker has not used."""
        raise NotImplementedError

    def revoke(self, worker: int) -> None:
        """Believe the worker nothing more: what was under way becomes unknown spend, all else is free."""
        raise NotImplementedError

    def caps_changed(self) -> None:
        """Look again after the caps of the budgets were changed; who was told that it had its last may ask anew."""
        raise NotImplementedError
