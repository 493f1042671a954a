"""The engine of a run: documents in this process, or handed out to workers on Ray."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import trio

from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.compose.work import Work
from agent_pipeline.compose.worker_plan import worker_plan
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.engines.driver import Driver
from agent_pipeline.engines.intake import Intake
from agent_pipeline.engines.lending import Lending
from agent_pipeline.engines.link import OpenWorker
from agent_pipeline.engines.on_ray import check_ray_installed, open_cluster
from agent_pipeline.engines.shards import ShardBook
from agent_pipeline.errors import ConfigError
from agent_pipeline.pipeline.admission import Admission, Tally

WORKER_MAIN = "agent_pipeline.compose.worker_process:work_in_own_process"


class Engine(Protocol):
    """What gets documents worked on."""

    async def admit(self, entries: AsyncGenerator[SourceEntry], /) -> None:
        """Have the source worked through, until it or the run ends."""
        ...

    def set_in_flight(self, count: int, /) -> None:
        """Work on at most so many documents at once from now on."""
        ...


def check_engine(config: PipelineConfig, options: RunOptions) -> None:
    """See that the engine is there, and can do what is asked of it; nothing is made, Ray is not imported.

    Raises:
        ConfigError: it is not installed, or what is asked can be done in one process only.
    """
    if config.engine.kind == "local":
        return
    for flag, given in (("--record", options.record), ("--replay", options.replay)):
        if given is not None:
            raise ConfigError(f"one process records or replays: leave out {flag}, or add --engine local", key="engine")
    if options.virtual:
        raise ConfigError("virtual time is that of one process: rehearse with --engine local", key="engine")
    check_ray_installed()


@asynccontextmanager
async def open_engine(
    runtime: Runtime, work: Work, tally: Tally, nursery: trio.Nursery, *, in_flight: int
) -> AsyncGenerator[Engine]:
    """Open the engine that the config names; of workers none is left when the block ends.

    Args:
        runtime: the open parts of the run.
        work: what it is to do.
        tally: takes each document's ending.
        nursery: of documents in this process.
        in_flight: documents at once.

    Raises:
        ConfigError: the Ray cluster can't be used.
    """
    engine = work.config.engine
    if engine.kind == "local":
        yield Admission(nursery, itinerary=runtime.itinerary, in_flight=in_flight, tally=tally, stop=runtime.stop)
        return
    async with open_cluster(engine.address, workers=engine.workers, main=WORKER_MAIN) as open_worker:
        yield _driver(runtime, work, tally, open_worker, in_flight=in_flight)


def _driver(runtime: Runtime, work: Work, tally: Tally, open_worker: OpenWorker, *, in_flight: int) -> Driver:
    config, gate, telemetry = work.config, runtime.gate, runtime.records.telemetry
    engine, limits = config.engine, config.limits
    intake = Intake(
        runtime.document_records,
        ShardBook(),
        tally=tally,
        stop=runtime.stop,
        record=gate.record,
        counts=gate.counts,
        tell=telemetry.emit_at,
        plan_sha256=runtime.itinerary.plan_sha256,
        clean=runtime.records.redactor.text,
    )
    plan = worker_plan(
        runtime,
        config,
        work.options,
        worker=0,
        workers=engine.workers,
        concurrency=engine.concurrency_of(in_flight),
    )
    per_minute = (limits.requests_per_minute, limits.tokens_per_minute)
    return Driver(
        open_worker=open_worker,
        plan=plan,
        workers=engine.workers,
        intake=intake,
        stop=runtime.stop,
        emit=telemetry.emit,
        lend=partial(Lending, gate.budget, per_minute=per_minute),
        shard_size=engine.shard_size,
    )
