"""Batches as users see them: add work, get one result for each item, from Trio or asyncio."""

import random
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from itertools import islice
from types import EllipsisType, TracebackType
from typing import Any, Generic, Self, TypeVar

from agent_pipeline.batch.config import AbortMode, ProcessorConfig
from agent_pipeline.batch.core import BatchCore
from agent_pipeline.batch.events import ProcessorObserver
from agent_pipeline.batch.flow import Flow
from agent_pipeline.batch.given import check_callable, check_item, check_source, each, told
from agent_pipeline.batch.items import LLMWorkItem
from agent_pipeline.batch.metrics import BatchMetrics, Metrics
from agent_pipeline.batch.middleware import Hooks, Middleware, PostProcessor
from agent_pipeline.batch.results import BatchResult, WorkItemResult
from agent_pipeline.bridge import Caller, Hosted
from agent_pipeline.errors import BatchClosedError, DuplicateItemError, QueueFullError

TInput = TypeVar("TInput")
TOutput = TypeVar("TOutput")
TContext = TypeVar("TContext")

Source = AsyncIterable[LLMWorkItem[TInput, TOutput, TContext]] | Iterable[LLMWorkItem[TInput, TOutput, TContext]]
"""Where items come from: any iterable, asynchronous or not."""

ENDED = "this batch has ended; one processor is one batch, make a new one"

ITEMS_AT_ONCE = 64
"""Items that are taken from a plain iterable in one go, where the queue has no bound."""


class BatchProcessor(ABC, Generic[TInput, TOutput, TContext]):
    """What every way to work on a batch has: a queue, workers, results, hooks. Subclasses say what a worker does.

    `async with processor:` lets the workers run while the block lasts, so that work can be added and results read
    beside each other; `await processor.process_all()` alone does it for one call. All of it works under Trio and under
    asyncio; items' own code, hooks and observers run where the batch was opened. One processor is one batch: once
    closed, it takes nothing more.

    Every item that was taken ends in exactly one result, whatever ends the batch. On cancellation what is under way is
    cancelled and awaited, and `partial_result` tells what is known.

    Args:
        config: limits, timeouts and order.
        post_processor: called with each success, after middleware; what it raises is logged and counted, and the item
            stays a success. Also cancelled with the batch.
        middleware: around each item.
        observers: see events.
        rng: for jitter.

    Raises:
        TypeError: an argument is not what it says above.
    """

    def __init__(
        self,
        config: ProcessorConfig,
        *,
        post_processor: PostProcessor[TOutput, TContext] | None = None,
        middleware: Sequence[Middleware[TInput, TOutput, TContext]] = (),
        observers: Sequence[ProcessorObserver] = (),
        rng: random.Random | None = None,
    ) -> None:
        _check_config(config)
        check_callable("post_processor", post_processor)
        self.config = config
        self._hooks = Hooks(each("middleware", middleware, Middleware), post_processor)
        self._observers = each("observers", observers, ProcessorObserver)
        self._rng = rng
        self._metrics = Metrics()
        self._flow: Flow[TInput, TOutput, TContext] = Flow(
            queue_size=config.max_queue_size,
            result_size=config.max_result_queue_size,
            window=config.window if config.preserve_order else None,
        )
        self._before: dict[str, LLMWorkItem[TInput, TOutput, TContext]] = {}
        self._kept: list[WorkItemResult[TOutput, TContext]] = []
        self._read = 0
        self._core: BatchCore[TInput, TOutput, TContext] | None = None
        self._hosted: Hosted[BatchCore[TInput, TOutput, TContext]] | None = None
        self._was_opened = False

    # --- open and closed ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Let the workers run.

        Raises:
            BatchClosedError: it was opened before.
        """
        if self._was_opened:
            msg = ENDED if self._hosted is None else "this batch is open already; one processor is one batch"
            raise BatchClosedError(msg)
        self._was_opened = True
        caller = Caller.here()
        hosted: Hosted[BatchCore[TInput, TOutput, TContext]] = Hosted(lambda: self._opened(caller))
        await hosted.__aenter__()
        self._hosted = hosted
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Cancel what is under way, and close the batch for good."""
        hosted, self._hosted = self._hosted, None
        return None if hosted is None else await hosted.__aexit__(kind, error, trace)

    def _opened(self, caller: Caller) -> AbstractAsyncContextManager[BatchCore[TInput, TOutput, TContext]]:
        core = self._core = BatchCore(
            self.config,
            self._flow,
            hooks=self._hooks,
            metrics=self._metrics,
            observers=self._observers,
            caller=caller,
            rng=self._rng,
        )
        return core.opened(self._worker, tuple(self._before.values()))

    def _open(self) -> Hosted[BatchCore[TInput, TOutput, TContext]]:
        if self._hosted is None:
            msg = ENDED if self._was_opened else "nothing runs yet; use it inside `async with processor:`"
            raise BatchClosedError(msg)
        return self._hosted

    # --- in ----------------------------------------------------------------------------------------------------------

    async def add_work(self, work_item: LLMWorkItem[TInput, TOutput, TContext]) -> None:
        """Add an item, before or while the batch runs; waits while the queue is full. Cancelled, it was not added.

        Raises:
            TypeError: it is no item.
            DuplicateItemError: an item of this id was added before.
            QueueFullError: the queue is full and nothing runs that could empty it.
            BatchClosedError: the batch has ended.
        """
        if self._was_opened:
            await self._open().run(BatchCore.add, work_item)
            return
        check_item(work_item, LLMWorkItem)
        if work_item.item_id in self._before:
            msg = f"an item with the id {work_item.item_id!r} was added before"
            raise DuplicateItemError(msg)
        if 0 < self.config.max_queue_size <= len(self._before):
            msg = f"{len(self._before)} items wait and nothing runs; add them inside `async with processor:`"
            raise QueueFullError(msg)
        self._before[work_item.item_id] = work_item

    async def add_work_from(self, source: Source[TInput, TOutput, TContext]) -> None:
        """Add all that a source gives, as the queue has room; the batch does not count as done meanwhile.

        Where the batch is ended early, this ends, too. Errors as `add_work`, and what the source raises.
        """
        check_source(source, LLMWorkItem)
        await self._open().run(BatchCore.feed, partial(self._pull, source))

    async def _pull(self, source: Source[TInput, TOutput, TContext]) -> None:
        hosted = self._open()
        if not isinstance(source, AsyncIterable):
            items = iter(source)
            # Without a bound nothing has to be read as there is room, and a hop between loops costs more than an item.
            at_once = ITEMS_AT_ONCE if self.config.max_queue_size == 0 else 1
            while some := tuple(islice(items, at_once)):
                await hosted.run(BatchCore.add, *some)
            return
        try:
            async for item in source:
                await hosted.run(BatchCore.add, item)
        finally:
            # A generator that is left early has to be closed here, not whenever it is collected.
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    # --- out ---------------------------------------------------------------------------------------------------------

    async def process_all(
        self, source: Source[TInput, TOutput, TContext] | None = None
    ) -> BatchResult[TOutput, TContext]:
        """Work until every item has its result, those of `source` included, and return them all in order of adding.

        Inside `async with` more can be added afterwards; the next result then holds everything. What the source raises
        comes out when what it gave before has been worked on; on cancellation, see `partial_result`.
        """
        if source is not None:
            check_source(source, LLMWorkItem)
        if not self._was_opened:
            async with self:
                await self._work_through(source)
            return self.partial_result()
        await self._work_through(source)
        result = self.partial_result()
        return replace(result, termination="completed") if result.termination == "running" else result

    async def _work_through(self, source: Source[TInput, TOutput, TContext] | None) -> None:
        hosted = self._open()
        if source is not None:
            await hosted.run(BatchCore.feed_soon, partial(self._pull, source))
        await hosted.run(BatchCore.read_all, self._read, self._kept.append)
        self._check_feed()

    def results(self) -> AsyncIterator[WorkItemResult[TOutput, TContext]]:
        """Give results as they come, or in the order of adding where the config says so; inside `async with`.

        Ends when every item added by then has its result and no source is left; more can be added afterwards, and read
        by another call. Whoever reads slowly slows the work down, where `max_result_queue_size` is set. Results that
        were given are not kept. One reader at a time.
        """
        return _Results(self._next_result)

    async def process_stream(
        self, source: Source[TInput, TOutput, TContext]
    ) -> AsyncIterator[WorkItemResult[TOutput, TContext]]:
        """Add all that a source gives, beside the work, and return the results as `results` gives them.

        What the source raises comes out of the iterator, after the results of what it gave before.
        """
        check_source(source, LLMWorkItem)
        await self._open().run(BatchCore.feed_soon, partial(self._pull, source))
        return self.results()

    async def _next_result(self) -> WorkItemResult[TOutput, TContext] | None:
        result = await self._open().run(BatchCore.next_result, self._read)
        if result is None:
            self._check_feed()
        else:
            self._read += 1
        return result

    def _check_feed(self) -> None:
        core = self._running()
        error, core.feed_error = core.feed_error, None
        if error is not None:
            raise error

    async def abort(self, reason: str, *, mode: AbortMode | None = None) -> None:
        """End the batch now: what waits ends as `batch_aborted`, what is under way too, or it goes on to its end.

        Args:
            reason: for results and observers.
            mode: None is the config's.
        """
        cancel = (mode or self.config.abort_mode) == "cancel"
        await self._open().run(BatchCore.abort, reason, cancel)

    # --- what is known -----------------------------------------------------------------------------------------------

    def partial_result(self) -> BatchResult[TOutput, TContext]:
        """Return what is known by now, from any thread: while the batch runs, and after it ended in whatever way."""
        totals, core = self._metrics.totals(), self._core
        results = [*self._kept, *self._flow.unread(self._read)]
        return BatchResult(
            results=tuple(sorted(results, key=lambda result: result.position)),
            total_items=self._flow.taken or len(self._before),
            succeeded=totals.succeeded,
            failed=totals.failed,
            total_input_tokens=totals.usage.input_tokens,
            total_output_tokens=totals.usage.output_tokens,
            total_cached_input_tokens=totals.usage.cached_input_tokens,
            unknown_tokens=0 if core is None else core.budget.tokens.statistics().unknown,
            termination="running" if core is None else core.termination,
            reason="" if core is None else core.reason,
            errors=dict(totals.errors),
            seconds=totals.duration,
        )

    def metrics(self) -> BatchMetrics:
        """Return the figures of this moment, from any thread."""
        waiting, active, unread = self._flow.depth()
        core = self._core
        return BatchMetrics(
            totals=self._metrics.totals(),
            items_waiting=waiting or len(self._before) * (not self._was_opened),
            items_active=active,
            results_waiting=unread,
            middleware_failures=self._hooks.middleware_failures,
            post_processor_failures=self._hooks.post_processor_failures,
            observer_failures=self._metrics.observer_failures,
            unknown_tokens=0 if core is None else core.budget.tokens.statistics().unknown,
        )

    # --- how ---------------------------------------------------------------------------------------------------------

    def _running(self) -> BatchCore[TInput, TOutput, TContext]:
        if self._core is None:
            msg = "nothing runs yet; use it inside `async with processor:`"
            raise BatchClosedError(msg)
        return self._core

    @abstractmethod
    async def _worker(self) -> None:
        """Work, under Trio, until nothing more will come; `config.max_workers` of these run beside each other."""

    @abstractmethod
    async def _process_item(
        self, work_item: LLMWorkItem[TInput, TOutput, TContext]
    ) -> WorkItemResult[TOutput, TContext]:
        """Return the result of one item, under Trio; what this raises fails the item."""


class ParallelBatchProcessor(BatchProcessor[TInput, TOutput, TContext]):
    """Works on up to `max_workers` items at once, each with as many requests as it takes.

    Every attempt passes one gate: pauses after a 429 hold for all, limits per minute and the budget of tokens too, and
    what fails for all is not asked again and again.

    Args:
        config: all that can be set; then none of the next two may be.
        max_workers: items under way at once; where it is not given, 5.
        timeout_per_item: seconds for all attempts of one item, None for no limit; where it is not given, 120.
        batch_size: has no effect; there for programs that set it. Requests are sent one by one.
        post_processor: as `BatchProcessor` has it, and the rest.
        middleware: around each item.
        observers: see events.
        rng: for jitter.

    Raises:
        ValueError: a value makes no sense, or is given twice.
        TypeError: an argument is not what it says above.
    """

    def __init__(
        self,
        config: ProcessorConfig | None = None,
        *,
        max_workers: int | EllipsisType = ...,
        batch_size: int = 1,
        post_processor: PostProcessor[TOutput, TContext] | None = None,
        timeout_per_item: float | EllipsisType | None = ...,
        middleware: Sequence[Middleware[TInput, TOutput, TContext]] = (),
        observers: Sequence[ProcessorObserver] = (),
        rng: random.Random | None = None,
    ) -> None:
        del batch_size
        given = {"max_workers": max_workers, "timeout_per_item": timeout_per_item}
        own: dict[str, Any] = {name: value for name, value in given.items() if value is not ...}
        if config is None:
            config = ProcessorConfig(**own)
        elif own and isinstance(config, ProcessorConfig):
            msg = f"where there is a config, {' and '.join(own)} belong into the config"
            raise ValueError(msg)
        super().__init__(config, post_processor=post_processor, middleware=middleware, observers=observers, rng=rng)

    async def _worker(self) -> None:
        await self._running().work(self._process_item)

    async def _process_item(
        self, work_item: LLMWorkItem[TInput, TOutput, TContext]
    ) -> WorkItemResult[TOutput, TContext]:
        return await self._running().process(work_item)


def _check_config(config: object) -> None:
    if isinstance(config, ProcessorConfig):
        return
    is_number = isinstance(config, int) and not isinstance(config, bool)
    hint = f"max_workers={config} is a keyword" if is_number else f"not {told(config)}"
    msg = f"config is a ProcessorConfig; {hint}"
    raise TypeError(msg)


class _Results(AsyncIterator[WorkItemResult[TOutput, TContext]]):
    """An iterator that holds nothing open, so that leaving it early leaves nothing behind."""

    def __init__(self, next_result: Callable[[], Awaitable[WorkItemResult[TOutput, TContext] | None]]) -> None:
        self._next_result = next_result

    async def __anext__(self) -> WorkItemResult[TOutput, TContext]:
        result = await self._next_result()
        if result is None:
            raise StopAsyncIteration
        return result
