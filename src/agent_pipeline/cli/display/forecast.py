"""How long a run will yet take, and what it will have spent, from how far it has got."""

from collections import deque

_WINDOW = 120.0
"""Seconds that tell how fast it goes: what was an hour ago says little, the last second nothing."""

_STEP = 2.0
"""Seconds between two readings that are kept."""

_LEAST = 0.01
"""The fraction of a run from which its whole can be told."""


class Forecast:
    """Readings of the fraction done, 0 to 1, the newest two minutes of them.

    >>> forecast = Forecast()
    >>> for second in range(0, 60, 10):
    ...     forecast.read(second, second / 100)
    >>> forecast.seconds_left()
    50.0
    >>> forecast.whole(200)
    400.0
    """

    def __init__(self) -> None:
        self._readings: deque[tuple[float, float]] = deque()
        self._newest = (0.0, 0.0)

    def read(self, seconds: float, fraction: float) -> None:
        """Take how far it is, so many seconds after its beginning."""
        self._newest = seconds, fraction
        if not self._readings or seconds - self._readings[-1][0] >= _STEP:
            self._readings.append(self._newest)
        while self._readings[0][0] < seconds - _WINDOW:
            self._readings.popleft()

    def seconds_left(self) -> float | None:
        """Return how long it will yet take at the pace of the window; None where nobody can tell."""
        if not self._readings or not _LEAST <= self._newest[1] < 1:
            return None
        (then, before), (now, fraction) = self._readings[0], self._newest
        if now <= then or fraction <= before:
            return None
        return (1 - fraction) * (now - then) / (fraction - before)

    def whole(self, so_far: float) -> float | None:
        """Return what the whole will have taken of something that the part done took `so_far` of; None at its end."""
        fraction = self._newest[1]
        return so_far / fraction if _LEAST <= fraction < 1 else None
