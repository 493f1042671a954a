"""What a provider's answer says about its limits per minute, and what to make of it."""

from dataclasses import dataclass

SHORTEST_MINUTE, LONGEST_MINUTE = 30.0, 120.0
"""Seconds; a limit whose refill takes this long is one per minute, however coarsely it is told."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is told about one limit; None for what is not.

    Attributes:
        limit: at most so many in a period that is not told.
        remaining: of them.
        reset: seconds until all of them are there again.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None

    def per_minute(self) -> int | None:
        """Return the limit if the rest of the answer speaks for a minute as its period, else None.

        Providers use the same header for limits per second, minute or day. A limit per day taken for one per minute
        does nothing; one per second would slow the lane down sixty times.
        """
        if not self.limit or self.remaining is None or self.reset is None or self.remaining >= self.limit:
            return None
        period = self.reset * self.limit / (self.limit - self.remaining)
        return self.limit if SHORTEST_MINUTE <= period <= LONGEST_MINUTE else None

    def pause(self) -> float:
        """Return for how many seconds nothing is left; 0 where something is, or the end is not told."""
        return self.reset or 0.0 if self.remaining == 0 else 0.0


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """The limits one answer tells."""

    requests: Allowance = Allowance()
    tokens: Allowance = Allowance()
