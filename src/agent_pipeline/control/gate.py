"""The one place every request to a provider passes: admission, budget, deadline, charge, record, retry.

The gate knows nothing of HTTP. It takes any callable that makes one attempt, so that the HTTP transport and other
ways to a model share its limits.
"""

import functools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from types import EllipsisType
from typing import TypeVar

import trio

from agent_pipeline.control.admission import Admission, Permit, check_wait
from agent_pipeline.control.attempt_record import first_record, last_record
from agent_pipeline.control.budget import Hold, RunBudget
from agent_pipeline.control.call import Attempt, Call, OpenCall
from agent_pipeline.control.charging import may_have_worked
from agent_pipeline.control.commitment import Commitment
from agent_pipeline.control.concurrency import LimitChange
from agent_pipeline.control.counts import Counts
from agent_pipeline.control.deadline import time_left
from agent_pipeline.control.lane import Lane, LaneStatistics
from agent_pipeline.control.limits import LaneLimits, Sharing
from agent_pipeline.control.recovery import Health, OnBreaker, Recovery, broken_stream
from agent_pipeline.control.retry import Retries, RetryPolicy
from agent_pipeline.control.scope import current_scope
from agent_pipeline.domain.limit_events import LimitChanged
from agent_pipeline.domain.usage import AttemptRecord, Usage, WaitReason
from agent_pipeline.errors import (
    AttemptTimeoutError,
    ModelNotFoundError,
    ProviderDownError,
    ProviderError,
    RateLimitedError,
    WaitTooLongError,
)

AnswerT = TypeVar("AnswerT")

OnStall = Callable[[str | None, str, float], None]
"""Takes a document's id, what stood still, and for how many seconds."""


class _HeldBackError(Exception):
    """Nothing was sent: a pause began between the admission and the first byte. Never leaves the gate."""


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

    Order of one attempt: a place in flight, no cooldown, rate and budget reserved at one instant, attempt deadline,
    record, send, charge, record. Waiting eats no attempt's time. On cancellation, and whatever else the sender raises,
    the place is given back, the reservation is charged in full if the request may have left (else released), and the
    attempt is recorded; all without a checkpoint.

    An error that ends the run (a refused key, an account without credit, an unknown model, a certificate) lets no
    request that would meet it go any more: those in flight are the last. A provider that fails for all is given a pause
    and probes first (`control.breaker`), and ends the run as `ProviderDownError` where they fail too.

    Args:
        budget: of the run.
        retry: the policy for every call.
        requests_in_flight: per provider and model: where the limit starts, its minimum and its maximum; a number is
            a limit that stays.
        attempt_timeout: seconds of one attempt from sending to the last byte; None for no limit.
        record: takes every attempt twice, as its first byte is about to leave (without an outcome) and at its end;
            one of which nothing left only at its end. Must not block. What it raises (a ledger that can't be written)
            keeps the request from leaving, or leaves the call in place of the attempt's own end; nothing is held then.
        requests_per_minute: per provider and model; None for no limit but what the provider announces.
        tokens_per_minute: likewise.
        on_limit: told of every change of a limit on requests in flight; must not block or raise.
        on_stall: told of every attempt that was cut off in silence: document, what stood still, for how many seconds.
            The attempt is on record by then; must not block or raise.
        on_breaker: told when requests to a provider and model are held back, and when they go again; likewise.
        now: wall clock for records.
        rng: for jitter, and for the ids of calls and attempts; no two sessions of a run may draw the same.
        sharing: limits and pauses that the gates of other processes have in common with this one.
        closes_for_good: whether an error that ends a run ends every later call too. Else it ends the calls under way,
            and the first one that comes after them asks anew: for programs that outlive their provider's troubles.

    Attributes:
        budget: as given; `record` too.
        counts: what was sent so far; takes what other processes do for the run as well.
    """

    def __init__(
        self,
        *,
        budget: RunBudget,
        retry: RetryPolicy,
        requests_in_flight: int | tuple[int, int, int],
        attempt_timeout: float | None,
        record: Callable[[AttemptRecord], None],
        now: Callable[[], datetime],
        rng: random.Random,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        on_limit: Callable[[LimitChanged], None] | None = None,
        on_stall: OnStall | None = None,
        on_breaker: OnBreaker | None = None,
        sharing: Sharing | None = None,
        closes_for_good: bool = True,
    ) -> None:
        self.budget = budget
        self.record = record
        self.counts = Counts()
        self._retry = retry
        self._limits = LaneLimits(requests_in_flight, requests_per_minute, tokens_per_minute, sharing)
        self._on_limit = on_limit
        self._attempt_timeout = attempt_timeout
        self._on_stall = on_stall
        self._on_breaker = on_breaker
        self._now = now
        self._rng = rng
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._healths: dict[tuple[str, str], Health] = {}
        self._refusals: dict[str, ProviderError] = {}
        self._closes_for_good = closes_for_good
        self._under_way: set[OpenCall] = set()
        self._admission = Admission(budget)

    def statistics(self) -> GateStatistics:
        """Snapshot of all counters."""
        lanes = {key: lane.statistics() for key, lane in self._lanes.items()}
        counts = self.counts
        return GateStatistics(counts.requests, counts.attempts, counts.usage, counts.unknown_cost, lanes)

    def open_calls(self) -> tuple[OpenCall, ...]:
        """Return the calls under way at this instant."""
        return tuple(self._under_way)

    def set_limits(
        self,
        *,
        requests_in_flight: tuple[int, int] | None = None,
        requests_per_minute: int | EllipsisType | None = ...,
        tokens_per_minute: int | EllipsisType | None = ...,
    ) -> None:
        """Change limits of all lanes, now and later; what is in flight is left alone, whoever may go now goes.

        Args:
            requests_in_flight: minimum and maximum; None leaves them.
            requests_per_minute: None for no limit; what is left out stays. What was sent before counts.
            tokens_per_minute: likewise.

        Raises:
            ValueError: not 1 <= minimum <= maximum, or not positive; nothing was changed.
        """
        self._limits = self._limits.changed(requests_in_flight, requests_per_minute, tokens_per_minute)
        for lane in self._lanes.values():
            self._limits.apply(lane)

    def set_attempt_timeout(self, timeout: float | None) -> None:
        """Bound attempts that begin from now on; None for no limit.

        Raises:
            ValueError: not a positive number of seconds; nothing was changed.
        """
        if timeout is not None and not timeout > 0:
            msg = f"a timeout is a positive number of seconds, not {timeout}"
            raise ValueError(msg)
        self._attempt_timeout = timeout

    def set_budget(self, *, tokens: int | None, micro_usd: int | None) -> None:
        """Give the run other caps, None for none; whoever waits for budget asks again, and may now be refused."""
        self.budget.set_totals(tokens=tokens, micro_usd=micro_usd)
        self.wake_budget_waiters()

    def wake_budget_waiters(self) -> None:
        """Let all who wait for budget look again: there may be more of it, or none to come."""
        self._admission.wake_budget_waiters()

    def lane(self, provider: str, model: str) -> Lane | None:
        """Return the lane of a model, for who shares its limits; None where nothing went to it yet."""
        return self._lanes.get((provider, model))

    async def call(self, call: Call, send: Callable[[Attempt], Awaitable[AnswerT]]) -> AnswerT:
        """Make attempts until one succeeds or the policy gives up; whatever else `send` raises goes out unchanged.

        Raises:
            ProviderError: of the last attempt; or of an attempt of another call that closed the lane, because every
                request to that provider (or of that model) would end like it. Then nothing was sent.
            PoisonedError: this request keeps failing while others pass.
            StreamBrokenError: an attempt failed of whose answer a part was handed on.
            ProviderDownError: the provider fails for all; that is nobody's fault who asks.
            BudgetExceededError: the worst case of this call no longer fits the run's or its role's budget; nothing
                was sent.
            DocumentBudgetExceededError: nor its document's.
            LLMBudgetExceededError: nor that of a tracker the caller brought along.
            WaitTooLongError: a pause would outlast the deadline of the stage, document or run.
        """
        if self._lane(call).is_closed:
            # Such a call ends at once: who asks again and again would never let those end that are under way.
            await trio.lowlevel.checkpoint()
        lane = self._lane(call)
        opened = OpenCall(call, trio.current_time())
        self._under_way.add(opened)
        try:
            return await self._attempts_of(opened, lane, send)
        finally:
            self._under_way.remove(opened)

    async def _attempts_of(
        self, opened: OpenCall, lane: Lane, send: Callable[[Attempt], Awaitable[AnswerT]]
    ) -> AnswerT:
        call = opened.call
        retries = Retries(self._retry, self._rng)
        call_id = self._new_id()
        attempt = opened.attempt = Attempt(1, self._new_id(), call_id)
        with Recovery(call, self._healths[call.provider, call.model], retries, attempt) as recovery:
            while True:
                try:
                    answer = await self._try_once(call, lane, attempt, send)
                except ProviderError as exc:
                    error = broken_stream(exc) if attempt.handed_on else exc
                else:
                    recovery.succeed()
                    return answer
                end = recovery.fail(error)
                if isinstance(error, RateLimitedError):
                    lane.cool_down(retries.pause(error)[0])  # also when this call gives up: it speaks for all
                if end is not None:
                    if end.disposition == "fail_run":
                        self._close_lanes(call, end)
                    raise end
                attempt = opened.attempt = recovery.attempt = attempt.followed_by(retries.number, self._new_id())
                if isinstance(error, RateLimitedError):
                    check_wait(call, lane.cooldown_end(), error)
                else:
                    await self._back_off(call, lane, retries, error, attempt.waits)

    async def commit(self, role: str, *, tokens: int, micro_usd: int) -> Commitment:
        """Wait until the worst case of work that takes a provider hours fits the budgets, and hold it until it ends.

        Nothing is sent, no place is taken: each request about that work is a call of its own. Cancelled, nothing is
        held.

        Raises:
            BudgetExceededError: it can't fit any more.
            DocumentBudgetExceededError: it can't fit into what its document has left.
        """
        owner = current_scope().budget
        hold = await self._admission.commit(role, owner, tokens=tokens, micro_usd=micro_usd)
        return Commitment(hold, self._end_commitment)

    def take_over(self, role: str, *, tokens: int, micro_usd: int) -> Commitment:
        """Hold the worst case of such work that is under way already, also where that passes a budget."""
        owner = current_scope().budget
        hold = self._admission.take_over(role, owner, tokens=tokens, micro_usd=micro_usd)
        return Commitment(hold, self._end_commitment)

    def _end_commitment(self, usage: Usage, *, unknown_cost: bool) -> None:
        self.counts.usage += usage
        self.counts.unknown_cost |= unknown_cost
        self._admission.wake_budget_waiters()

    def _new_id(self) -> str:
        return f"{self._rng.getrandbits(64):016x}"

    def _lane(self, call: Call) -> Lane:
        key = call.lane
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = self._limits.new_lane(*key, functools.partial(self._tell_limit, *key))
            self._healths[key] = Health(call, self._retry, self._on_breaker)
            if call.provider in self._refusals:
                lane.close(self._refusals[call.provider])
        if lane.is_closed and not self._closes_for_good and not any(one.call.lane == key for one in self._under_way):
            lane.reopen()
            self._refusals.pop(call.provider, None)
            self._healths[key] = Health(call, self._retry, self._on_breaker)
        return lane

    def _tell_limit(self, provider: str, model: str, change: LimitChange) -> None:
        if self._on_limit is not None:
            self._on_limit(LimitChanged(provider, model, change.old, change.new, change.reason))

    def _close_lanes(self, call: Call, error: ProviderError) -> None:
        """Let no more requests go where all would end like this one; who waits for budget was woken just now."""
        if isinstance(error, ModelNotFoundError | ProviderDownError):
            keys = [(call.provider, call.model)]
        else:
            self._refusals.setdefault(call.provider, error)
            keys = [key for key in self._lanes if key[0] == call.provider]
        for key in keys:
            self._lanes[key].close(error)
            self._healths[key].wake()

    async def _back_off(
        self, call: Call, lane: Lane, retries: Retries, error: ProviderError, waits: dict[WaitReason, float]
    ) -> None:
        begun = trio.current_time()
        delay, reason = retries.pause(error)
        try:
            check_wait(call, begun + delay, error)
        except WaitTooLongError:
            if reason == "retry_after" and self._healths[call.provider, call.model].breaker.is_tripped:
                return  # the breaker holds it back, and its probes find out whether the provider is back sooner
            raise
        await lane.sleep_until(begun + delay)
        waits[reason] = trio.current_time() - begun

    async def _try_once(
        self, call: Call, lane: Lane, attempt: Attempt, send: Callable[[Attempt], Awaitable[AnswerT]]
    ) -> AnswerT:
        health = self._healths[call.provider, call.model]
        had_its_turn = False
        while True:
            permit = await self._admission.admit(call, lane, health, attempt, again=had_its_turn)
            try:
                return await self._send(call, attempt, permit, send)
            except _HeldBackError:
                had_its_turn = True

    async def _send(
        self, call: Call, attempt: Attempt, permit: Permit, send: Callable[[Attempt], Awaitable[AnswerT]]
    ) -> AnswerT:
        begun = trio.current_time()
        record = first_record(call, attempt, permit.budget, started_at=self._now())
        attempt.on_dispatch = functools.partial(self._dispatch, attempt, permit, record)
        try:
            answer = await self._bounded(call, attempt, send)
        except BaseException as exc:
            self._finish(call, attempt, permit, record, error=exc, latency=trio.current_time() - begun)
            if self._on_stall is not None and isinstance(exc, AttemptTimeoutError) and attempt.was_silent(exc):
                culprit = f"attempt {attempt.number} of role {call.role} at {call.provider} {call.model}"
                self._on_stall(call.scope.document_id, culprit, exc.timeout)
            raise
        self._finish(call, attempt, permit, record, error=None, latency=trio.current_time() - begun)
        return answer

    def _dispatch(self, attempt: Attempt, permit: Permit, record: AttemptRecord) -> None:
        """Record that the first byte is about to leave, unless a pause began while the connection was opened."""
        if not permit.lane.permits(permit.place):
            raise _HeldBackError
        self.counts.requests += not attempt.is_again
        self.record(record)

    async def _bounded(self, call: Call, attempt: Attempt, send: Callable[[Attempt], Awaitable[AnswerT]]) -> AnswerT:
        """Send within the attempt's timeout; an answer that came just after it, to a sender not yet stopped, counts."""
        timeout = self._attempt_timeout if call.transfer_timeout is None else call.transfer_timeout
        attempt.timeout = timeout
        if timeout is None:
            return await send(attempt)
        with trio.move_on_after(timeout) as scope:
            attempt.deadline = scope.deadline
            return await send(attempt)
        raise AttemptTimeoutError(attempt=attempt.number, rung="attempt", timeout=timeout, left=time_left())

    def _finish(
        self,
        call: Call,
        attempt: Attempt,
        permit: Permit,
        record: AttemptRecord,
        *,
        error: BaseException | None,
        latency: float,
    ) -> None:
        """End the hold and the place, wake who waits for either, count and record."""
        charged, cost = self._charge(call, attempt, permit.budget, error)
        permit.lane.end(
            permit.place, error, dispatched=attempt.dispatched, tokens=charged, headers=attempt.rate_headers
        )
        self._admission.wake_budget_waiters()
        if isinstance(error, _HeldBackError):
            return
        self.counts.attempts += attempt.dispatched
        self.record(last_record(record, attempt, error, latency=latency, charged=charged, cost=cost))

    def _charge(self, call: Call, attempt: Attempt, hold: Hold, error: BaseException | None) -> tuple[int, int | None]:
        """End the hold; return charged tokens and their cost (None: no known price)."""
        usage = attempt.usage
        if usage is not None:
            cost = None if call.price is None else call.price.cost_micro_usd(usage)
            hold.settle(tokens=usage.total_tokens, micro_usd=cost or 0)
            self.counts.usage += usage
            self.counts.unknown_cost |= cost is None
            return usage.total_tokens, cost
        if not attempt.dispatched or (isinstance(error, ProviderError) and not may_have_worked(error)):
            hold.release()
            return 0, 0
        hold.forfeit()
        self.counts.unknown_cost |= call.price is None
        return hold.tokens, None if call.price is None else hold.micro_usd
