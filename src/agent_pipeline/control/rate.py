"""Requests and tokens per minute: a log that no 60 seconds at the provider can pass. Pure: no clock of its own."""

import math
from collections import deque
from typing import Protocol

WINDOW = 60.1
"""Seconds that count; a little over a minute, for clocks that differ."""

RUN = 0.1
"""Seconds of endings that are kept as one entry, counted from the last of them: at most 601 entries a lane."""


class Rate(Protocol):
    """What a lane asks before a request goes: a log of its own, or one that is kept for several processes."""

    def configure(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Replace the configured limits."""
        ...

    def announce(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Take over what the provider says its limits are; None leaves what it said before."""
        ...

    def pause(self, until: float) -> None:
        """Let nothing go before `until`."""
        ...

    def reserve_nowait(self, now: float, tokens: int) -> bool:
        """Count a request of at most so many tokens from now on, if it fits."""
        ...

    def release(self, tokens: int) -> None:
        """Take a reservation back: nothing was sent for it."""
        ...

    def settle(self, now: float, *, reserved: int, actual: int) -> None:
        """End a reservation whose request was sent."""
        ...

    def earliest(self, now: float, tokens: int, *, with_open: bool = False) -> float:
        """Return when a request of so many tokens may fit, as far as that is known."""
        ...


class _Run:
    __slots__ = ("began", "ended", "requests", "tokens")

    def __init__(self, began: float) -> None:
        self.began = self.ended = began
        self.requests = 0
        self.tokens = 0


class RateLog:
    """What counts against the limits per minute of one lane.

    When a request arrived is not known here, only that it was between its sending and its end. So it counts from the
    one until a minute after the other; then no window of 60 seconds, wherever it begins, holds more than the limit.
    Tokens count by their worst case until the end is known. One request whose worst case alone is over the limit goes
    when nothing else counts: the bound is a pessimistic one, and it would never go otherwise.

    Args:
        requests_per_minute: None for no limit.
        tokens_per_minute: likewise.
    """

    def __init__(self, requests_per_minute: int | None = None, tokens_per_minute: int | None = None) -> None:
        self._configured = (requests_per_minute, tokens_per_minute)
        self._announced: tuple[int | None, int | None] = (None, None)
        self._requests: int | None = requests_per_minute
        self._tokens: int | None = tokens_per_minute
        self._runs: deque[_Run] = deque()
        self._ended_requests = self._ended_tokens = 0
        self._open_requests = self._open_tokens = 0
        self._paused_until = -math.inf

    @property
    def limits(self) -> tuple[int | None, int | None]:
        """Requests and tokens per minute that hold: the stricter of what is configured and announced."""
        return self._requests, self._tokens

    def configure(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Replace the configured limits; what was sent already keeps counting."""
        self._configured = (requests_per_minute, tokens_per_minute)
        self._combine()

    def announce(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Take over what the provider says its limits are; None leaves what it said before."""
        before = self._announced
        self._announced = (requests_per_minute or before[0], tokens_per_minute or before[1])
        self._combine()

    def pause(self, until: float) -> None:
        """Let nothing go before `until`: the provider says that nothing is left; never shortens a longer pause."""
        self._paused_until = max(self._paused_until, until)

    def reserve_nowait(self, now: float, tokens: int) -> bool:
        """Count a request of at most so many tokens from now on, if it fits."""
        if self.earliest(now, tokens, with_open=True) > now:
            return False
        self.hold(tokens)
        return True

    def hold(self, tokens: int, *, requests: int = 1) -> None:
        """Count requests of at most so many tokens together from now on, whether or not they fit."""
        self._open_requests += requests
        self._open_tokens += tokens

    def room(self, now: float) -> tuple[float, float]:
        """Return how many requests may go now, and of how many tokens together; inf without a limit."""
        if self._paused_until > now:
            return 0.0, 0.0
        self._expire(now)
        requests = math.inf if self._requests is None else self._requests - self._ended_requests - self._open_requests
        tokens = math.inf if self._tokens is None else self._tokens - self._ended_tokens - self._open_tokens
        return max(0.0, requests), max(0.0, tokens)

    def so_far(self, now: float) -> tuple[int, int, int, int]:
        """Return requests in flight and their tokens, then requests that ended within the last minute, and theirs."""
        self._expire(now)
        return self._open_requests, self._open_tokens, self._ended_requests, self._ended_tokens

    def release(self, tokens: int, *, requests: int = 1) -> None:
        """Take a reservation back: nothing was sent for it."""
        self._open_requests -= requests
        self._open_tokens -= tokens

    def settle(self, now: float, *, reserved: int, actual: int, requests: int = 1) -> None:
        """End a reservation whose requests were sent: `actual` tokens count for another minute."""
        self.release(reserved, requests=requests)
        run = self._runs[-1] if self._runs else None
        if run is None or now > run.began + RUN:
            run = _Run(now)
            self._runs.append(run)
        run.ended = now
        run.requests += requests
        run.tokens += actual
        self._ended_requests += requests
        self._ended_tokens += actual
        self._expire(now)

    def earliest(self, now: float, tokens: int, *, with_open: bool = False) -> float:
        """Return when a request of so many tokens may fit; `now` where it may already.

        Args:
            now: the time.
            tokens: its worst case.
            with_open: count what is in flight, which then keeps others out for ever. Without, it is taken to leave
                nothing behind: a bound that no wait falls below.
        """
        at = max(now, self._paused_until)
        if self._requests is None and self._tokens is None:
            return at
        self._expire(now)
        requests, spent = self._ended_requests, self._ended_tokens
        if with_open:
            requests += self._open_requests
            spent += self._open_tokens
        free_requests = math.inf if self._requests is None else self._requests
        free_tokens = math.inf if self._tokens is None else max(self._tokens, tokens)
        for run in self._runs:
            if requests + 1 <= free_requests and spent + tokens <= free_tokens:
                return at
            at = max(at, run.ended + WINDOW)
            requests -= run.requests
            spent -= run.tokens
        return at if requests + 1 <= free_requests and spent + tokens <= free_tokens else math.inf

    def _expire(self, now: float) -> None:
        while self._runs and self._runs[0].ended + WINDOW <= now:
            run = self._runs.popleft()
            self._ended_requests -= run.requests
            self._ended_tokens -= run.tokens

    def _combine(self) -> None:
        self._requests = _stricter(self._configured[0], self._announced[0])
        self._tokens = _stricter(self._configured[1], self._announced[1])


def _stricter(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)
