"""The driver's side of the limits per minute: which worker may send how much now, and who has to pause."""

import math
from collections import OrderedDict
from collections.abc import Callable

import trio

from agent_pipeline.control.rate import RateLog
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
TellOfRate = Callable[[int, RateCommand], object]

GRANT_LASTS = 1.0
"""Seconds in which a worker may use what it was granted; then it gives it back."""


class RateLessor:
    """Spreads the limits per minute of each provider and model over the workers.

    The driver starts `run` in a nursery of its own and cancels it at its end; calls `join` when a worker says `Ready`,
    `take` for each `RateReport` of it, `revoke` when it was killed, was lost or is done, and `configure` after a limit
    was changed. What a worker that was revoked, or has not joined, still reports counts for nothing.

    What is granted counts from then until a minute after its end was reported, so that no window of 60 seconds holds
    more than the limit, whatever a worker does with it.

    Args:
        tell: sends a command to a worker, by its number; never blocks.
        requests_per_minute: as configured, for every provider and model; None for no limit.
        tokens_per_minute: likewise.
    """

    def __init__(
        self, tell: TellOfRate, *, requests_per_minute: int | None = None, tokens_per_minute: int | None = None
    ) -> None:
        self._tell = tell
        self._configured = (requests_per_minute, tokens_per_minute)
        self._workers: dict[int, None] = {}
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._sleep = trio.CancelScope()

    async def run(self) -> None:
        """Give those who wait what time makes free, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._next_at()) as self._sleep:
                await trio.sleep_forever()
            for lane in self._lanes.values():
                lane.serve()

    def join(self, worker: int) -> None:
        """Count a worker among those who share, and tell it what is limited."""
        self._workers[worker] = None
        if self._configured != (None, None):
            self._tell(worker, RateLimits("", "", *self._configured))
        for lane in self._lanes.values():
            if lane.log.limits != (None, None):
                self._tell(worker, RateLimits(*lane.key, *lane.log.limits))

    def take(self, worker: int, report: RateReport) -> None:
        """Take what a worker reports of its requests, of limits announced to it, of a pause it was asked for."""
        if worker not in self._workers:
            return
        if isinstance(report, Paused):
            for other in self._workers:
                if other != worker:
                    self._tell(other, Pause(report.provider, report.model, report.seconds))
            return
        lane = self._lane(report.provider, report.model)
        match report:
            case RateWanted():
                lane.want(worker, report)
            case RateUsed():
                lane.used(worker, report)
            case RateTaken():
                lane.taken(worker, report)
            case LimitsAnnounced():
                self._announce(lane, report)
        lane.serve()
        self._set_alarm()

    def configure(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Replace the configured limits, for all workers."""
        self._configured = (requests_per_minute, tokens_per_minute)
        for worker in self._workers:
            self._tell(worker, RateLimits("", "", *self._configured))
        for lane in self._lanes.values():
            lane.log.configure(*self._configured)
            lane.serve()
        self._set_alarm()

    def revoke(self, worker: int) -> None:
        """Believe the worker nothing more; what it may have sent counts for another minute."""
        self._workers.pop(worker, None)
        for lane in self._lanes.values():
            lane.revoke(worker)
            lane.serve()
        self._set_alarm()

    def _announce(self, lane: "_Lane", report: LimitsAnnounced) -> None:
        before = lane.log.limits
        lane.log.announce(report.requests_per_minute, report.tokens_per_minute)
        if report.pause > 0:
            lane.log.pause(trio.current_time() + report.pause)
        if lane.log.limits != before:
            for worker in self._workers:
                self._tell(worker, RateLimits(*lane.key, *lane.log.limits))

    def _lane(self, provider: str, model: str) -> "_Lane":
        key = provider, model
        if key not in self._lanes:
            self._lanes[key] = _Lane(key, RateLog(*self._configured), self._tell)
        return self._lanes[key]

    def _next_at(self) -> float:
        return min((lane.next_at() for lane in self._lanes.values()), default=math.inf)

    def _set_alarm(self) -> None:
        self._sleep.deadline = self._next_at()


class _Lane:
    """One provider and model: its log, what each worker has of it, and who waits, in turn."""

    def __init__(self, key: tuple[str, str], log: RateLog, tell: TellOfRate) -> None:
        self.key = key
        self.log = log
        self._tell = tell
        self._held: dict[int, tuple[int, int]] = {}
        self._granted: dict[int, RateGrant] = {}
        self._waiting: OrderedDict[int, RateWanted] = OrderedDict()
        self._told: dict[int, float] = {}

    def want(self, worker: int, wanted: RateWanted) -> None:
        before = self._granted.get(worker)
        if before is not None and before.lease_id == wanted.lease_id:
            self._tell(worker, before)
        else:
            self._waiting.setdefault(worker, wanted)

    def used(self, worker: int, used: RateUsed) -> None:
        self._hold(worker, -used.requests - used.returned_requests, -used.reserved_tokens - used.returned_tokens)
        self.log.release(used.returned_tokens, requests=used.returned_requests)
        if used.requests:
            self._settle(used.requests, used.reserved_tokens, used.tokens)

    def taken(self, worker: int, taken: RateTaken) -> None:
        self._hold(worker, taken.open_requests, taken.open_tokens)
        self.log.hold(taken.open_tokens + taken.ended_tokens, requests=taken.open_requests + taken.ended_requests)
        if taken.ended_requests:
            self._settle(taken.ended_requests, taken.ended_tokens, taken.ended_tokens)

    def revoke(self, worker: int) -> None:
        self._waiting.pop(worker, None)
        self._granted.pop(worker, None)
        self._told.pop(worker, None)
        requests, tokens = self._held.pop(worker, (0, 0))
        if requests:
            self._settle(requests, tokens, tokens)

    def serve(self) -> None:
        """Give those who wait what may go now, in turn and in equal parts; tell the others when there may be more."""
        now = trio.current_time()
        while self._waiting:
            worker, wanted = next(iter(self._waiting.items()))
            if not self.log.reserve_nowait(now, wanted.first_tokens):
                self._tell_when(now)
                return
            others, other_tokens = self._share(now, wanted)
            self.log.hold(other_tokens, requests=others)
            requests, tokens = 1 + others, wanted.first_tokens + other_tokens
            del self._waiting[worker]
            self._told.pop(worker, None)
            self._hold(worker, requests, tokens)
            grant = RateGrant(wanted.lease_id, *self.key, requests, tokens, GRANT_LASTS)
            self._granted[worker] = grant
            self._tell(worker, grant)

    def next_at(self) -> float:
        """Return when time alone may let one go who waits; inf for never."""
        if not self._waiting:
            return math.inf
        first = next(iter(self._waiting.values()))
        return self.log.earliest(trio.current_time(), first.first_tokens, with_open=True)

    def _share(self, now: float, wanted: RateWanted) -> tuple[int, int]:
        """Return how many may go beside the first one, and with how many tokens."""
        room_requests, room_tokens = self.log.room(now)
        others = min(wanted.requests - 1, room_requests // len(self._waiting))
        if others < 1:
            return 0, 0
        each = (wanted.tokens - wanted.first_tokens) / (wanted.requests - 1)
        if each > 0:
            others = min(others, room_tokens // len(self._waiting) // each)
        return int(others), math.ceil(others * each)

    def _tell_when(self, now: float) -> None:
        for worker, wanted in self._waiting.items():
            at = self.log.earliest(now, wanted.first_tokens)
            if now + GRANT_LASTS < at < math.inf and at > self._told.get(worker, -math.inf):
                self._told[worker] = at
                self._tell(worker, RateGrant(wanted.lease_id, *self.key, 0, 0, at - now))

    def _hold(self, worker: int, requests: int, tokens: int) -> None:
        before = self._held.get(worker, (0, 0))
        self._held[worker] = before[0] + requests, before[1] + tokens

    def _settle(self, requests: int, reserved: int, actual: int) -> None:
        self.log.settle(trio.current_time(), reserved=reserved, actual=actual, requests=requests)
