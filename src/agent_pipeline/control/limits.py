"""The limits every lane gets: those there are now, and those to come."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Protocol

from agent_pipeline.control.concurrency import AdaptiveLimit, LimitChange
from agent_pipeline.control.lane import Lane
from agent_pipeline.control.rate import Rate, RateLog


class Sharing(Protocol):
    """What the gates of several processes have in common, by provider and model; none of it blocks or raises."""

    def rate(self, provider: str, model: str) -> Rate:
        """Return what a new lane asks before a request goes."""
        ...

    def paused(self, provider: str, model: str, delay: float) -> None:
        """Learn that a request was refused and nobody may send for so many seconds."""
        ...

    def pause_left(self, provider: str, model: str) -> float:
        """Return for how many seconds more nobody may send, as others learned before there was a lane here."""
        ...


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """Limits of one lane, as they are configured.

    Attributes:
        requests_in_flight: where the limit starts, its minimum, its maximum; a number is a limit that stays.
        requests_per_minute: None for no limit.
        tokens_per_minute: likewise.
        sharing: with the gates of other processes; None where there are none.
    """

    requests_in_flight: int | tuple[int, int, int]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    sharing: Sharing | None = None

    def new_lane(self, provider: str, model: str, on_limit: Callable[[LimitChange], None]) -> Lane:
        """Make a lane with these limits."""
        limit = AdaptiveLimit(*self._in_flight())
        if self.sharing is None:
            return Lane(limit, RateLog(self.requests_per_minute, self.tokens_per_minute), on_limit)
        rate = self.sharing.rate(provider, model)
        rate.configure(self.requests_per_minute, self.tokens_per_minute)
        lane = Lane(limit, rate, on_limit, functools.partial(self.sharing.paused, provider, model))
        if (pause := self.sharing.pause_left(provider, model)) > 0:
            lane.share_pause(pause)
        return lane

    def changed(
        self,
        bounds: tuple[int, int] | None,
        requests_per_minute: int | EllipsisType | None,
        tokens_per_minute: int | EllipsisType | None,
    ) -> "LaneLimits":
        """Return the limits after a change; `...` and no bounds leave what is there.

        Raises:
            ValueError: a limit is not positive, or the bounds are not in order.
        """
        new = self
        if bounds is not None:
            minimum, maximum = bounds
            if not 1 <= minimum <= maximum:
                msg = f"1 <= minimum <= maximum is wanted, not {minimum}, {maximum}"
                raise ValueError(msg)
            new = replace(new, requests_in_flight=(max(minimum, min(new._in_flight()[0], maximum)), minimum, maximum))
        if not isinstance(requests_per_minute, EllipsisType):
            new = replace(new, requests_per_minute=_positive(requests_per_minute))
        if not isinstance(tokens_per_minute, EllipsisType):
            new = replace(new, tokens_per_minute=_positive(tokens_per_minute))
        return new

    def apply(self, lane: Lane) -> None:
        """Give a lane these limits; its limit on requests in flight moves only where the bounds make it."""
        _, minimum, maximum = self._in_flight()
        lane.set_bounds(minimum, maximum)
        lane.set_rate(self.requests_per_minute, self.tokens_per_minute)

    def _in_flight(self) -> tuple[int, int, int]:
        one = self.requests_in_flight
        return (one, one, one) if isinstance(one, int) else one


def _positive(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        msg = f"a limit per minute is a positive number, not {limit}"
        raise ValueError(msg)
    return limit
