"""The driver's side of the limits per minute: which worker may send how much now, and who has to pause."""

from collections.abc import Callable

from agent_pipeline.engines.messages import (
    LimitsAnnounced,
    Pause,
    Paused,
    RateGrant,
    RateLimits,
    RateTaken,
    RateUsed,
    RateWanted,
)

RateReport = RateWanted | RateUsed | RateTaken | LimitsAnnounced | Paused
RateCommand = RateGrant | RateLimits | Pause


class RateLessor:
    """Spreads the limits per minute of each provider and model over the workers.

    The driver starts `run` in a nursery of its own and cancels it at its end; calls `join` when a worker says `Ready`,
    `take` for each `RateReport` of it, `revoke` when it was killed, was lost or is done, and `configure` after a limit
    was changed.

    Args:
        tell: sends a command to a worker, by its number; never blocks.
        requests_per_minute: as configured, for every provider and model; None for no limit.
        tokens_per_minute: likewise.
    """

    def __init__(
        self,
        tell: Callable[[int, RateCommand], object],
        *,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> None:
        self._tell = tell
        self._configured = (requests_per_minute, tokens_per_minute)

    async def run(self) -> None:
        """Give those who wait what time makes free, until cancelled."""
        raise NotImplementedError

    def join(self, worker: int) -> None:
        """Count a worker among those who share, and tell it what is limited."""
        raise NotImplementedError

    def take(self, worker: int, report: RateReport) -> None:
        """Take what a worker reports of its requests, of limits announced to it, of a pause it was asked for."""
        raise NotImplementedError

    def configure(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Replace the configured limits, for all workers."""
        raise NotImplementedError

    def revoke(self, worker: int) -> None:
        """Believe the worker nothing more; what it may have sent counts for another minute."""
        raise NotImplementedError
