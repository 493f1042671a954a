"""The engine of a run, opened where documents begin."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import NoReturn

import trio

from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.compose.worker_plan import worker_plan
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.engines.driver.driver import Driver
from agent_pipeline.engines.driver.intake import Intake
from agent_pipeline.engines.driver.shards import ShardBook
from agent_pipeline.engines.engine import Engine
from agent_pipeline.engines.leases.lending import Lending
from agent_pipeline.engines.link import OpenWorker, WorkerLostError
from agent_pipeline.engines.messages import WorkerPlan
from agent_pipeline.engines.on_ray import open_cluster
from agent_pipeline.pipeline.admission import Admission, Tally

WORKER = "agent_pipeline.compose.worker_process:work_in_own_process"
"""What workers run, by the name under which every machine finds it."""


@asynccontextmanager
async def open_engine(
    runtime: Runtime, config: PipelineConfig, options: RunOptions, tally: Tally, *, in_flight: int
) -> AsyncGenerator[Engine]:
    """Open what works on the documents; every task of it, and every process, has ended when the block has.

    A run that is stopped while a cluster keeps it waiting gets an engine without one, which admits nothing.

    Args:
        runtime: the open parts of the run.
        config: of the run.
        options: likewise.
        tally: takes the documents' endings.
        in_flight: documents at once, in this process.

    Raises:
        ConfigError: the cluster can't be used.
    """
    if config.engine.kind == "local":
        async with trio.open_nursery() as nursery:
            yield Admission(nursery, itinerary=runtime.itinerary, in_flight=in_flight, tally=tally, stop=runtime.stop)
        return
    async with AsyncExitStack() as stack:
        open_worker: OpenWorker = _open_no_worker
        with runtime.stop.opening:
            open_worker = await stack.enter_async_context(_way_to_workers(config, options))
        driver = _driver(runtime, config, options, tally, open_worker)
        try:
            yield driver
        finally:
            tally.workers = driver.statistics()


def _way_to_workers(config: PipelineConfig, options: RunOptions) -> AbstractAsyncContextManager[OpenWorker]:
    if options.open_worker is not None:
        return nullcontext(options.open_worker)
    return open_cluster(config.engine.address, workers=config.engine.workers, main=WORKER)


def _open_no_worker(_plan: WorkerPlan) -> NoReturn:
    raise WorkerLostError("the run was stopped before it had a cluster")


def _driver(
    runtime: Runtime, config: PipelineConfig, options: RunOptions, tally: Tally, open_worker: OpenWorker
) -> Driver:
    engine, limits, records = config.engine, config.limits, runtime.records
    concurrency = engine.concurrency_of(limits.documents_in_flight)
    per_minute = limits.requests_per_minute, limits.tokens_per_minute
    return Driver(
        open_worker=open_worker,
        plan=worker_plan(runtime, config, options, worker=0, workers=engine.workers, concurrency=concurrency),
        workers=engine.workers,
        intake=Intake(
            runtime.document_records,
            ShardBook(),
            tally=tally,
            stop=runtime.stop,
            record=runtime.record,
            counts=runtime.gate.counts,
            tell=records.telemetry.emit_at,
            plan_sha256=runtime.itinerary.plan_sha256,
            clean=records.redactor.text,
        ),
        stop=runtime.stop,
        emit=records.telemetry.emit,
        lend=lambda tell: Lending(runtime.gate.budget, tell, per_minute=per_minute),
        shard_size=engine.shard_size,
    )
