"""The worker's side of one model's limits per minute: a request goes when the driver has granted it."""

import math
from collections.abc import Callable

from agent_pipeline.control.rate import RateLog
from agent_pipeline.engines.messages import LimitsAnnounced, RateGrant, RateTaken, RateUsed, RateWanted

PATIENCE = 5.0
"""Seconds after which an answer that has not come is asked for again: it may have been lost."""

FEWEST, MOST = 4, 256
"""Requests asked for at a time: few at first, twice as many each time that they went at once."""

AT_ONCE = 1.0
"""Seconds."""

_RECENT = 1 / 32
"""What the newest request counts in the mean."""

RateReport = RateWanted | RateUsed | RateTaken | LimitsAnnounced


class RateLease:
    """A lane's rate, kept by the driver for all workers; a log of the worker's own while there is no limit.

    What is granted and not used is given back by `beat`; what is used is reported there, so that many ends are one
    report. Until then the driver counts it as in flight, so that nothing late is too much.

    Args:
        provider: of the lane.
        model: likewise.
        report: queues a report.
        urgent: lets queued reports leave at once.
        clock: seconds, the lane's.
    """

    def __init__(
        self,
        provider: str,
        model: str,
        report: Callable[[RateReport], object],
        urgent: Callable[[], object],
        clock: Callable[[], float],
    ) -> None:
        self._provider = provider
        self._model = model
        self._report = report
        self._urgent = urgent
        self._clock = clock
        self._log = RateLog()  # of what goes before it is leased
        self.is_leased = False
        self._announced: tuple[int | None, int | None] = (None, None)
        self._paused_until = -math.inf
        self._not_before = -math.inf
        self._requests = self._tokens = 0
        self._until = -math.inf
        self._granted_at = -math.inf
        self._last = 0
        self._asked: RateWanted | None = None
        self._asked_at = -math.inf
        self._number = 0
        self._size = FEWEST
        self._mean = 0.0
        self._used = self._used_reserved = self._used_tokens = 0

    # --- what the lane tells and asks --------------------------------------------------------------------------------

    def configure(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Lease from now on, if that is a limit; the driver knows its value."""
        if not self.is_leased and (requests_per_minute, tokens_per_minute) != (None, None):
            self.is_leased = True
            taken = self._log.so_far(self._clock())
            if any(taken):
                self._report(RateTaken(self._provider, self._model, *taken))

    def announce(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Tell the driver what the provider says, where that is new; keep to it alone until it answers."""
        before = self._announced
        self._announced = (requests_per_minute or before[0], tokens_per_minute or before[1])
        if self._announced != before:
            self._log.announce(*self._announced)
            self._report(LimitsAnnounced(self._provider, self._model, *self._announced))
            self._urgent()

    def pause(self, until: float) -> None:
        """Let nothing go before `until`, here and, where it is longer than what was told before, anywhere else."""
        if until > max(self._paused_until, self._clock()) + 0.05:
            self._report(LimitsAnnounced(self._provider, self._model, None, None, pause=until - self._clock()))
            self._urgent()
        self._paused_until = max(self._paused_until, until)
        self._log.pause(until)

    def reserve_nowait(self, now: float, tokens: int) -> bool:
        """Take a request of at most so many tokens out of what was granted; where that lacks, ask for more."""
        if not self.is_leased:
            return self._log.reserve_nowait(now, tokens)
        if now < self._paused_until:
            return False
        self._mean += (tokens - self._mean) * (_RECENT if self._mean else 1.0)
        if not self._has(tokens):
            self._ask(now, tokens)
            return False
        self._requests -= 1
        self._tokens -= tokens
        if 2 * self._requests < self._last:
            self._ask(now, math.ceil(self._mean))
        return True

    def release(self, tokens: int) -> None:
        """Take a request back for which nothing was sent: another may go for it."""
        if not self.is_leased:
            self._log.release(tokens)
            return
        self._requests += 1
        self._tokens += tokens

    def settle(self, now: float, *, reserved: int, actual: int) -> None:
        """Count a request that was sent, for the next report."""
        if not self.is_leased:
            self._log.settle(now, reserved=reserved, actual=actual)
            return
        self._used += 1
        self._used_reserved += reserved
        self._used_tokens += actual

    def earliest(self, now: float, tokens: int, *, with_open: bool = False) -> float:
        """Return when a request of so many tokens may go, as far as it is known here; inf: when the driver says so."""
        if not self.is_leased:
            return self._log.earliest(now, tokens, with_open=with_open)
        at = max(now, self._paused_until)
        if self._has(tokens):
            return at
        return math.inf if with_open and at <= now else max(at, self._not_before)

    # --- what the driver says ----------------------------------------------------------------------------------------

    def answer(self, grant: RateGrant) -> None:
        """Take a grant, or a word on when there will be one; what answers no open question was taken before."""
        if self._asked is None or grant.lease_id != self._asked.lease_id:
            return
        now = self._clock()
        if not grant.requests:
            self._not_before = now + grant.seconds
            self._asked_at = self._not_before
            return
        self._asked = None
        self._requests += grant.requests
        self._tokens += grant.tokens
        self._last = grant.requests
        self._granted_at = now
        self._until = now + grant.seconds

    # --- in between --------------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """Report what was used, give back what was not used in time; called a few times a second."""
        now = self._clock()
        idle = (0, 0)
        if now >= self._until and self._requests:
            self._size = max(FEWEST, self._size // 2)
            self._last = 0
            idle = self._empty()
        self._tell(*idle)
        if self._asked is not None and now >= self._asked_at + PATIENCE:
            self._asked_at = now
            self._report(self._asked)

    def close(self) -> None:
        """Report what was used, and give back all that is granted."""
        self._tell(*self._empty())

    def _has(self, tokens: int) -> bool:
        return self._requests >= 1 and self._tokens >= tokens

    def _empty(self) -> tuple[int, int]:
        idle = self._requests, self._tokens
        self._requests = self._tokens = 0
        return idle

    def _tell(self, idle_requests: int, idle_tokens: int) -> None:
        used = self._used, self._used_reserved, self._used_tokens
        if any(used) or idle_requests or idle_tokens:
            self._used = self._used_reserved = self._used_tokens = 0
            self._report(RateUsed(self._provider, self._model, *used, idle_requests, idle_tokens))

    def _ask(self, now: float, tokens: int) -> None:
        """Ask for more, the next of which is to have so many tokens, unless a question is open."""
        if self._asked is not None:
            return
        if now < self._granted_at + AT_ONCE:
            self._size = min(MOST, 2 * self._size)
        if not self._has(tokens):
            self._tell(*self._empty())
        self._number += 1
        self._asked = RateWanted(
            f"{self._provider} {self._model}#{self._number}",
            self._provider,
            self._model,
            self._size,
            tokens + math.ceil((self._size - 1) * self._mean),
            tokens,
        )
        self._asked_at = now
        self._report(self._asked)
        self._urgent()
