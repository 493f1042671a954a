"""Durations in constant memory."""

import math
from collections import Counter
from dataclasses import dataclass, field

_STEPS_PER_E = 20
"""Steps of a factor e: a percentile is off by a fortieth at most."""

_SHORTEST = 1e-4
"""Seconds; what is shorter counts as this."""


@dataclass(slots=True)
class Durations:
    """Counts of durations by their logarithm: a few hundred numbers, however many durations there are.

    >>> durations = Durations()
    >>> for number in range(1, 101):
    ...     durations.add(number / 10)
    >>> f"{durations.percentile(50):.1f} {durations.percentile(95):.1f}"
    '5.0 9.5'
    """

    _counts: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[round(_STEPS_PER_E * math.log(max(seconds, _SHORTEST)))] += 1

    def percentile(self, percent: int) -> float | None:
        """Return the least duration, in seconds, that so many percent do not exceed; None without any."""
        left = math.ceil(self._counts.total() * percent / 100)
        for step, count in sorted(self._counts.items()):
            left -= count
            if left <= 0:
                return math.exp(step / _STEPS_PER_E)
        return None
