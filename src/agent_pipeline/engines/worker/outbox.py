"""What a worker has to report, until it leaves: many reports together, soon, and at once where somebody waits."""

import math
import threading
from collections.abc import Callable

from agent_pipeline.engines.messages import Done, Ended, Report

MOST_ENDED = 25
"""Ended documents that leave together; as many may be worked on again after a worker is lost."""

LONGEST_WAIT = 0.2
"""Seconds a report waits for others."""


class Outbox:
    """A queue of reports between those who make them and the one who carries them away; any threads.

    Whoever carries waits `due_in()` seconds, or until `wake` is called, and then takes:

    >>> from agent_pipeline.engines.messages import Hungry
    >>> now, calls = [0.0], []
    >>> outbox = Outbox(clock=lambda: now[0], wake=lambda: calls.append("wake"))
    >>> outbox.due_in()
    inf
    >>> outbox.put(Hungry())
    >>> calls, outbox.due_in()
    (['wake'], 0.2)
    >>> outbox.flush()
    >>> outbox.due_in(), outbox.take()
    (0.0, [Hungry()])

    Args:
        clock: in seconds; any that only goes forward.
        wake: called, by any thread, when something is due sooner than it was; must not block.
    """

    def __init__(self, *, clock: Callable[[], float], wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._lock = threading.Lock()
        self._reports: list[Report] = []
        self._ended = 0
        self._due_at = math.inf
        self._is_last = False

    @property
    def is_over(self) -> bool:
        """Whether everything was taken, `Done` as the last."""
        with self._lock:
            return self._is_last and not self._reports

    def put(self, report: Report) -> None:
        """Queue a report; after `Done` none is taken any more."""
        with self._lock:
            if self._is_last:
                return
            self._reports.append(report)
            if isinstance(report, Ended):
                self._ended += 1
            self._is_last = isinstance(report, Done)
            is_due = self._ended >= MOST_ENDED or self._is_last
            wakes = self._hasten(0.0 if is_due else LONGEST_WAIT)
        if wakes:
            self._wake()

    def flush(self) -> None:
        """Let what is queued leave at once."""
        with self._lock:
            wakes = bool(self._reports) and self._hasten(0.0)
        if wakes:
            self._wake()

    def due_in(self) -> float:
        """Return for how many seconds what is queued may wait for more; infinite while there is nothing."""
        with self._lock:
            return max(0.0, self._due_at - self._clock())

    def take(self) -> list[Report]:
        """Return all reports in the order in which they were made, whether they are due or not."""
        with self._lock:
            reports, self._reports = self._reports, []
            self._ended, self._due_at = 0, math.inf
            return reports

    def _hasten(self, delay: float) -> bool:
        """Make what is queued due `delay` seconds from now, if it is not due before; return whether that is news."""
        if self._due_at == -math.inf:
            return False
        due_at = self._clock() + delay if delay else -math.inf
        if due_at >= self._due_at:
            return False
        self._due_at = due_at
        return True
