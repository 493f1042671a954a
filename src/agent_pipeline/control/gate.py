"""The one place every request to a provider passes: admission, budget, deadline, charge, record, retry.

The gate knows nothing of HTTP. It takes any callable that makes one attempt, so that the HTTP transport and other
ways to a model share its limits.
"""

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn, Protocol, TypeVar

import trio

from agent_pipeline.control.budget import Hold, RunBudget
from agent_pipeline.control.lane import Lane, LaneStatistics
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.usage import AttemptOutcome, AttemptRecord, Usage, WaitReason
from agent_pipeline.errors import (
    AttemptTimeoutError,
    BudgetExceededError,
    ModelProtocolError,
    ProviderError,
    RateLimitedError,
    ServerError,
    WaitTooLongError,
)

AnswerT = TypeVar("AnswerT")


class Price(Protocol):
    """What tokens of one model cost."""

    def cost_micro_usd(self, usage: Usage) -> int:
        """Return the cost in integer micro-dollars."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request a stage makes, however many attempts it takes.

    Attributes:
        input_tokens_bound: no tokenizer makes more tokens of this request (its bytes bound byte-level BPE).
        output_tokens_cap: the model may not answer with more; 0 where the role sets no cap.
        price: None where the model has no known price.
    """

    role: str
    provider: str
    model: str
    method: str
    path: str
    input_tokens_bound: int
    output_tokens_cap: int
    price: Price | None
    scope: CallScope


@dataclass(slots=True, eq=False)
class Attempt:
    """What one attempt is told (its number), and what it tells while it goes on.

    Attributes:
        number: from 1; a 429 does not raise it.
        dispatched: set by the sender once bytes may have left.
        usage: set by the sender as soon as the answer reports it, before the answer is judged.
    """

    number: int
    dispatched: bool = False
    status_code: int | None = None
    provider_request_id: str | None = None
    usage: Usage | None = None
    error: BaseException | None = None
    waits: dict[WaitReason, float] = field(default_factory=dict)
    attempt_timeout: float | None = None


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

    Order of one attempt: cooldown and a place in flight, budget reserved, attempt deadline, send, charge, record.
    Waiting eats no attempt's time. On cancellation the place is given back, the reservation is charged in full if
    the request may have left (else released), and the attempt is recorded as cancelled; all without a checkpoint.

    Args:
        budget: of the run.
        retry: the policy for every call.
        requests_in_flight: per provider and model.
        attempt_timeout: seconds of one attempt from sending to the last byte; None for no limit.
        record: takes every attempt that was sent or failed; must not block or raise.
        now: wall clock for records.
        rng: for jitter and attempt ids.
    """

    def __init__(  # noqa: PLR0913  (one line of configuration each; keyword-only)
        self,
        *,
        budget: RunBudget,
        retry: RetryPolicy,
        requests_in_flight: int,
        attempt_timeout: float | None,
        record: Callable[[AttemptRecord], None],
        now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self.budget = budget
        self._retry = retry
        self._limit = requests_in_flight
        self._attempt_timeout = attempt_timeout
        self._record = record
        self._now = now
        self._rng = rng
        self._lanes: dict[tuple[str, str], Lane] = {}
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
        """Make attempts until one succeeds or the policy gives up.

        Raises:
            ProviderError: of the last attempt.
            BudgetExceededError: the worst case of this call no longer fits; nothing was sent.
            WaitTooLongError: a pause would outlast the deadline of the stage, document or run.
        """
        self._requests += 1
        lane = self._lane(call)
        attempt = Attempt(number=1, attempt_timeout=self._attempt_timeout)
        failures = rate_limits = bad_answers = 0
        while True:
            try:
                return await self._try_once(call, lane, attempt, send)
            except ProviderError as exc:
                error = exc
            if error.disposition != "retry":
                raise error
            number, waits = attempt.number, dict[WaitReason, float]()
            if isinstance(error, RateLimitedError):
                rate_limits += 1
                if rate_limits > self._retry.max_rate_limits:
                    raise error
                self._cool_down(call, lane, error, rate_limits)
            else:
                failures += 1
                bad_answers += isinstance(error, ModelProtocolError)
                if failures >= self._retry.max_attempts or bad_answers >= self._retry.max_bad_answers:
                    raise error
                rate_limits = 0
                number += 1
                await self._back_off(call, error, failures, waits)
            attempt = Attempt(number=number, waits=waits, attempt_timeout=self._attempt_timeout)

    def _lane(self, call: Call) -> Lane:
        key = (call.provider, call.model)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(self._limit)
        return lane

    def _cool_down(self, call: Call, lane: Lane, error: RateLimitedError, rate_limits: int) -> None:
        asked = error.retry_after
        lane.cool_down(self._retry.delay(rate_limits, self._rng) if asked is None else asked)
        self._check_wait(call, lane.cooldown_end(), error)

    async def _back_off(self, call: Call, error: ProviderError, failures: int, waits: dict[WaitReason, float]) -> None:
        delay = self._retry.delay(failures, self._rng)
        reason: WaitReason = "backoff"
        if isinstance(error, ServerError) and error.retry_after is not None and error.retry_after > delay:
            delay, reason = error.retry_after, "retry_after"
        self._check_wait(call, trio.current_time() + delay, error)
        waits[reason] = delay
        await trio.sleep(delay)

    def _check_wait(self, call: Call, until: float, cause: ProviderError | None) -> None:
        deadline = min(call.scope.deadline, trio.current_effective_deadline())
        now = trio.current_time()
        if until < deadline or until <= now or deadline == -math.inf:  # cancelled already: the next checkpoint says so
            return
        msg = (
            f"{call.provider} {call.model}: the next request may go in {until - now:.1f} s, but only "
            f"{max(0.0, deadline - now):.1f} s are left of the stage's, document's or run's timeout"
        )
        raise WaitTooLongError(msg) from cause

    async def _try_once(
        self, call: Call, lane: Lane, attempt: Attempt, send: Callable[[Attempt], Awaitable[AnswerT]]
    ) -> AnswerT:
        begun = trio.current_time()
        self._check_wait(call, lane.cooldown_end(), None)
        await lane.acquire(attempt)
        try:
            admitted = trio.current_time()
            self._check_wait(call, lane.cooldown_end(), None)
            cooled = await lane.wait_cooldown()
            hold = await self._reserve(call)
            held = trio.current_time()
            attempt.waits |= {"admission": admitted - begun, "cooldown": cooled, "budget": held - admitted - cooled}
            return await self._send(call, attempt, hold, send)
        finally:
            lane.release(attempt)

    async def _reserve(self, call: Call) -> Hold:
        worst = Usage(call.input_tokens_bound, call.output_tokens_cap)
        micro_usd = 0 if call.price is None else call.price.cost_micro_usd(worst)
        while (hold := self.budget.reserve_nowait(tokens=worst.total_tokens, micro_usd=micro_usd)) is None:
            dimension = self.budget.never_fits(tokens=worst.total_tokens, micro_usd=micro_usd)
            if dimension is not None:
                self._refuse(call, dimension, worst.total_tokens if dimension == "tokens" else micro_usd)
            await self._budget_freed.park()
        return hold

    def _refuse(self, call: Call, dimension: str, worst: int) -> NoReturn:
        tracker = self.budget.tokens if dimension == "tokens" else self.budget.micro_usd
        counted = tracker.statistics()
        unit = "tokens" if dimension == "tokens" else "micro-dollars"
        msg = (
            f"the budget of {counted.total} {unit} has {(counted.total or 0) - counted.spent} left, and the next "
            f"request of role {call.role} may cost {worst}; raise the budget to go on"
        )
        raise BudgetExceededError(msg, dimension="tokens" if dimension == "tokens" else "usd")

    async def _send(
        self, call: Call, attempt: Attempt, hold: Hold, send: Callable[[Attempt], Awaitable[AnswerT]]
    ) -> AnswerT:
        started_at, begun = self._now(), trio.current_time()
        try:
            timeout = math.inf if self._attempt_timeout is None else self._attempt_timeout
            with trio.CancelScope(deadline=begun + timeout) as scope:
                answer = await send(attempt)
            if scope.cancelled_caught:
                raise AttemptTimeoutError(attempt=attempt.number, rung="attempt", timeout=timeout)
        except BaseException as exc:
            attempt.error = exc
            raise
        else:
            return answer
        finally:
            charged, cost = self._charge(call, attempt, hold)
            self._budget_freed.unpark_all()
            latency = trio.current_time() - begun
            self._record(self._describe(call, attempt, hold.tokens, charged, cost, started_at, latency))

    def _charge(self, call: Call, attempt: Attempt, hold: Hold) -> tuple[int, int | None]:
        """End the hold; return charged tokens and their cost (None: no known price)."""
        usage, error = attempt.usage, attempt.error
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

    def _describe(  # noqa: PLR0913, PLR0917  (the parts of one record)
        self,
        call: Call,
        attempt: Attempt,
        reserved: int,
        charged: int,
        cost: int | None,
        started_at: datetime,
        latency: float,
    ) -> AttemptRecord:
        self._attempts += attempt.dispatched
        error = attempt.error
        waited = sum(attempt.waits.values())
        return AttemptRecord(
            attempt_id=f"{self._rng.getrandbits(64):016x}",
            document_id=call.scope.document_id,
            stage=call.scope.stage,
            cycle=call.scope.cycle,
            role=call.role,
            provider=call.provider,
            model=call.model,
            number=attempt.number,
            sent=attempt.dispatched,
            outcome=_outcome(error),
            status_code=attempt.status_code,
            error_code=None if error is None else getattr(error, "code", type(error).__name__),
            error=None if error is None else str(error),
            wait_seconds=waited,
            wait_reason=max(attempt.waits, key=attempt.waits.__getitem__) if waited > 0 else None,
            latency_seconds=latency,
            usage=attempt.usage,
            reserved_tokens=reserved,
            charged_tokens=charged,
            cost_micro_usd=cost,
            provider_request_id=attempt.provider_request_id,
            method=call.method,
            path=call.path,
            started_at=started_at,
        )


def _outcome(error: BaseException | None) -> AttemptOutcome:
    if error is None:
        return "succeeded"
    return "cancelled" if isinstance(error, trio.Cancelled) else "failed"


_GATEWAY_TIMEOUTS = frozenset({408, 504})  # somebody else gave up waiting: the model may have worked


def _worked_on(error: ProviderError) -> bool:
    """Whether a model may have worked, and been billed, before this error."""
    status = error.status_code
    return status is None or status < 400 or status in _GATEWAY_TIMEOUTS  # noqa: PLR2004  (HTTP's error range)
