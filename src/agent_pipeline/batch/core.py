"""A batch at work, under Trio: its workers, its end, its pauses as observers see them."""

import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Generic, Self, TypeVar

import trio

from agent_pipeline.batch.config import ProcessorConfig
from agent_pipeline.batch.cooldown_watch import CooldownWatch
from agent_pipeline.batch.delivery import Delivery
from agent_pipeline.batch.events import (
    BatchAborted,
    BatchCompleted,
    BatchStarted,
    ItemCompleted,
    ItemFailed,
    ItemStarted,
    LaneChanged,
    ProcessorObserver,
    WorkerStarted,
    WorkerStopped,
)
from agent_pipeline.batch.flow import Entry, Flow
from agent_pipeline.batch.invocation import Invocation
from agent_pipeline.batch.item_work import ItemWork, ended_without, timing_of
from agent_pipeline.batch.items import LLMWorkItem
from agent_pipeline.batch.metrics import Metrics
from agent_pipeline.batch.middleware import Hooks
from agent_pipeline.batch.results import Termination, WorkItemResult
from agent_pipeline.bridge import Caller
from agent_pipeline.control.budget import RunBudget
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.domain.limit_events import LimitChanged
from agent_pipeline.errors import (
    AgentPipelineError,
    BatchAbortedError,
    BatchCancelledError,
    BatchClosedError,
    BatchDeadlineError,
    CallFailedError,
)
from agent_pipeline.gateway.gates import no_record, utc_now

TInput = TypeVar("TInput")
TOutput = TypeVar("TOutput")
TContext = TypeVar("TContext")

CLOSING = 5.0
"""Seconds that observers have, at the end, to see what is left."""

_logger = logging.getLogger("agent_pipeline.batch")

_ENDINGS: dict[Termination, type[AgentPipelineError]] = {
    "batch_timeout": BatchDeadlineError,
    "aborted": BatchAbortedError,
    "cancelled": BatchCancelledError,
}


class BatchCore(Generic[TInput, TOutput, TContext]):
    """Works on items until it is closed; every item that was taken ends in exactly one result.

    Args:
        config: limits, timeouts and order.
        flow: items in, results out.
        hooks: around each item.
        metrics: counts what ends.
        observers: see events.
        caller: whose code the items hold.
        rng: for jitter.

    Attributes:
        termination: how the batch ended, `running` before.
        reason: why it ended early.
        gate: every attempt passes it.
        feed_error: what a source raised.
    """

    def __init__(
        self,
        config: ProcessorConfig,
        flow: Flow[TInput, TOutput, TContext],
        *,
        hooks: Hooks[TInput, TOutput, TContext],
        metrics: Metrics,
        observers: Sequence[ProcessorObserver],
        caller: Caller,
        rng: random.Random | None,
    ) -> None:
        self.config = config
        self.flow = flow
        self.termination: Termination = "running"
        self.reason = ""
        self.feed_error: Exception | None = None
        self.budget = RunBudget(tokens=config.budget_tokens)
        self.gate = self._make_gate(rng)
        self._metrics = metrics
        self._caller = caller
        self._invocation: Invocation[TInput, TOutput, TContext] = Invocation(caller)
        self._delivery = Delivery(observers, caller, self._count_failures)
        self._items = ItemWork(
            config,
            gate=self.gate,
            hooks=hooks,
            caller=caller,
            invoke=self._invocation.call,
            emit=self._delivery.emit,
            on_rate_limit=self._watch_cooldown,
        )
        self._feeding: set[trio.CancelScope] = set()
        self._cooldowns = CooldownWatch(self.gate, self._delivery.emit)
        self._nursery: trio.Nursery | None = None
        self._workers = 0
        self._workers_gone = trio.Event()

    def _make_gate(self, rng: random.Random | None) -> Gate:
        config = self.config
        return Gate(
            budget=self.budget,
            retry=RetryPolicy(
                max_attempts=config.max_attempts,
                initial_delay=config.initial_wait,
                max_delay=config.max_wait,
                max_rate_limits=config.max_rate_limits,
                max_bad_answers=config.max_attempts,
            ),
            requests_in_flight=(config.max_workers, 1, config.max_workers),
            attempt_timeout=config.attempt_timeout,
            record=no_record,
            now=utc_now,
            rng=random.Random() if rng is None else rng,
            requests_per_minute=config.requests_per_minute,
            tokens_per_minute=config.tokens_per_minute,
            on_limit=self._tell_limit,
            on_breaker=self._tell_breaker,
        )

    @asynccontextmanager
    async def opened(
        self, worker: Callable[[], Awaitable[None]], items: Iterable[LLMWorkItem[TInput, TOutput, TContext]]
    ) -> AsyncGenerator[Self]:
        """Let workers work while the block lasts; then, or when it is cancelled, what is under way is cancelled.

        Args:
            worker: works until nothing more will come.
            items: that were added before.
        """
        self._metrics.opened_at = self._metrics.changed_at = trio.current_time()
        for item in items:
            self.flow.add_nowait(item)
        try:
            async with trio.open_nursery() as nursery:
                self._start(nursery, worker)
                yield self
                await self._leave()
                nursery.cancel_scope.cancel()
        finally:
            self._settle("cancelled", "it was left before all items had ended")
            self._invocation.close()

    def _start(self, nursery: trio.Nursery, worker: Callable[[], Awaitable[None]]) -> None:
        self._nursery = nursery
        nursery.start_soon(self._delivery.run)
        self._delivery.emit(BatchStarted(self.config.max_workers))
        if self.config.batch_timeout is not None:
            nursery.start_soon(self._end_at_timeout, self.config.batch_timeout)
        for _ in range(self.config.max_workers):
            nursery.start_soon(worker)

    async def _leave(self) -> None:
        """Let idle workers go and observers see the rest, where nothing is left to do."""
        if not self.flow.is_idle:
            return
        self.flow.close("the batch has ended")
        with trio.move_on_after(CLOSING):
            if self._workers:
                await self._workers_gone.wait()
            await self._delivery.drained()

    async def _end_at_timeout(self, timeout: float) -> None:
        await trio.sleep(timeout)
        self._abort("batch_timeout", f"the batch exceeded its {timeout:g} s timeout", cancel=True)

    # --- what callers ask for ----------------------------------------------------------------------------------------

    async def add(self, *items: LLMWorkItem[TInput, TOutput, TContext]) -> None:
        """Take items; see `Flow.add`."""
        for item in items:
            await self.flow.add(item)

    async def feed(self, pull: Callable[[], Awaitable[None]]) -> None:
        """Let a source of the caller's add items; returns when it has given all, or the batch is ended early."""
        self._check_open()
        scope = trio.CancelScope()
        self._feeding.add(scope)
        self.flow.feeders += 1
        try:
            with scope:
                await self._caller.run(pull)
        except BatchClosedError:
            return  # ended early; there is nobody to add to
        finally:
            self._feeding.discard(scope)
            self.flow.feeder_left()

    async def feed_soon(self, pull: Callable[[], Awaitable[None]]) -> None:
        """Let a source add items beside the work; what it raises is kept in `feed_error`."""
        nursery = self._check_open()
        self.flow.feeders += 1

        async def feed() -> None:
            try:
                await self.feed(pull)
            except BatchClosedError:
                return  # ended before it began
            except Exception as exc:  # noqa: BLE001 - the source's own; whoever reads the results gets it
                self.feed_error = exc
            finally:
                self.flow.feeder_left()

        nursery.start_soon(feed)

    def _check_open(self) -> trio.Nursery:
        if self._nursery is None or self.flow.closed is not None:
            msg = f"nothing can be added: {self.flow.closed or 'the batch is not open'}"
            raise BatchClosedError(msg)
        return self._nursery

    async def next_result(self, read: int) -> WorkItemResult[TOutput, TContext] | None:
        """Wait for the next result, None where all have ended; see `Flow.next_result`."""
        result = await self.flow.next_result(read)
        if result is None:
            await self._tell_completed()
        return result

    async def read_all(self, read: int, take: Callable[[WorkItemResult[TOutput, TContext]], None]) -> None:
        """Hand on all results until every item has ended; then the observers have seen it, too."""
        await self.flow.read_all(read, take)
        await self._tell_completed()

    async def _tell_completed(self) -> None:
        if self.termination == "running":
            totals = self._metrics.totals()
            self._delivery.emit(BatchCompleted(self.flow.taken, totals.succeeded, totals.failed))
        await self._delivery.drained()

    async def abort(self, reason: str, cancel: bool) -> None:  # noqa: FBT001 - passed on by position
        """End the batch: what waits gets a result that says so, what is under way too, or goes on to its end."""
        self._abort("aborted", reason, cancel=cancel)

    def _abort(self, termination: Termination, reason: str, *, cancel: bool) -> None:
        if self.flow.closed is None and self.termination == "running":
            self.termination, self.reason = termination, reason
            self._delivery.emit(BatchAborted(termination, reason))
        for scope in self._feeding:
            scope.cancel()
        for entry in self.flow.close(reason):
            self._finish(entry, self._unfinished(entry))
        if cancel:
            for entry in list(self.flow.active.values()):
                entry.scope.cancel()

    def _settle(self, termination: Termination, reason: str) -> None:
        """Give every item that has no result one; when no worker is left."""
        left = self.flow.close(reason)
        active = list(self.flow.active.values())
        if self.termination == "running":
            is_done = not left and not active
            self.termination, self.reason = ("completed", "") if is_done else (termination, reason)
        for entry in (*active, *left):
            self._finish(entry, self._unfinished(entry))

    # --- work --------------------------------------------------------------------------------------------------------

    async def work(
        self,
        process: Callable[[LLMWorkItem[TInput, TOutput, TContext]], Awaitable[WorkItemResult[TOutput, TContext]]],
    ) -> None:
        """Work on one item after the other until nothing more will come."""
        self._workers += 1
        number, items = self._workers, 0
        self._delivery.emit(WorkerStarted(number))
        while (entry := await self.flow.take()) is not None:
            items += 1
            await self._work_on(entry, process)
            await self._delivery.room()
        self._delivery.emit(WorkerStopped(number, items))
        self._workers -= 1
        if self._workers == 0:
            self._workers_gone.set()

    async def _work_on(
        self,
        entry: Entry[TInput, TOutput, TContext],
        process: Callable[[LLMWorkItem[TInput, TOutput, TContext]], Awaitable[WorkItemResult[TOutput, TContext]]],
    ) -> None:
        self._delivery.emit(ItemStarted(entry.item.item_id, entry.position))
        result: WorkItemResult[TOutput, TContext] | None = None
        with entry.scope:
            try:
                result = await process(entry.item)
            except Exception as exc:
                _logger.exception("the work on item %s failed", entry.item.item_id)
                result = entry.known or ended_without(entry, entry.item, _as_ours(exc))
        self._finish(entry, self._unfinished(entry) if result is None else result)

    async def process(self, item: LLMWorkItem[TInput, TOutput, TContext]) -> WorkItemResult[TOutput, TContext]:
        """Do all that one item under way needs; see `ItemWork.process`."""
        return await self._items.process(self.flow.active[item.item_id], item)

    def _unfinished(self, entry: Entry[TInput, TOutput, TContext]) -> WorkItemResult[TOutput, TContext]:
        """Return the result of an item that the batch's end overtook: what is known of it, else why nothing is."""
        if entry.known is not None:
            return entry.known
        kind = _ENDINGS.get(self.termination, BatchCancelledError)
        return ended_without(entry, entry.item, kind(self.reason or "the batch has ended"))

    def _finish(self, entry: Entry[TInput, TOutput, TContext], result: WorkItemResult[TOutput, TContext]) -> None:
        """Give an item its result, count and tell it; no checkpoint, so all of it happens or nothing."""
        now = trio.current_time()
        result = self.flow.end(entry, replace(result, timing=timing_of(entry, now)))
        self._metrics.count(result, now)
        seconds, used = result.timing.total, result.token_usage
        if result.success:
            self._delivery.emit(
                ItemCompleted(
                    result.item_id,
                    result.position,
                    result.attempts,
                    used["input_tokens"],
                    used["output_tokens"],
                    seconds,
                )
            )
            return
        code, error = result.error_code or "error", result.error or ""
        self._delivery.emit(ItemFailed(result.item_id, result.position, result.attempts, code, error, seconds))
        if code in self.config.abort_on:
            self._abort(
                "aborted", f"item {result.item_id} ended with {code}", cancel=self.config.abort_mode == "cancel"
            )

    # --- what observers see of the gate ------------------------------------------------------------------------------

    def _count_failures(self, failures: int) -> None:
        self._metrics.observer_failures += failures

    def _tell_limit(self, change: LimitChanged) -> None:
        self._delivery.emit(LaneChanged(change.provider, f"{change.new} in flight", change.reason))

    def _tell_breaker(self, lane: str, _model: str, state: str, reason: str) -> None:
        self._delivery.emit(LaneChanged(lane, state, reason))

    def _watch_cooldown(self, lane: tuple[str, str]) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._cooldowns.tell, lane)


def _as_ours(error: Exception) -> AgentPipelineError:
    if isinstance(error, AgentPipelineError):
        return error
    return CallFailedError(f"{type(error).__name__}: {error}")
