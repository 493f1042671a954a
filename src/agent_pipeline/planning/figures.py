"""A number that is not known yet: at least, probably, at most."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """Three numbers, each None where it is unknown.

    Attributes:
        low: no run that finishes all documents needs less.
        expected: what is probable.
        high: no run needs more, as far as the assumptions of the plan hold.
    """

    low: int | None = None
    expected: int | None = None
    high: int | None = None

    def capped(self, cap: int | None) -> "Figures":
        """Return them under something that is never passed."""
        if cap is None:
            return self
        low, expected = (None if one is None else min(one, cap) for one in (self.low, self.expected))
        return Figures(low, expected, cap if self.high is None else min(self.high, cap))

    def as_object(self) -> dict[str, int | None]:
        """Return them by name."""
        return {"low": self.low, "expected": self.expected, "high": self.high}


def added(parts: Iterable[Figures]) -> Figures:
    """Return the sums; unknown where a part is."""
    listed = list(parts)

    def total(read: Callable[[Figures], int | None]) -> int | None:
        values = [read(one) for one in listed]
        return None if None in values else sum(value or 0 for value in values)

    return Figures(total(lambda one: one.low), total(lambda one: one.expected), total(lambda one: one.high))
