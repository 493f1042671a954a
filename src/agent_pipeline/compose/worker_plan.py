"""What each worker of a distributed run is told of it."""

import os
from importlib.metadata import version

from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.control.budget import RunBudget
from agent_pipeline.domain.events import SdkTraceItem
from agent_pipeline.engines.agreement import text_sha256
from agent_pipeline.engines.messages import RUN, WorkerPlan
from agent_pipeline.telemetry import SelectiveSink


def worker_plan(
    runtime: Runtime, config: PipelineConfig, options: RunOptions, *, worker: int, workers: int, concurrency: int
) -> WorkerPlan:
    """Return the plan of one worker.

    Args:
        runtime: the driver's open parts.
        config: of the run.
        options: likewise.
        worker: its number.
        workers: how many share the run.
        concurrency: documents in flight in it.
    """
    in_flight, itinerary = config.limits.requests_in_flight, runtime.itinerary
    start, minimum, maximum = (-(-limit // workers) for limit in (in_flight.start, in_flight.min, in_flight.max))
    return WorkerPlan(
        worker=worker,
        pipeline_text=config.text,
        pipeline_sha256=text_sha256(config.text),
        roles_text=config.roles_text,
        roles_sha256=text_sha256(config.roles_text),
        path=str(config.path.absolute()),
        roles_path=str(config.roles.absolute()),
        overrides=config.overrides,
        only=options.only,
        skip=options.skip,
        offline=options.offline,
        faults=None if options.faults is None else os.path.abspath(options.faults),  # noqa: PTH100 - no link resolved
        seed=options.seed,
        include_texts=options.include_texts,
        carries_spans=any(not isinstance(sink, SelectiveSink) or sink.accepts(SdkTraceItem) for sink in options.sinks),
        concurrency=concurrency,
        run_id=runtime.records.directory.run_id,
        session=runtime.records.session.number,
        version=version("agent-pipeline"),
        plan_sha256=itinerary.plan_sha256,
        requests_in_flight=(start, minimum, maximum),
        fingerprints=dict(itinerary.fingerprints),
        leased=_leased(runtime.gate.budget),
    )


def _leased(budget: RunBudget) -> frozenset[str]:
    """Return the owners of budgets with a cap."""
    owners = {RUN: budget} | {f"role:{name}": of_role for name, of_role in budget.roles.items()}
    return frozenset(
        owner
        for owner, one in owners.items()
        if one.tokens.statistics().total is not None or one.micro_usd.statistics().total is not None
    )
