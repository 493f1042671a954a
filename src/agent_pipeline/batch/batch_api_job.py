"""A whole batch job under Trio: its parts beside each other, each of its items with exactly one result at the end."""

import math
import secrets
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing
from dataclasses import dataclass

import trio

from agent_pipeline.batch.batch_api_input import LINES_AT_A_TIME
from agent_pipeline.batch.batch_api_part import BatchProgress, JobContext, OnProgress, Pace, PartRun
from agent_pipeline.batch.batch_api_results import failures_of, results_of
from agent_pipeline.batch.batch_api_state import JobFolder, JobState
from agent_pipeline.errors import (
    AgentPipelineError,
    BatchPendingError,
    BatchRequestCancelledError,
)
from agent_pipeline.gateway.batch_lines import LineResult
from agent_pipeline.gateway.batches import BatchEndpoint

OnResult = Callable[[int, LineResult], Awaitable[None]]
"""Takes the position of an item, from 0 in the order of adding, and what became of it."""

PARTS_AT_ONCE = 8
"""Batches of one job at a provider at the same time."""


def new_state(endpoint: BatchEndpoint, discount: float) -> JobState:
    """Return the state of a job that is only begun."""
    binding = endpoint.binding
    return JobState(
        job_id=secrets.token_hex(8),
        role=binding.role,
        provider=binding.provider,
        model=binding.model,
        endpoint=endpoint.endpoint,
        discount=discount,
    )


class BatchJob:
    """One job, its directory held.

    Args:
        folder: of the job.
        state: as it is on disk, or new.
        endpoint: of the role.
        pace: of polling.
    """

    def __init__(self, folder: JobFolder, state: JobState, endpoint: BatchEndpoint, pace: Pace) -> None:
        self.state = state
        self.folder = folder
        self.endpoint = endpoint
        self._on_progress: OnProgress | None = None
        self._context = JobContext(folder, state, endpoint, pace, trio.Event(), self._tell)
        self._is_running = False
        if state.cancel_requested:
            self._context.cancelled.set()

    async def run(self, on_result: OnResult, *, timeout: float | None, on_progress: OnProgress | None = None) -> bool:
        """Bring every part to its end, and hand on one result for each item; the parts in no particular order.

        A part that can't go on gives each of its items that error; another `run`, here or in another process, goes on
        from where it is. Cancelled, batches go on at the provider, to be taken up again likewise.

        Args:
            on_result: what it raises ends the run; other parts are left where they are.
            on_progress: told of each look at a batch; must not raise.
            timeout: seconds to wait for the provider; None is unlimited. What has not come by then fails as
                `batch_pending`, to be taken up again likewise.

        Returns:
            Whether all parts came to their end in time.

        Raises:
            RuntimeError: it is running already.
        """
        if self._is_running:
            msg = "this batch job is running already"
            raise RuntimeError(msg)
        self._is_running = True
        self._on_progress = on_progress
        runs = [PartRun(self._context, part) for part in self.state.parts]
        limiter = trio.CapacityLimiter(PARTS_AT_ONCE)
        end = _End(trio.current_time() + timeout if timeout is not None else math.inf, timeout)
        try:
            for run in runs:
                run.take_over()  # before any other asks for budget
            async with trio.open_nursery() as nursery:
                position = 0
                for run in runs:
                    nursery.start_soon(self._run_part, run, position, on_result, end, limiter)
                    position += run.part.requests
            return end.in_time
        finally:
            self._is_running = False
            for run in runs:
                run.leave()

    async def _tell(self, progress: BatchProgress) -> None:
        if self._on_progress is not None:
            await self._on_progress(progress)

    async def _run_part(
        self, run: PartRun, position: int, on_result: OnResult, end: "_End", limiter: trio.CapacityLimiter
    ) -> None:
        results = failures_of(self.folder, run.part, end.error(self.folder))
        with trio.move_on_at(end.deadline) as waiting:
            async with limiter:
                results = await self._results(run)
        run.leave()
        end.in_time &= not waiting.cancelled_caught
        with closing(results):
            for number, one in enumerate(results):
                if number % LINES_AT_A_TIME == 0:
                    await trio.lowlevel.checkpoint()
                await on_result(position + number, one)

    async def _results(self, run: PartRun) -> Generator[LineResult]:
        part = run.part
        try:
            found = await run.run()
        except AgentPipelineError as exc:
            return failures_of(self.folder, part, exc)
        if found is None:
            error = BatchRequestCancelledError("the job was cancelled before this was sent")
            return failures_of(self.folder, part, error)
        return results_of(self.folder, part, self.endpoint, found)

    async def cancel(self) -> None:
        """End the job early: what was not sent is not, and the provider is asked to stop; what it answered is kept.

        The rest is collected by `run`, whether that goes on already or comes later.
        """
        self.state.cancel_requested = True
        self._context.cancelled.set()
        await self._context.save()
        for part in self.state.parts:
            if part.step == "created" and part.batch_id is not None:
                await self.endpoint.cancel(part.batch_id)


@dataclass(slots=True)
class _End:
    """How long to wait, on Trio's clock, and whether that was enough for all."""

    deadline: float
    timeout: float | None
    in_time: bool = True

    def error(self, folder: JobFolder) -> BatchPendingError:
        return BatchPendingError(
            f"the provider has not finished within {self.timeout or 0:g} s; resume the job in {folder.path} later"
        )
