"""One lane per provider and model: how many requests may be in flight, when the next may go, whether any may at all."""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from agent_pipeline.control.allowance import RateHeaders
from agent_pipeline.control.concurrency import AdaptiveLimit, LimitChange
from agent_pipeline.control.cooldown import SHORTEST_PAUSE, Cooldown
from agent_pipeline.control.line import Line, Obstacle, Place, WaitIsTooLongError
from agent_pipeline.control.rate import Rate, RateLog
from agent_pipeline.domain.usage import WaitReason
from agent_pipeline.errors import (
    AttemptTimeoutError,
    ConnectionLostError,
    ProviderError,
    ProviderUnreachableError,
    RateLimitedError,
    ServerError,
)

_IN_TROUBLE = (ServerError, AttemptTimeoutError, ConnectionLostError, ProviderUnreachableError)
"""What stops the limit's growth for a while."""


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """A snapshot: requests in flight, the limit, callers waiting, seconds of cooldown left."""

    in_flight: int
    limit: int
    waiting: int
    cooldown: float


class Lane:
    """Gives places in flight, fairly over documents, when no limit and no pause speaks against it.

    The lane owns the cooldown, not the task that met the 429: cancelling that task ends nobody's pause. After it one
    request goes as a probe, and the others wait for its ending. The lane can be closed for good, and then whoever
    waits in it, or comes later, gets the error that closed it.

    Args:
        limit: requests in flight.
        rate: requests and tokens per minute.
        on_limit: told of every change of the limit.
        on_pause: told how long nobody may send, when a request of this lane was refused.
    """

    def __init__(
        self,
        limit: AdaptiveLimit,
        rate: Rate | None = None,
        on_limit: Callable[[LimitChange], None] | None = None,
        on_pause: Callable[[float], None] | None = None,
    ) -> None:
        self._limit = limit
        self._rate = rate or RateLog()
        self._on_limit = on_limit
        self._on_pause = on_pause
        self._cooldown = Cooldown()
        self._line = Line(self._take, self.release)
        self._in_flight = 0
        self._suspended = 0
        self._newest_headers = 0
        self._refusal: ProviderError | None = None
        self._sleeping: set[trio.CancelScope] = set()

    # --- open or closed ----------------------------------------------------------------------------------------------

    def close(self, error: ProviderError) -> None:
        """Let nobody send any more, because of `error`; the first one stays the reason."""
        if self._refusal is None:
            self._refusal = error
            self._line.send_all_away()
            for scope in self._sleeping:
                scope.cancel()

    @property
    def is_closed(self) -> bool:
        """Whether nobody may send any more."""
        return self._refusal is not None

    def reopen(self) -> None:
        """Let requests go again, with all that the lane has learnt; for when nobody is left who met the error."""
        self._refusal = None

    def check_open(self) -> None:
        """Raise the error that closed the lane, as a fresh one that names the first as its cause."""
        first = self._refusal
        if first is not None:
            kind = type(first)
            again = kind.__new__(kind, *first.args)  # its own signature is not known here
            vars(again).update(vars(first))
            raise again from first

    async def sleep_until(self, deadline: float) -> None:
        """Sleep while the lane is open; then raise what closed it."""
        with self._while_open():
            await trio.sleep_until(deadline)

    @contextmanager
    def _while_open(self) -> Generator[None]:
        """Break the one wait inside off when the lane is closed; one that was over before that stays as it ended."""
        self.check_open()
        with trio.CancelScope() as scope:
            self._sleeping.add(scope)
            try:
                yield
            finally:
                self._sleeping.discard(scope)
        if scope.cancelled_caught:
            self.check_open()

    # --- pauses and limits -------------------------------------------------------------------------------------------

    def cool_down(self, delay: float) -> None:
        """Let nobody send for `delay` seconds from now, since a request was refused; never shortens a longer pause.

        Who waits and could not wait that long is told so now.
        """
        self.share_pause(delay)
        if self._on_pause is not None:
            self._on_pause(delay)

    def share_pause(self, delay: float) -> None:
        """Do as in `cool_down`, for a refusal that another process met."""
        self._cooldown.begin(trio.current_time(), delay)
        self._line.refuse_impatient(self._cooldown.end)
        self._line.move_on()

    def cooldown_end(self) -> float:
        """When the pause ends, or ended, on Trio's clock; -inf where there was none yet."""
        return self._cooldown.end

    def not_before(self, tokens: int) -> float:
        """When a request may go at the earliest, as far as pauses and limits per minute decide it."""
        return max(self._cooldown.end, self._rate.earliest(trio.current_time(), tokens))

    def set_bounds(self, minimum: int, maximum: int) -> None:
        """Move the bounds of the limit; nothing in flight is cancelled, nobody is let in until it is below."""
        self._tell(self._limit.set_bounds(trio.current_time(), minimum, maximum))
        self._line.move_on()

    def set_rate(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Replace the configured limits per minute; what was sent already counts."""
        self._rate.configure(requests_per_minute, tokens_per_minute)
        self._line.move_on()

    def rate_changed(self) -> None:
        """Look again whether somebody may go: what the rate says has changed by itself."""
        now = trio.current_time()
        if (until := self._rate.earliest(now, 0)) > now:
            self._line.refuse_impatient(until)
        self._line.move_on()

    # --- places ------------------------------------------------------------------------------------------------------

    def acquire_nowait(self, tokens: int) -> Place | None:
        """Take a place if nobody waits, no pause or limit speaks against it and the lane is open; else None."""
        if self._line or self._refusal is not None:
            return None
        taken = self._take(tokens)
        return taken if isinstance(taken, Place) else None

    async def acquire(
        self,
        document_id: str | None,
        *,
        tokens: int,
        deadline: float = math.inf,
        waits: dict[WaitReason, float] | None = None,
        first: bool = False,
    ) -> Place:
        """Wait in line for a place, taken at an instant without a pause and with room per minute.

        Arguments as for `Line.wait`.

        Raises:
            WaitIsTooLongError: as soon as that is known. Nothing is held, as after a cancellation.
            ProviderError: the lane was closed.
        """
        waits = {} if waits is None else waits
        while True:
            self.check_open()
            try:
                place = await self._line.wait(document_id, tokens=tokens, deadline=deadline, waits=waits, first=first)
            except WaitIsTooLongError:
                self.check_open()
                raise
            if self._refusal is None and self.permits(place):
                return place
            self.release(place)  # a pause began, or the lane was closed, after its turn had come
            first = True

    def suspend(self, place: Place) -> None:
        """Keep a place while its request waits for something else; it has no permission to send meanwhile."""
        self._withdraw(place)
        self._suspended += 1
        place.is_suspended = True
        self._line.move_on()

    def resume_nowait(self, place: Place) -> bool:
        """Give a suspended place its permission again, if there is one now."""
        now = trio.current_time()
        if not self._cooldown.may_go(now, self._limit.limit) or not self._rate.reserve_nowait(now, place.tokens):
            return False
        self._suspended -= 1
        self._in_flight += 1
        place.is_suspended = False
        place.is_probe = self._cooldown.go()
        place.epoch = self._cooldown.epoch
        place.number = self._limit.on_send()
        place.in_flight = self._in_flight
        place.taken_at = now
        self._line.move_on()  # what holds the others up is the number of places from now on
        return True

    def permits(self, place: Place) -> bool:
        """Whether the request of this place may still be sent: no pause began since it got it."""
        return place.epoch == self._cooldown.epoch

    def release(self, place: Place) -> None:
        """Give back a place for which nothing was sent."""
        if place.is_suspended:
            self._suspended -= 1
        else:
            self._withdraw(place)
        self._line.move_on()

    def end(
        self,
        place: Place,
        error: BaseException | None,
        *,
        dispatched: bool,
        tokens: int,
        headers: RateHeaders | None = None,
    ) -> None:
        """Give back the place of a request that ended so, and learn from it.

        Args:
            place: the request's.
            error: None for an answer.
            dispatched: whether it may have reached the provider.
            tokens: count for another minute.
            headers: what the answer says about limits.
        """
        if not dispatched and not isinstance(error, ProviderError):
            self.release(place)
            return
        now = trio.current_time()
        self._in_flight -= 1
        if dispatched:
            self._rate.settle(now, reserved=place.tokens, actual=tokens)
        else:
            self._rate.release(place.tokens)
        if headers is not None:
            self._observe(place, headers, now)
        if isinstance(error, RateLimitedError):
            self._take_refusal(place, now, error.retry_after)
        elif error is None or isinstance(error, ProviderError):
            self._take_answer(place, now, error)
        elif place.is_probe:
            self._cooldown.hand_on(place.epoch)
        self._line.move_on()

    def statistics(self) -> LaneStatistics:
        """Snapshot of the lane."""
        return LaneStatistics(
            in_flight=self._in_flight + self._suspended,
            limit=self._limit.limit,
            waiting=len(self._line),
            cooldown=max(0.0, self._cooldown.end - trio.current_time()),
        )

    # --- how ---------------------------------------------------------------------------------------------------------

    def _take_refusal(self, place: Place, now: float, retry_after: float | None) -> None:
        if place.is_probe and place.epoch == self._cooldown.epoch:
            self._cooldown.refuse_probe(now)  # one alone says nothing about how many may go
        else:
            self._tell(self._limit.on_rate_limited(now, number=place.number, in_flight=self._in_flight))
        self._cooldown.begin(now, max(SHORTEST_PAUSE, retry_after or 0.0))

    def _take_answer(self, place: Place, now: float, error: ProviderError | None) -> None:
        if place.is_probe:
            self._cooldown.pass_probe(place.epoch, now, now - place.taken_at)
        if isinstance(error, _IN_TROUBLE):
            self._limit.on_failure(now)
        else:  # a bad request, or a bad answer, was worked on all the same
            self._tell(self._limit.on_success(now, number=place.number, in_flight=place.in_flight))

    def _observe(self, place: Place, headers: RateHeaders, now: float) -> None:
        """Take over what an answer says about limits; older answers than the newest say nothing."""
        if place.number < self._newest_headers:
            return
        self._newest_headers = place.number
        self._rate.announce(headers.requests.per_minute(), headers.tokens.per_minute())
        pause = max(headers.requests.pause(), headers.tokens.pause())
        if pause > 0:
            self._rate.pause(now + pause)
            self._line.refuse_impatient(now + pause)

    def _tell(self, change: LimitChange | None) -> None:
        if change is not None and self._on_limit is not None:
            self._on_limit(change)

    def _take(self, tokens: int) -> Place | Obstacle:
        """Give a place, or say what stands in the way; a pause comes first, it lasts longest."""
        now, limit = trio.current_time(), self._limit.limit
        if not self._cooldown.may_go(now, limit):
            return Obstacle("cooldown", self._cooldown.opens_at())
        if self._in_flight + self._suspended >= limit:
            # Who waits for budget keeps a place: without budget enough, more places would let nobody go.
            return Obstacle("admission" if self._in_flight >= limit else "budget")
        if not self._rate.reserve_nowait(now, tokens):
            # What is in flight may end at any time, or long after what ended before has stopped to count.
            again_at = self._rate.earliest(now, tokens, with_open=True)
            return Obstacle("rate", self._rate.earliest(now, tokens), again_at)
        self._in_flight += 1
        is_probe = self._cooldown.go()
        return Place(tokens, self._limit.on_send(), self._in_flight, self._cooldown.epoch, is_probe, now)

    def _withdraw(self, place: Place) -> None:
        self._in_flight -= 1
        self._rate.release(place.tokens)
        if place.is_probe:
            self._cooldown.hand_on(place.epoch)
