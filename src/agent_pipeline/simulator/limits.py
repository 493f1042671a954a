"""Limits the provider keeps, for each model by itself: what came lately, what is in flight, and who gets a 429."""

import heapq
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from agent_pipeline.simulator.clock import MINUTE, SECOND, SlidingWindow
from agent_pipeline.simulator.conversation import Ask
from agent_pipeline.simulator.faults import CapacityFault, LimitFault, RateLimitFault, RetryAfter
from agent_pipeline.simulator.per_model import PerModel
from agent_pipeline.simulator.wire import BadRequestError, Headers, SimulatorReply, error_reply


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request at the moment it came.

    Attributes:
        now: that moment, on the simulator's clock.
        others_in_flight: what the player has in flight beside it, None where nobody plays.
    """

    ask: Ask
    now: float
    others_in_flight: int | None


class ModelLimit(ABC):
    """One limit for one model."""

    @abstractmethod
    def refusal(self, arrival: Arrival, /) -> SimulatorReply | None:
        """Return the 429 for a request that is above the limit, None where it passes; counts nothing."""

    @abstractmethod
    def take(self, arrival: Arrival, /) -> None:
        """Count a request that passes."""

    @abstractmethod
    def answered(self, arrival: Arrival, output_tokens: int, /) -> None:
        """Count what its answer adds."""

    @abstractmethod
    def replied(self, arrival: Arrival, reply: SimulatorReply, /) -> None:
        """Take note of how long its reply takes."""

    @abstractmethod
    def headers(self, arrival: Arrival, /) -> Iterator[tuple[str, str]]:
        """Yield what each reply says about the limit."""


@dataclass(slots=True)
class _Counted:
    """One thing that is counted, such as tokens in a minute."""

    unit: str
    long_name: str
    limit: int
    window: SlidingWindow

    def is_above(self, now: float, amount: int) -> bool:
        return self.window.sum(now) + amount > self.limit

    def refusal(self, arrival: Arrival, amount: int, told: RetryAfter) -> SimulatorReply:
        wait = self.window.seconds_until(arrival.now, self.limit - amount)
        used = self.window.sum(arrival.now)
        detail = f"{self.long_name}: Limit {self.limit}, Used {used}, Requested {amount}"
        return _too_many(arrival.ask.model, detail, wait, told)


class RateLimit(ModelLimit):
    """Requests and tokens in any 60 seconds: input counts on arrival, and decides; output counts with the answer.

    What is refused does not count, as it costs the provider nothing.
    """

    def __init__(self, fault: RateLimitFault) -> None:
        self._fault = fault
        self._requests = _counted("requests", "requests per min (RPM)", fault.requests_per_minute)
        self._tokens = _counted("tokens", "tokens per min (TPM)", fault.tokens_per_minute)

    def refusal(self, arrival: Arrival, /) -> SimulatorReply | None:
        """Return the 429 of the limit that takes longest to let it pass."""
        above = [
            (counted.window.seconds_until(arrival.now, counted.limit - amount), counted, amount)
            for counted, amount in self._amounts(arrival)
            if counted.is_above(arrival.now, amount)
        ]
        if not above:
            return None
        _, counted, amount = max(above, key=lambda one: one[0])
        return counted.refusal(arrival, amount, self._fault.retry_after)

    def take(self, arrival: Arrival, /) -> None:
        """Count the request and its input."""
        for counted, amount in self._amounts(arrival):
            counted.window.add(arrival.now, amount)

    def answered(self, arrival: Arrival, output_tokens: int, /) -> None:
        """Count the output."""
        if self._tokens is not None:
            self._tokens.window.add(arrival.now, output_tokens)

    def replied(self, _arrival: Arrival, _reply: SimulatorReply, /) -> None:
        """Nothing: what came has come, however long its reply takes."""

    def headers(self, arrival: Arrival, /) -> Iterator[tuple[str, str]]:
        """Yield limit, what is left, and the time until all of it is there again, as OpenAI writes them."""
        for counted in (self._requests, self._tokens) if self._fault.headers else ():
            if counted is not None:
                left = max(0, counted.limit - counted.window.sum(arrival.now))
                yield f"x-ratelimit-limit-{counted.unit}", str(counted.limit)
                yield f"x-ratelimit-remaining-{counted.unit}", str(left)
                yield f"x-ratelimit-reset-{counted.unit}", duration(counted.window.seconds_until(arrival.now, 0))

    def _amounts(self, arrival: Arrival, /) -> Iterator[tuple[_Counted, int]]:
        if self._requests is not None:
            yield self._requests, 1
        if self._tokens is not None:
            yield self._tokens, arrival.ask.input_tokens()


class Capacity(ModelLimit):
    """Requests at once, and in any second.

    A request is in flight until its reply would be whole. A client that leaves before frees its place only as far as
    the player has fewer in flight; never is a client refused that has no more in flight, in all, than the limit.
    """

    def __init__(self, fault: CapacityFault) -> None:
        self._fault = fault
        self._ends: list[float] = []
        self._seconds = _counted("requests", "requests per second", fault.requests_per_second, SECOND)

    def refusal(self, arrival: Arrival, /) -> SimulatorReply | None:
        """Return the 429 of the limit it is above."""
        most = self._fault.requests_in_flight
        in_flight = self._in_flight(arrival)
        if most is not None and in_flight >= most:
            wait = self._ends[0] - arrival.now
            detail = f"requests in flight: Limit {most}, Used {in_flight}, Requested 1"
            return _too_many(arrival.ask.model, detail, min(wait, MINUTE), self._fault.retry_after)
        if self._seconds is not None and self._seconds.is_above(arrival.now, 1):
            return self._seconds.refusal(arrival, 1, self._fault.retry_after)
        return None

    def take(self, arrival: Arrival, /) -> None:
        """Count the request."""
        if self._seconds is not None:
            self._seconds.window.add(arrival.now, 1)

    def answered(self, _arrival: Arrival, _output_tokens: int, /) -> None:
        """Nothing: tokens are not counted."""

    def replied(self, arrival: Arrival, reply: SimulatorReply, /) -> None:
        """Keep the request's place until its reply is whole."""
        if self._fault.requests_in_flight is not None:
            heapq.heappush(self._ends, reply.whole_at(arrival.now))

    def headers(self, _arrival: Arrival, /) -> Iterator[tuple[str, str]]:
        """Yield nothing: a capacity is hidden."""
        yield from ()

    def _in_flight(self, arrival: Arrival) -> int:
        if arrival.others_in_flight == 0:
            self._ends.clear()
        while self._ends and self._ends[0] <= arrival.now:
            heapq.heappop(self._ends)
        here = len(self._ends)
        return here if arrival.others_in_flight is None else min(here, arrival.others_in_flight)


def limits_of(fault: LimitFault) -> PerModel[ModelLimit]:
    """Return a limit of the plan: for each model by itself."""
    if isinstance(fault, RateLimitFault):
        return PerModel(partial(RateLimit, fault))
    return PerModel(partial(Capacity, fault))


def duration(seconds: float) -> str:
    """Write a time as OpenAI's headers do, rounded up to milliseconds.

    >>> duration(0), duration(0.02), duration(1), duration(12.5), duration(360)
    ('0s', '20ms', '1s', '12.5s', '6m0s')
    """
    milliseconds = _milliseconds(seconds)
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"


def _milliseconds(seconds: float) -> int:
    return math.ceil(round(seconds * 1000, 6))  # what is a whole number but for a rounding error stays it


def _counted(unit: str, long_name: str, limit: int | None, period: float = MINUTE) -> _Counted | None:
    return None if limit is None else _Counted(unit, long_name, limit, SlidingWindow(period))


def _too_many(model: str, detail: str, wait: float, told: RetryAfter) -> SimulatorReply:
    words = f"Rate limit reached for {model[:200]} on {detail}. Please try again in {duration(wait)}."
    error = BadRequestError(words, status=429, code="rate_limit_exceeded")
    return error_reply(error, _retry_after(wait, told))


def _retry_after(wait: float, told: RetryAfter) -> Headers:
    if isinstance(told, bool):
        exact = (("retry-after", str(math.ceil(wait))), ("retry-after-ms", str(_milliseconds(wait))))
        return exact if told else ()
    return (("retry-after", f"{told:.15g}"),)
