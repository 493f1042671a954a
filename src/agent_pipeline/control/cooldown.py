"""The pause all of a lane share after a 429, and the way back: one probe, then waves. Pure: no clock of its own."""

import math
from typing import Literal

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 60.0
"""Seconds of pause after one probe was refused, doubled for each further one in a row; more where more is asked for."""

SHORTEST_WAVE, LONGEST_WAVE = 0.1, 0.5
"""Bounds of the time between two waves, which is as long as the probe took: time to see whether one is refused."""


class Cooldown:
    """Decides who may go after a refusal: nobody before its end, then one, then 2, 4, 8... at a time.

    A pause that begins, or grows, takes back all permissions that were given before and not used: each carries the
    epoch it was given in.

    Attributes:
        end: when the pause ends, or ended; -inf where there was none.
        epoch: counts the pauses, extensions included.
    """

    def __init__(self) -> None:
        self.end = -math.inf
        self.epoch = 0
        self._state: Literal["open", "paused", "probing", "waves"] = "open"
        self._refused_probes = 0
        self._wave = 0  # size of the current one
        self._left = 0  # of the current wave
        self._interval = 0.0
        self._next_wave_at = 0.0

    def begin(self, now: float, delay: float) -> None:
        """Let nobody go for `delay` seconds; never shortens a longer pause."""
        self.end = max(self.end, now + delay)
        self.epoch += 1
        self._state = "paused"

    def refuse_probe(self, now: float) -> None:
        """Pause again after the probe was refused, each time in a row twice as long as the time before."""
        self._refused_probes += 1
        self.begin(now, min(SHORTEST_PAUSE * 2.0 ** min(self._refused_probes, 60), LONGEST_PAUSE))

    def may_go(self, now: float, limit: int) -> bool:
        """Tell whether one request may go now; `limit` is how many the waves lead up to."""
        if self._state == "waves":
            self._advance(now, limit)
        match self._state:
            case "paused":
                return now >= self.end
            case "waves":
                return self._left > 0
            case _:
                return self._state == "open"

    def go(self) -> bool:
        """Take the permission that `may_go` gave; return whether it is the probe's."""
        if self._state == "waves":
            self._left -= 1
        if self._state != "paused":
            return False
        self._state = "probing"
        return True

    def opens_at(self) -> float:
        """When time alone may change what `may_go` says; -inf where it can not."""
        if self._state == "paused":
            return self.end
        return self._next_wave_at if self._state == "waves" and self._left <= 0 else -math.inf

    def hand_on(self, epoch: int) -> None:
        """Let another be the probe: the one of this epoch was cancelled, or never left."""
        if epoch == self.epoch and self._state == "probing":
            self._state = "paused"  # its end is past

    def pass_probe(self, epoch: int, now: float, took: float) -> None:
        """Let waves follow the probe of this epoch, which ended otherwise than by a 429."""
        if epoch != self.epoch or self._state != "probing":
            return
        self._refused_probes = 0
        self._state = "waves"
        self._wave = self._left = 2
        self._interval = min(max(took, SHORTEST_WAVE), LONGEST_WAVE)
        self._next_wave_at = now + self._interval

    def _advance(self, now: float, limit: int) -> None:
        while now >= self._next_wave_at and self._state == "waves":
            self._wave *= 2
            self._left = self._wave
            self._next_wave_at += self._interval
            if self._wave >= limit:
                self._state = "open"
