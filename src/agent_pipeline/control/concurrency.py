"""How many requests may be in flight at once: found out from what the provider refuses. Pure: no clock of its own."""

import math
from dataclasses import dataclass
from typing import Literal

Reason = Literal["doubled", "rate_limited", "recovered", "probed", "confirmed", "configured"]

DECREASE = 0.8
"""What one episode of 429s leaves of the limit."""

GROWTH_HOLD = 15.0
"""Seconds without growth after a 5xx, a timeout or a lost connection; they say nothing about the limit itself."""

CLEAN_ROUNDS = 2
"""Rounds of good answers in a row that end this earlier: one failure among a hundred is no trouble."""

FIRST_PROBE, LONGEST_PROBE = 120.0, 1200.0
"""Seconds from a refusal to the next try above all that is known to go well; doubled when that is refused."""

TRIAL = 20.0
"""Seconds that a level has to go well before it counts; a bucket of requests empties slowly."""

AT_ONCE = 1.0
"""Seconds; what is refused so soon after a step up, or after the first of an episode, tells how many had room."""

FINE = 25
"""The search ends where what went well and what was refused are less than one part in so many apart."""


@dataclass(frozen=True, slots=True)
class LimitChange:
    """One change of a limit, and why."""

    old: int
    new: int
    reason: Reason


class AdaptiveLimit:
    """The limit on requests in flight of one lane, between two bounds.

    It doubles while all goes well and it is used. An episode of 429s takes a fifth away, once: it is everything that
    was sent before the decrease, however many of those are refused. From the first one on growth is a search between
    the level that went well and the level that was refused, one trial at a time. Where a step up is refused at once,
    as it is by a provider that counts requests in flight, those that were let in tell the capacity exactly. Where it is
    refused later, as by one that counts requests per second, the search halves the distance. Once that is small it
    rests, and looks for a capacity that grew rarely, and ever more rarely when refused: by one, then by steps that
    double with every trial passed.

    Args:
        start: the limit at first.
        minimum: what it never falls below.
        maximum: what it never exceeds.

    Attributes:
        limit: requests that may be in flight now.
    """

    def __init__(self, start: int, minimum: int, maximum: int) -> None:
        if not 1 <= minimum <= start <= maximum:
            msg = f"1 <= minimum <= start <= maximum is wanted, not {minimum}, {start}, {maximum}"
            raise ValueError(msg)
        self.limit = start
        self._minimum = minimum
        self._maximum = maximum
        self._sent = 0
        self._changed_after = 0  # requests up to this number were sent under another limit
        self._episode_after = 0  # requests up to this number belong to the last episode
        self._clean = 0
        self._is_used = False
        self._hold_until = -math.inf
        self._changed_at = -math.inf
        self._is_rising = True  # the last change was a step up
        self._is_doubling = True
        self._good = (start + 1) // 2  # the highest level that is taken to go well
        self._bad: int | None = None  # the lowest level that was refused
        self._base = 0  # what went well before the last look upwards
        self._is_looking = False
        self._doubted_until = -math.inf  # what that look found may be a bucket's doing
        self._step_up = 1
        self._step_down = 1
        self._probe_period = FIRST_PROBE
        self._probe_at = math.inf

    def on_send(self) -> int:
        """Count a request that is about to be sent; return its number, which its ending is reported with."""
        self._sent += 1
        return self._sent

    def on_success(self, now: float, *, number: int, in_flight: int) -> LimitChange | None:
        """Count an answer; return the change where it completes a round.

        Args:
            now: any clock that does not go back.
            number: the request's.
            in_flight: requests in flight when it was sent, itself included.
        """
        if number <= self._changed_after:
            return None
        self._clean += 1
        self._is_used |= in_flight >= self.limit
        if self._clean < self.limit or not self._is_used:
            return None
        if now < self._hold_until and self._clean < CLEAN_ROUNDS * self.limit:
            return None
        return self._grow(now)

    def on_rate_limited(self, now: float, *, number: int, in_flight: int) -> LimitChange | None:
        """Take a refusal into account; return the change where it begins an episode.

        Args:
            now: any clock that does not go back.
            number: the request's.
            in_flight: requests that are left in flight now. Where all that is too much was refused at once, those are
                the ones that had room.
        """
        is_same_episode = number <= self._episode_after
        is_at_once = self._is_rising and now <= self._changed_at + AT_ONCE
        if is_same_episode:
            if is_at_once:
                self._know(min(self._good, in_flight))
            return None
        self._learn(now, in_flight, is_at_once=is_at_once)
        self._is_doubling = False
        self._probe_at = now + self._probe_period
        self._episode_after = self._sent
        new = max(self._minimum, min(self.limit - 1, int(self.limit * DECREASE)))
        change = self._change(now, new, "rate_limited")
        self._changed_at = now
        self._is_rising = is_at_once
        return change

    def _learn(self, now: float, in_flight: int, *, is_at_once: bool) -> None:
        """Narrow the search after the first refusal of an episode, with so many left in flight."""
        refused = in_flight + 1
        if is_at_once and (in_flight >= self._good or self._is_doubling):
            self._know(in_flight)
        elif now < self._doubted_until and self._base < refused <= self._good and refused * 3 <= self._base * 4:
            self._know(self._base)
        elif refused <= self._good:  # what had gone well: a rate fluctuates, and others may share it
            down = min(max(1, refused // FINE) * self._step_down, max(1, refused // 8))
            self._step_down *= 2
            self._know(refused - down)
        elif self._is_looking and refused * 3 <= self._base * 4:
            self._know(self._base)
        else:
            self._bad = refused
        if self._is_looking:
            self._is_looking = False
            self._doubted_until = now + FIRST_PROBE
            self._probe_period = min(2 * self._probe_period, LONGEST_PROBE)

    def _know(self, good: int) -> None:
        """Take a level for the highest that goes well; no search is needed."""
        self._good = max(good, self._minimum)
        self._bad = self._good + 1

    def on_failure(self, now: float) -> None:
        """Stop growing for a while: the provider, or the way to it, is in trouble."""
        self._hold_until = now + GROWTH_HOLD
        self._clean = 0

    def set_bounds(self, now: float, minimum: int, maximum: int) -> LimitChange | None:
        """Move the bounds; a limit outside goes to the nearer one. What is in flight above it is left alone."""
        if not 1 <= minimum <= maximum:
            msg = f"1 <= minimum <= maximum is wanted, not {minimum}, {maximum}"
            raise ValueError(msg)
        self._minimum, self._maximum = minimum, maximum
        self._good = max(minimum, min(self._good, maximum))
        return self._change(now, max(minimum, min(self.limit, maximum)), "configured")

    def _grow(self, now: float) -> LimitChange | None:
        """Take the next step up after a round of as many answers as may be in flight."""
        limit, goal = self.limit, self._goal()
        if self._is_doubling:
            self._good = limit
            return self._change(now, 2 * limit, "doubled")
        if limit < goal:
            return self._change(now, goal, "recovered" if goal == self._good else "probed")
        return self._pass_trial(now) if now >= self._changed_at + TRIAL else None

    def _pass_trial(self, now: float) -> LimitChange | None:
        """Take a level that went well for a while as known; go on with the search, or look upwards when it is time."""
        limit = self.limit
        if limit > self._good and self._bad is not None:
            self._good = limit
            return self._change(now, self._goal(), "probed")
        if limit > self._good:
            self._good = limit
            self._step_up = max(1, min(2 * self._step_up, limit // 4))
            return self._change(now, limit + self._step_up, "confirmed")
        if now < self._probe_at:
            return None
        self._base, self._bad, self._is_looking = limit, None, True
        self._step_up = self._step_down = 1
        return self._change(now, limit + 1, "probed")

    def _goal(self) -> int:
        """Return the next level of the search: half way, or what went well where that is near enough."""
        if self._bad is None or self._bad - self._good <= 1 + self._good // FINE:
            return self._good
        return (self._good + self._bad) // 2

    def _change(self, now: float, new: int, reason: Reason) -> LimitChange | None:
        old, new = self.limit, max(self._minimum, min(new, self._maximum))
        if new == old:
            return None
        self.limit = new
        self._is_rising = new > old
        self._changed_at = now
        self._changed_after = self._sent
        self._clean = 0
        self._is_used = False
        return LimitChange(old, new, reason)
