"""Durations in constant memory, and how long they are in words."""

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


def in_words(seconds: float | None) -> str:
    """Return a duration as people read it, whole seconds (an int) as such; `-` for None.

    >>> [in_words(one) for one in (None, 0.0123, 0.5, 7, 7.0, 59.6, 61, 3600, 100_000)]
    ['-', '12 ms', '500 ms', '7 s', '7.0 s', '60 s', '1 m 01 s', '1 h 00 m', '27 h 46 m']
    """
    if seconds is None:
        return "-"
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 and not isinstance(seconds, int) else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m"
