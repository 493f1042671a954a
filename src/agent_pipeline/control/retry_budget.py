"""How many retries all calls of a lane may make together: a tenth of what succeeds, and a few anyway."""

import math

CAPACITY = 200
"""Tokens of a lane; half of them, 100, are the retries it may make before anything has succeeded.

That is a tenth of a run of a thousand documents: where nothing succeeds at all, 1,000 requests and 100 retries go out.
"""

FLOOR = 10.0
"""Retries per second that are granted whatever else fails (`minRetriesPerSec` of Twitter's Finagle has this default).

It is what a provider does not notice, and what small and slow runs live on: at twenty requests a second, with every
third failing, no document goes without.
"""

_TENTHS_PER_FAILURE, _TENTHS_PER_SUCCESS = 10, 1


class RetryBudget:
    """Tokens that failures take and successes give back: retry throttling of gRPC (proposal A6), with a floor.

    Without it a provider that fails for a part of all requests is asked up to `max_attempts` times as often, at the
    moment when it can bear it least.

    Args:
        capacity: tokens there are at first, and at most; no retries while half or fewer are left.
        floor: retries per second that go also then.
    """

    def __init__(self, capacity: int = CAPACITY, floor: float = FLOOR) -> None:
        if capacity < 0 or not 0 <= floor < math.inf:
            msg = f"a retry budget can't be negative or endless: capacity={capacity}, floor={floor}"
            raise ValueError(msg)
        self._full = capacity * _TENTHS_PER_FAILURE  # in tenths, so that ten successes are exactly one failure
        self._tenths = self._full
        self._floor = floor
        self._floor_left = max(floor, 1.0)
        self._floor_at = -math.inf

    @property
    def tokens(self) -> float:
        """Tokens left."""
        return self._tenths / _TENTHS_PER_FAILURE

    def succeed(self) -> None:
        """Count an answer: a tenth of a token more."""
        self._tenths = min(self._full, self._tenths + _TENTHS_PER_SUCCESS)

    def fail(self) -> None:
        """Count a failure that another attempt could heal: a token less, also where none is made."""
        self._tenths = max(0, self._tenths - _TENTHS_PER_FAILURE)

    def refill(self) -> None:
        """Begin anew: an outage is over, and what failed in it says nothing of what comes now."""
        self._tenths = self._full

    def grant(self, now: float) -> bool:
        """Tell whether one retry may go; what the floor grants is counted, within each second."""
        if 2 * self._tenths > self._full:
            return True
        if self._floor == 0:
            return False
        passed = now - self._floor_at
        self._floor_at = now
        self._floor_left = min(max(self._floor, 1.0), self._floor_left + passed * self._floor)
        if self._floor_left < 1:
            return False
        self._floor_left -= 1
        return True
