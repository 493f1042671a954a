"""Batches that a provider works on by itself: cheaper, within a day, and taken up again after a crash."""

import logging
import time
from collections import Counter
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, Unpack

from agent_pipeline.batch.batch_api_input import MOST_BYTES, MOST_REQUESTS, BatchRequest
from agent_pipeline.batch.batch_api_opening import DISCOUNT, Opened, Opening
from agent_pipeline.batch.batch_api_options import BatchAPIOptions
from agent_pipeline.batch.batch_api_part import BatchProgress
from agent_pipeline.batch.batch_api_state import STATE_NAME, JobState
from agent_pipeline.batch.calling import call_either
from agent_pipeline.batch.given import check_item, check_source
from agent_pipeline.batch.middleware import PostProcessor
from agent_pipeline.batch.results import BatchResult, WorkItemResult, as_token_usage
from agent_pipeline.bridge import Caller, Hosted, HostedLifetime
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import AgentPipelineError, BatchJobError
from agent_pipeline.gateway.batch_lines import LineResult

_logger = logging.getLogger("agent_pipeline.batch")

TOutput = TypeVar("TOutput")
TContext = TypeVar("TContext")


_STRIDE = 100
"""Items of a plain source that are taken at once."""


@dataclass(frozen=True, slots=True)
class BatchCharge:
    """What a job was charged; money is discounted, None where no price is known.

    Attributes:
        usage: tokens reported.
        micro_usd: what they cost.
        unknown_tokens: worst case of requests that may have been worked on, of which nobody tells.
        unknown_micro_usd: likewise.
    """

    usage: Usage
    micro_usd: int | None
    unknown_tokens: int
    unknown_micro_usd: int


class BatchAPIProcessor(HostedLifetime, Generic[TOutput, TContext]):
    """Has a provider's batch endpoint answer many requests of one role: half the price, within a day.

    From Trio, from asyncio, and in part from ordinary code. All that is known is in one directory, so a job whose
    process died is taken up by `resume`: no batch is made twice, and each item has exactly one result. Where the
    process is cancelled, batches go on at the provider; `cancel` ends them there.

    Args:
        role: who is asked; fallbacks are not.
        directory: of this job alone; made when it is needed.
        runtime: roles and providers, or the file they are in; this or `gateway`.
        gateway: an open one, whose gate, budget and connections are used; then only under Trio, in its run.
        discount: share of the price that a batch costs less, from 0 to below 1.
        budget: what the job may use; each part's worst case is held from before it is sent until it is settled.
        limits: of the requests about files and batches.
        poll_interval: seconds between the first two looks at a batch; then they double.
        max_poll_interval: up to this.
        timeout: seconds `process_all` waits; None is unlimited. What has not come by then fails as `batch_pending`.
        output_type: what answers have to be; None for text, or vectors of an embedding role.
        read_answer: instead of it, makes an item's output from the answer's JSON.
        post_processor: called after each success with the result; its own error is logged and fails nothing. After
            `resume` it may be called once more for the same item.
        max_requests: lines of one input file.
        max_bytes: of one input file.
        on_progress: a plain function, called with each look at a batch; its own error is logged.
        endpoints: by provider id, in the place of the runtime's own.
        price_of: finds what a model costs.
        make_pool: of connections.
        threaded: sync files in worker threads; False where time is virtual.

    Raises:
        ValueError: the options make no sense.
        TypeError: there is no such option, or it is not what it says above.
    """

    def __init__(
        self,
        *,
        role: str,
        directory: str | Path,
        discount: float = DISCOUNT,
        max_requests: int = MOST_REQUESTS,
        max_bytes: int = MOST_BYTES,
        **options: Unpack[BatchAPIOptions],
    ) -> None:
        self._begin(Opening(role, Path(directory), options, discount, max_requests, max_bytes))

    @classmethod
    def resume(
        cls, job: str | Path, *, role: str = "", directory: str | Path | None = None, **options: Unpack[BatchAPIOptions]
    ) -> Self:
        """Take up a job: `process_all` goes on from where it was, and gives a result for every item.

        Args:
            job: its directory, or the state file in it. Or the id of a batch at the provider, whose job's directory
                is lost: its requests are fetched from there.
            role: as it was; only needed with a batch's id.
            directory: for what is fetched; likewise.
            options: as `BatchAPIProcessor` takes them.
        """
        path, batch_id = Path(job), None
        if not path.exists():
            if directory is None or not role:
                raise BatchJobError(f"{job} is no directory of a job; with the id of a batch, give role and directory")
            path, batch_id = Path(directory), str(job)
        where = path.parent if path.name == STATE_NAME else path
        processor = cls(role=role, directory=where, **options)
        processor._begin(Opening(role, where, options, is_resumed=True, batch_id=batch_id))
        return processor

    def _begin(self, opening: Opening) -> None:
        self._opening = opening
        self._hosted = Hosted(opening.open, name=type(self).__name__)
        self._contexts: dict[str, TContext] = {}
        self._charge: BatchCharge | None = None

    @property
    def directory(self) -> Path:
        """Where the job is; `resume` takes it."""
        return self._opening.directory

    @property
    def charge(self) -> BatchCharge | None:
        """What the job was charged; None before `process_all` has ended."""
        return self._charge

    async def add_work(self, item: BatchRequest[TContext]) -> None:
        """Write one item to the job's input; nothing is sent before `process_all`.

        Raises:
            TypeError: it is no `BatchRequest`.
            DuplicateItemError: its id was used; it was not taken.
            BatchClosedError: the job's input is complete already.
            ConfigError: its params make no sense; likewise.
            ValueError: it is no JSON, or too long for any file; likewise.
            ArtifactError: the job's directory can't be written.
        """
        await self._hosted.run(self._add, (item,))

    async def add_all(self, items: Iterable[BatchRequest[TContext]] | AsyncIterable[BatchRequest[TContext]]) -> None:
        """Write all items of a source, one at a time; errors as `add_work`, and what was taken before stays."""
        check_source(items, BatchRequest)
        if isinstance(items, AsyncIterable):
            async for item in items:
                await self.add_work(item)
        else:
            rest = iter(items)
            while stride := tuple(islice(rest, _STRIDE)):
                await self._hosted.run(self._add, stride)

    def add_all_sync(self, items: Iterable[BatchRequest[TContext]]) -> None:
        """Do the same from code without an event loop, for sources that are not asynchronous."""
        check_source(items, BatchRequest, only_plain=True)
        rest = iter(items)
        while stride := tuple(islice(rest, _STRIDE)):
            self._hosted.run_sync(self._add, stride)

    async def process_all(self) -> BatchResult[TOutput, TContext]:
        """Have all items answered; return one result for each, in the order of adding.

        Never raises for what a provider does: such items fail, and their error says whether `resume` can help.
        Cancelled, the job is left to be resumed.

        Raises:
            ValueError: no items were added; they still can be.
            RuntimeError: it is going on already.
            ArtifactError: the job's directory can't be written.
        """
        return await self._hosted.run(self._process, Caller.here())

    def process_all_sync(self) -> BatchResult[TOutput, TContext]:
        """Do the same from code without an event loop."""
        return self._hosted.run_sync(self._process, Caller.here())

    async def cancel(self) -> None:
        """End the job early, at the provider too; what it has answered by then is collected by `process_all`."""
        await self._hosted.run(Opened.cancel)

    async def _add(self, opened: Opened, items: Iterable[BatchRequest[TContext]]) -> None:
        for item in items:
            check_item(item, BatchRequest)
            await opened.add(item)
            if item.context is not None:
                self._contexts[item.item_id] = item.context

    async def _process(self, opened: Opened, caller: Caller) -> BatchResult[TOutput, TContext]:
        await opened.seal()
        begun = time.monotonic()
        results: dict[int, WorkItemResult[TOutput, TContext]] = {}
        post = self._opening.options.get("post_processor")

        async def keep(position: int, line: LineResult) -> None:
            result = results[position] = self._result(opened, position, line)
            if post is not None and result.success:
                await _post_process(caller, post, result)

        tell = self._opening.options.get("on_progress")

        async def progress(look: BatchProgress) -> None:
            if tell is not None:
                await _tell(caller, tell, look)

        timeout = self._opening.options.get("timeout")
        in_time = await opened.job.run(keep, timeout=timeout, on_progress=progress)
        self._charge = _charge_of(opened.job.state)
        ordered = tuple(results[position] for position in sorted(results))
        result = _summed(ordered, self._charge, seconds=time.monotonic() - begun)
        if not in_time:
            reason = f"the provider has not finished; resume the job in {self.directory}"
            return replace(result, termination="batch_timeout", reason=reason)
        return replace(result, termination="cancelled") if opened.job.state.cancel_requested else result

    def _result(self, opened: Opened, position: int, line: LineResult) -> WorkItemResult[TOutput, TContext]:
        error = line.error
        output: TOutput | None = None
        if error is None:
            try:
                output = self._opening.output(line.body or {}, opened.job.endpoint)
            except AgentPipelineError as exc:
                error = exc
        return WorkItemResult(
            item_id=line.item_id,
            success=error is None,
            output=output,
            error=None if error is None else str(error),
            error_code=None if error is None else error.code,
            context=self._contexts.get(line.item_id),
            token_usage=as_token_usage(line.usage or Usage()),
            attempts=int(line.usage is not None or line.may_be_billed or error is None),
            position=position,
        )


async def _post_process(caller: Caller, post: PostProcessor[Any, Any], result: WorkItemResult[Any, Any]) -> None:
    try:
        await caller.run(call_either, post, result)
    except Exception:
        _logger.exception("the post-processor failed after item %r", result.item_id)


async def _tell(caller: Caller, tell: Callable[[BatchProgress], object], look: BatchProgress) -> None:
    try:
        await caller.tell(tell, look)
    except Exception:
        _logger.exception("on_progress failed at batch %s", look.batch_id)


def _charge_of(state: JobState) -> BatchCharge:
    usage, cost, unknown, unknown_cost = Usage(), 0, 0, 0
    priced = True
    for part in state.parts:
        if part.charge is not None:
            usage += part.charge.usage
            priced &= part.charge.micro_usd is not None
            cost += part.charge.micro_usd or 0
            unknown += part.charge.unknown_tokens
            unknown_cost += part.charge.unknown_micro_usd
    return BatchCharge(usage, cost if priced else None, unknown, unknown_cost)


def _summed(
    results: tuple[WorkItemResult[TOutput, TContext], ...], charge: BatchCharge, *, seconds: float
) -> BatchResult[TOutput, TContext]:
    succeeded = sum(one.success for one in results)
    return BatchResult(
        results=results,
        total_items=len(results),
        succeeded=succeeded,
        failed=len(results) - succeeded,
        total_input_tokens=charge.usage.input_tokens,
        total_output_tokens=charge.usage.output_tokens,
        total_cached_input_tokens=charge.usage.cached_input_tokens,
        unknown_tokens=charge.unknown_tokens,
        errors=dict(Counter(one.error_code for one in results if one.error_code is not None)),
        seconds=seconds,
    )
