"""The one place every request to a provider passes: admission, budget, deadline, charge, record, retry.

The gate knows nothing of HTTP. It takes any callable that makes one attempt, so that the HTTP transport and other
ways to a model share its limits.
"""

import functools
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import trio

from agent_pipeline.control.attempt_record import first_record, last_record
from agent_pipeline.control.budget import Dimension, Hold, RunBudget
from agent_pipeline.control.call import Attempt, Call
from agent_pipeline.control.deadline import time_left
from agent_pipeline.control.lane import Lane, LaneStatistics
from agent_pipeline.control.retry import Retries, RetryPolicy
from agent_pipeline.domain.usage import AttemptRecord, Usage, WaitReason
from agent_pipeline.errors import (
    AttemptTimeoutError,
    BudgetExceededError,
    ModelNotFoundError,
    ProviderError,
    RateLimitedError,
    WaitTooLongError,
)

AnswerT = TypeVar("AnswerT")

OnStall = Callable[[str | None, str, float], None]
"""Takes a document's id, what stood still, and for how many seconds."""


@dataclass(frozen=True, slots=True)
class GateStatistics:
    """Counts since the gate was made; `unknown_cost` says that some answer had no known price."""

    requests: int
    attempts: int
    usage: Usage
    unknown_cost: bool
    lanes: dict[tuple[str, str], LaneStatistics]


class Gate:
    """Decides for every request whether it may go, bounds it, charges it, records it and retries it.

    Order of one attempt: a place in flight, no cooldown and budget reserved at one instant, attempt deadline, record,
    send, charge, record. Waiting eats no attempt's time. On cancellation, and whatever else the sender raises, the
    place is given back, the reservation is charged in full if the request may have left (else released), and the
    attempt is recorded; all without a checkpoint.

    An error that ends the run (a refused key, an account without credit, an unknown model, a certificate) lets no
    request that would meet it go any more: those in flight are the last.

    Args:
        budget: of the run.
        retry: the policy for every call.
        requests_in_flight: per provider and model.
        attempt_timeout: seconds of one attempt from sending to the last byte; None for no limit.
        record: takes every attempt twice, as its first byte is about to leave (without an outcome) and at its end;
            one of which nothing left only at its end. Must not block. What it raises (a ledger that can't be written)
            keeps the request from leaving, or leaves the call in place of the attempt's own end; nothing is held then.
        on_stall: told of every attempt that was cut off in silence: document, what stood still, for how many seconds.
            The attempt is on record by then; must not block or raise.
        now: wall clock for records.
        rng: for jitter, and for the ids of calls and attempts; no two sessions of a run may draw the same.
    """

    def __init__(
        self,
        *,
        budget: RunBudget,
        retry: RetryPolicy,
        requests_in_flight: int,
        attempt_timeout: float | None,
        record: Callable[[AttemptRecord], None],
        now: Callable[[], datetime],
        rng: random.Random,
        on_stall: OnStall | None = None,
    ) -> None:
        self.budget = budget
        self._retry = retry
        self._limit = requests_in_flight
        self._attempt_timeout = attempt_timeout
        self._record = record
        self._on_stall = on_stall
        self._now = now
        self._rng = rng
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._refusals: dict[str, ProviderError] = {}
        self._budget_freed = trio.lowlevel.ParkingLot()
        self._requests = 0
        self._attempts = 0
        self._usage = Usage()
        self._unknown_cost = False

    def statistics(self) -> GateStatistics:
        """Snapshot of all counters."""
        lanes = {key: lane.statistics() for key, lane in self._lanes.items()}
        return GateStatistics(self._requests, self._attempts, self._usage, self._unknown_cost, lanes)

    async def call(self, call: Call, send: Callable[[Attempt], Awaitable[AnswerT]]) -> AnswerT:
        """Make attempts until one succeeds or the policy gives up; whatever else `send` raises goes out unchanged.

        Raises:
            ProviderError: of the last attempt; or of an attempt of another call that closed the lane, because every
                request to that provider (or of that model) would end like it. Then nothing was sent.
            BudgetExceededError: the worst case of this call no longer fits; nothing was sent.
            WaitTooLongError: a pause would outlast the deadline of the stage, document or run.
        """
        self._requests += 1
        lane = self._lane(call)
        retries = Retries(self._retry, self._rng)
        call_id = self._new_id()
        attempt = Attempt(1, self._new_id(), call_id)
        while True:
            try:
                return await self._try_once(call, lane, attempt, send)
            except ProviderError as exc:
                error = exc
            if error.disposition == "fail_run":
                self._close_lanes(call, error)
            another = retries.spend(error)
            if isinstance(error, RateLimitedError):
                lane.cool_down(retries.pause(error)[0])  # also when this call gives up: it speaks for all of the lane
            if not another:
                raise error
            attempt = Attempt(retries.number, self._new_id(), call_id)
            if isinstance(error, RateLimitedError):
                self._check_wait(call, lane.cooldown_end(), error)
            else:
                await self._back_off(call, lane, retries, error, attempt.waits)

    def _new_id(self) -> str:
        return f"{self._rng.getrandbits(64):016x}"

    def _lane(self, call: Call) -> Lane:
        key = (call.provider, call.model)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(self._limit)
            if call.provider in self._refusals:
                lane.close(self._refusals[call.provider])
        return lane

    def _close_lanes(self, call: Call, error: ProviderError) -> None:
        """Let no more requests go where all would end like this one; who waits for budget was woken just now."""
        if isinstance(error, ModelNotFoundError):
            self._lane(call).close(error)
            return
        self._refusals.setdefault(call.provider, error)
        for (provider, _), lane in self._lanes.items():
            if provider == call.provider:
                lane.close(error)

    async def _back_off(
        self, call: Call, lane: Lane, retries: Retries, error: ProviderError, waits: dict[WaitReason, float]
    ) -> None:
        begun = trio.current_time()
        delay, reason = retries.pause(error)
        self._check_wait(call, begun + delay, error)
        await lane.sleep_until(begun + delay)
        waits[reason] = trio.current_time() - begun

    def _check_wait(self, call: Call, until: float, cause: ProviderError | None) -> None:
        now, deadline = trio.current_time(), min(call.scope.deadline, trio.current_effective_deadline())
        is_cancelled = deadline == -math.inf  # the next checkpoint says so; no pause is to blame
        if until <= now or until < deadline or is_cancelled:
            return
        msg = (
            f"{call.provider} {call.model}: the next request may go in {until - now:.1f} s, but only "
            f"{max(0.0, deadline - now):.1f} s are left of the stage's, document's or run's timeout"
        )
        raise WaitTooLongError(msg) from cause

    async def _try_once(
        self, call: Call, lane: Lane, attempt: Attempt, send: Callable[[Attempt], Awaitable[AnswerT]]
    ) -> AnswerT:
        lane.check_open()
        self._check_wait(call, lane.cooldown_end(), None)
        begun = trio.current_time()
        await lane.acquire(attempt)
        try:
            attempt.waits["admission"] = trio.current_time() - begun
            hold = await self._reserve(call, lane, attempt.waits)
            return await self._send(call, attempt, hold, send)
        finally:
            lane.release(attempt)

    async def _reserve(self, call: Call, lane: Lane, waits: dict[WaitReason, float]) -> Hold:
        """Hold the worst case at an instant without a cooldown; either may come back while the other is waited for."""
        worst = Usage(call.input_tokens_bound, call.output_tokens_cap)
        tokens = worst.total_tokens
        micro_usd = 0 if call.price is None else call.price.cost_micro_usd(worst)
        while True:
            lane.check_open()
            begun = trio.current_time()
            pausing = begun < lane.cooldown_end()
            if not pausing and (hold := self.budget.reserve_nowait(tokens=tokens, micro_usd=micro_usd)) is not None:
                return hold
            dimension = self.budget.never_fits(tokens=tokens, micro_usd=micro_usd)
            if dimension is not None:
                raise self._refusal(call, dimension, tokens if dimension == "tokens" else micro_usd)
            reason: WaitReason = "cooldown" if pausing else "budget"
            if pausing:
                self._check_wait(call, lane.cooldown_end(), None)
                await lane.wait_cooldown()
            else:
                await self._budget_freed.park()
            waits[reason] = waits.get(reason, 0.0) + trio.current_time() - begun

    def _refusal(self, call: Call, dimension: Dimension, worst: int) -> BudgetExceededError:
        counted = (self.budget.tokens if dimension == "tokens" else self.budget.micro_usd).statistics()
        total = counted.total or 0
        unit = "tokens" if dimension == "tokens" else "micro-dollars"
        msg = (
            f"the budget of {total} {unit} has {max(0, total - counted.spent)} left, and the next request of role "
            f"{call.role} may cost {worst}; raise the budget to go on"
        )
        return BudgetExceededError(msg, dimension=dimension)

    async def _send(
        self, call: Call, attempt: Attempt, hold: Hold, send: Callable[[Attempt], Awaitable[AnswerT]]
    ) -> AnswerT:
        begun = trio.current_time()
        record = first_record(call, attempt, hold, started_at=self._now())
        attempt.on_dispatch = functools.partial(self._record, record)
        try:
            answer = await self._bounded(attempt, send)
        except BaseException as exc:
            self._finish(call, attempt, hold, record, error=exc, latency=trio.current_time() - begun)
            if self._on_stall is not None and isinstance(exc, AttemptTimeoutError) and _was_silent(attempt, exc):
                culprit = f"attempt {attempt.number} of role {call.role} at {call.provider} {call.model}"
                self._on_stall(call.scope.document_id, culprit, exc.timeout)
            raise
        self._finish(call, attempt, hold, record, error=None, latency=trio.current_time() - begun)
        return answer

    async def _bounded(self, attempt: Attempt, send: Callable[[Attempt], Awaitable[AnswerT]]) -> AnswerT:
        """Send within the attempt's timeout; an answer that came just after it, to a sender not yet stopped, counts."""
        timeout = self._attempt_timeout
        if timeout is None:
            return await send(attempt)
        with trio.move_on_after(timeout):
            return await send(attempt)
        raise AttemptTimeoutError(attempt=attempt.number, rung="attempt", timeout=timeout, left=time_left())

    def _finish(
        self,
        call: Call,
        attempt: Attempt,
        hold: Hold,
        record: AttemptRecord,
        *,
        error: BaseException | None,
        latency: float,
    ) -> None:
        """End the hold, wake who waits for budget, count and record."""
        charged, cost = self._charge(call, attempt, hold, error)
        self._budget_freed.unpark_all()
        self._attempts += attempt.dispatched
        self._record(last_record(record, attempt, error, latency=latency, charged=charged, cost=cost))

    def _charge(self, call: Call, attempt: Attempt, hold: Hold, error: BaseException | None) -> tuple[int, int | None]:
        """End the hold; return charged tokens and their cost (None: no known price)."""
        usage = attempt.usage
        if usage is not None:
            cost = None if call.price is None else call.price.cost_micro_usd(usage)
            hold.settle(tokens=usage.total_tokens, micro_usd=cost or 0)
            self._usage += usage
            self._unknown_cost |= cost is None
            return usage.total_tokens, cost
        if not attempt.dispatched or (isinstance(error, ProviderError) and not _worked_on(error)):
            hold.release()
            return 0, 0
        hold.forfeit()
        self._unknown_cost |= call.price is None
        return hold.tokens, None if call.price is None else hold.micro_usd


def _was_silent(attempt: Attempt, error: AttemptTimeoutError) -> bool:
    """Tell whether nothing came for as long as the timeout that fired; an answer that drips past its own is slow."""
    return error.rung == "read" or (error.rung == "attempt" and attempt.dispatched and attempt.status_code is None)


_GATEWAY_TIMEOUTS = frozenset({408, 504, 524})  # somebody else gave up waiting: the model may have worked


def _worked_on(error: ProviderError) -> bool:
    """Tell whether a model may have worked, and been billed, before this error; a redirect never reached one."""
    status = error.status_code
    return status is None or status < 300 or status in _GATEWAY_TIMEOUTS
