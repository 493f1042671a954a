"""Time as the simulator measures it: Trio's clock, so that it can be virtual; and the length of what came lately."""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

MINUTE: Final = 60.0
SECOND: Final = 1.0


def trio_time() -> float:
    """Return Trio's time; outside of Trio none passes."""
    return trio.current_time() if trio.lowlevel.in_trio_run() else 0.0


class Clock:
    """Seconds that never go back: a simulator may outlive several runs of Trio, each with its own clock."""

    def __init__(self, read: Callable[[], float] = trio_time) -> None:
        self._read = read
        self._last = 0.0
        self._offset = 0.0

    def now(self) -> float:
        """Return the time; while one clock is read, exactly what it says."""
        reading = self._read()
        if reading < self._last:
            self._offset += self._last - reading
        self._last = reading
        return reading + self._offset


class SlidingWindow:
    """The sum of what came in the last `period` seconds: what came at `t` counts until just before `t + period`.

    That is exact for any window: no stretch of `period` seconds ever held more than the largest sum seen.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._entries: deque[tuple[float, int]] = deque()  # when it stops counting, how much; in that order
        self._sum = 0

    def sum(self, now: float) -> int:
        """Return the sum at this moment; times may not go back."""
        while self._entries and self._entries[0][0] <= now:
            self._sum -= self._entries.popleft()[1]
        return self._sum

    def add(self, now: float, amount: int) -> int:
        """Count what comes at this moment; return the sum with it."""
        end = now + self._period
        if self._entries and self._entries[-1][0] == end:
            self._entries[-1] = (end, self._entries[-1][1] + amount)
        else:
            self._entries.append((end, amount))
        self._sum += amount
        return self.sum(now)

    def seconds_until(self, now: float, most: int) -> float:
        """Return how long it takes until the sum is `most` or less, if nothing more comes."""
        left = self.sum(now)
        if left <= most:
            return 0.0
        for end, amount in self._entries:
            left -= amount
            if left <= most:
                return end - now
        return self._period  # below zero it never comes; a client is told to wait for an empty window
