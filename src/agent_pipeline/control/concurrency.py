"""How many requests may be in flight at once: found out from what the provider refuses. Pure: no clock of its own."""

import math
from dataclasses import dataclass
from typing import Literal

Reason = Literal["doubled", "rate_limited", "recovered", "probed", "confirmed", "configured"]

DECREASE = 0.8
"""What one episode of 429s leaves of the limit."""

GROWTH_HOLD = 15.0
"""Seconds without growth after a 5xx, a timeout or a lost connection; they say nothing about the limit itself."""

FIRST_PROBE, LONGEST_PROBE = 60.0, 600.0
"""Seconds from a refusal to the next try above the highest level that went well; doubled by every refusal."""

TRIAL = 20.0
"""Seconds that a level above that has to go well before it counts; a bucket of requests empties slowly."""


@dataclass(frozen=True, slots=True)
class LimitChange:
    """One change of a limit, and why."""

    old: int
    new: int
    reason: Reason


class AdaptiveLimit:
    """The limit on requests in flight of one lane, between two bounds.

    It doubles while all goes well and it is used. From the first 429 on it remembers the highest level that is not
    known to be refused (`_stable`): an episode of 429s takes a fifth away, once; what is missing to that level comes
    back by halves, one round at a time; and rarely, ever more rarely after refusals, it tries one more than that. A
    level that goes well for a while becomes the new one, and the next step up is twice as large, so that a capacity
    that grew is found. Refused at a level that had gone well (a capacity in requests per second fluctuates, others may
    share it), it takes steps down that double.

    An episode is everything that was sent before the decrease: however many of those are refused, they count once.

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
        self._clean = 0
        self._is_used = False
        self._hold_until = -math.inf
        self._stable: int | None = None
        self._step_up = 1
        self._step_down = 1
        self._probe_period = FIRST_PROBE
        self._probe_at = math.inf
        self._trial_began = -math.inf

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
        if self._clean < self.limit or not self._is_used or now < self._hold_until:
            return None
        return self._grow(now)

    def on_rate_limited(self, now: float, *, number: int, in_flight: int) -> LimitChange | None:
        """Take a refusal into account; return the change where it begins an episode. Arguments as for `on_success`."""
        if number <= self._changed_after:
            if self._stable is not None:  # of the same episode; the least that was refused tells most
                self._stable = max(min(self._stable, in_flight - 1), self.limit)
            return None
        old, new = self.limit, max(self._minimum, min(self.limit - 1, int(self.limit * DECREASE)))
        if self._stable is None:
            self._stable = in_flight - 1
        elif in_flight <= self._stable:
            self._stable = in_flight - self._step_down
            self._step_down *= 2
        self._stable = max(self._stable, new)
        self._step_up = 1
        self._probe_at = now + self._probe_period
        self._probe_period = min(2 * self._probe_period, LONGEST_PROBE)
        return self._change(new, "rate_limited", old)

    def on_failure(self, now: float) -> None:
        """Stop growing for a while: the provider, or the way to it, is in trouble."""
        self._hold_until = now + GROWTH_HOLD
        self._clean = 0

    def set_bounds(self, minimum: int, maximum: int) -> LimitChange | None:
        """Move the bounds; a limit outside goes to the nearer one. What is in flight above it is left alone."""
        if not 1 <= minimum <= maximum:
            msg = f"1 <= minimum <= maximum is wanted, not {minimum}, {maximum}"
            raise ValueError(msg)
        self._minimum, self._maximum = minimum, maximum
        new = max(minimum, min(self.limit, maximum))
        if self._stable is not None:
            self._stable = max(minimum, min(self._stable, maximum))
        return self._change(new, "configured", self.limit)

    def _grow(self, now: float) -> LimitChange | None:
        """Take the next step up after a round of as many answers as may be in flight."""
        old, stable = self.limit, self._stable
        if stable is None:
            return self._change(min(2 * old, self._maximum), "doubled", old)
        if old < stable:
            return self._change(min(old + math.ceil((stable - old) / 2), self._maximum), "recovered", old)
        if old == stable:
            if now < self._probe_at:
                return None
            reason: Reason = "probed"
        else:
            if now < self._trial_began + TRIAL:
                return None
            reason = "confirmed"
            self._stable = old
            self._step_up = max(1, min(2 * self._step_up, old // 8))
            self._step_down = 1
            self._probe_period = max(self._probe_period / 2, FIRST_PROBE)
        self._trial_began = now
        return self._change(min(old + self._step_up, self._maximum), reason, old)

    def _change(self, new: int, reason: Reason, old: int) -> LimitChange | None:
        if new == old:
            return None
        self.limit = new
        self._changed_after = self._sent
        self._clean = 0
        self._is_used = False
        return LimitChange(old, new, reason)
