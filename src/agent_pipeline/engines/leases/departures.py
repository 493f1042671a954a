"""What has left a worker, and how much of it the driver said to have heard: of all else nobody would know."""

import math
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.engines.messages import RUN, Amount, HeardWanted

PATIENCE = 5.0
"""Seconds after which an answer that has not come is asked for again: it may have been lost."""


class Departures:
    """Counts what of a worker's requests the driver has heard, for every owner of a budget.

    A request is covered for no more than the driver would charge for it if the worker were gone: nothing before its
    leaving was heard; then its worst case, or what it was charged where that is less; and all of it once its end was
    heard. What an answer cost beyond its worst case is unheard until then.

    Args:
        report: queues a report and lets all that are queued leave at once.
        clock: seconds.
    """

    def __init__(self, report: Callable[[HeardWanted], object], clock: Callable[[], float]) -> None:
        self._report = report
        self._clock = clock
        self._told = 0
        self._heard = 0
        self._asked_for = 0
        self._asked_at = -math.inf
        self._unheard: deque[tuple[int, _Request]] = deque()
        self._open: dict[str, _Request] = {}
        self._covered: defaultdict[str, Amount] = defaultdict(Amount)

    def covered(self, owner: str) -> Amount:
        """Return what the driver knows of what this owner's budget here was used for, spent and held."""
        return self._covered[owner]

    def told(self, record: AttemptRecord) -> None:
        """Count an attempt that was just reported: it leaves, or has ended."""
        self._told += 1
        charged = Amount(record.charged_tokens, record.cost_micro_usd or 0)
        if record.outcome is None:
            request = self._open[record.attempt_id] = _Request(record.role, charged)
        else:
            request = self._open.pop(record.attempt_id, _Request(record.role, charged))
            before = request.known()
            request.charged = charged
            self._cover(request, before)
        self._unheard.append((self._told, request))

    def heard(self, attempts: int) -> None:
        """Cover what was heard: the first so many reports of attempts; less than it was is old news."""
        while self._unheard and self._unheard[0][0] <= attempts:
            request = self._unheard.popleft()[1]
            before = request.known()
            request.heard += 1
            self._cover(request, before)
        self._heard = max(self._heard, attempts)

    def hear_all(self) -> None:
        """Cover all that was told: nothing is leased yet, so that nobody says what was heard, or needs to."""
        self.heard(self._told)

    def ask(self) -> None:
        """Ask what was heard, unless it was all, or an answer is on its way."""
        if self._told > self._heard >= self._asked_for:
            self._ask()

    def beat(self) -> None:
        """Ask again where no answer came in time."""
        if self._asked_for > self._heard and self._clock() >= self._asked_at + PATIENCE:
            self._ask()

    def _ask(self) -> None:
        self._asked_for, self._asked_at = self._told, self._clock()
        self._report(HeardWanted())

    def _cover(self, request: "_Request", before: Amount) -> None:
        known = request.known()
        change = Amount(known.tokens - before.tokens, known.micro_usd - before.micro_usd)
        for owner in owners_of(request.role):
            self._covered[owner] += change


def owners_of(role: str) -> tuple[str, str]:
    """Return whose budgets a request of this role is held on."""
    return RUN, f"role:{role}"


@dataclass(slots=True, eq=False)
class _Request:
    """One attempt; `heard` counts which of its two reports were, its leaving and its end."""

    role: str
    worst_case: Amount
    charged: Amount | None = None
    heard: int = 0

    def known(self) -> Amount:
        if not self.heard:
            return Amount()
        if self.charged is None:
            return self.worst_case
        if self.heard > 1:
            return self.charged
        return Amount(
            min(self.charged.tokens, self.worst_case.tokens), min(self.charged.micro_usd, self.worst_case.micro_usd)
        )
