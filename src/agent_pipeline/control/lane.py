"""One lane per provider and model: how many requests are in flight, and until when all of them pause."""

import math
from dataclasses import dataclass

import trio


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """A snapshot: requests in flight, the limit, callers waiting, seconds of cooldown left."""

    in_flight: int
    limit: int
    waiting: int
    cooldown: float


class Lane:
    """Bounds requests in flight first come, first served, and holds the cooldown all of them share.

    The lane owns the cooldown, not the task that met the 429: cancelling that task ends nobody's pause.
    """

    def __init__(self, limit: int) -> None:
        self._limiter = trio.CapacityLimiter(limit)
        self._not_before = -math.inf

    def cool_down(self, delay: float) -> None:
        """Let nobody send for `delay` seconds from now; never shortens a longer pause."""
        self._not_before = max(self._not_before, trio.current_time() + delay)

    def cooldown_end(self) -> float:
        """When the pause ends, or ended, on Trio's clock; -inf where there was none yet."""
        return self._not_before

    async def wait_cooldown(self) -> None:
        """Sleep to the end of the pause as known now; it may grow meanwhile. Cancelling this ends nobody else's."""
        await trio.sleep_until(self._not_before)

    async def acquire(self, borrower: object) -> None:
        """Wait for one of the places in flight; cancelled, it holds none."""
        await self._limiter.acquire_on_behalf_of(borrower)

    def release(self, borrower: object) -> None:
        """Give the place back."""
        self._limiter.release_on_behalf_of(borrower)

    def statistics(self) -> LaneStatistics:
        """Snapshot of the lane."""
        limiter = self._limiter.statistics()
        return LaneStatistics(
            in_flight=limiter.borrowed_tokens,
            limit=int(limiter.total_tokens),
            waiting=limiter.tasks_waiting,
            cooldown=max(0.0, self._not_before - trio.current_time()),
        )
