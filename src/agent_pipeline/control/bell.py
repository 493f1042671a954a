"""Wakes those of one Trio run who wait for room on a tracker that others share, whichever thread makes it."""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial

import trio

from agent_pipeline.control.budget import Budget, SharedBudget
from agent_pipeline.control.tracker import BudgetTracker


class Bell:
    """One bell for all who wait in a run, so that a change costs one call however many wait.

    Args:
        wake: called in Trio's thread after a change, once for several of them at a time.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._listeners: Counter[BudgetTracker] = Counter()
        self._ring: Callable[[], None] | None = None

    @contextmanager
    def listening(self, budgets: Sequence[Budget]) -> Generator[None]:
        """Be rung by the shared ones among these budgets while the block runs; under Trio."""
        trackers = [budget.tokens for budget in budgets if isinstance(budget, SharedBudget)]
        if self._ring is None:
            self._ring = partial(_ring, trio.lowlevel.current_trio_token(), self._wake)
        for tracker in trackers:
            self._listeners[tracker] += 1
            tracker.watch(self._ring)
        try:
            yield
        finally:
            for tracker in trackers:
                self._listeners[tracker] -= 1
                if not self._listeners[tracker]:
                    del self._listeners[tracker]
                    tracker.unwatch(self._ring)


def _ring(token: trio.lowlevel.TrioToken, wake: Callable[[], object]) -> None:
    try:
        token.run_sync_soon(wake, idempotent=True)
    except trio.RunFinishedError:
        return  # nobody waits there any more
