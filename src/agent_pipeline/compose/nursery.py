"""The one nursery of a run: a task for each document, under the run's own limits."""

from collections.abc import AsyncGenerator
from functools import partial
from importlib.metadata import version

from agent_pipeline import bridge as bridges
from agent_pipeline.compose.engine import open_engine
from agent_pipeline.compose.engine_wanted import documents_in_flight
from agent_pipeline.compose.live import LiveValuesControl, open_live
from agent_pipeline.compose.live_target import RunTarget
from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.process import documents_that_fit, slim_log_records, tune_garbage_collector
from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.compose.snapshots import open_snapshots
from agent_pipeline.compose.source import source_name
from agent_pipeline.compose.work import Work
from agent_pipeline.config.pipeline import LimitsConfig, PipelineConfig
from agent_pipeline.control.deadline import on_ladder
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.domain.events import DocumentsClamped, PipelineStarted
from agent_pipeline.engines.engine import Engine
from agent_pipeline.errors import AgentPipelineError, InputError
from agent_pipeline.pipeline.admission import Stop, Tally
from agent_pipeline.pipeline.resumption import Resumption
from agent_pipeline.pipeline.secrets_kept_out import refuse_secrets


async def work_through(runtime: Runtime, work: Work, tally: Tally) -> None:
    """Take documents from the source as places are free, each in a task of the one nursery, until there are no more.

    Returns when every task has ended; why it ended early, if it did, is in `runtime.stop`. On cancellation each
    document under way has written its end before it goes on.
    """
    config, options, stop, limits = work.config, work.options, runtime.stop, work.config.limits
    wanted = documents_in_flight(config)
    fit = partial(_documents_that_fit, runtime, limits, options)
    in_flight = fit(wanted) if config.engine.kind == "local" else wanted
    runtime.records.telemetry.emit(
        PipelineStarted(
            run_id=runtime.records.directory.run_id,
            pipeline=config.name,
            run_dir=str(runtime.records.directory.path),
            version=version("agent-pipeline"),
            stages=[planned.stage.name for planned in work.stages],
            documents_in_flight=in_flight,
            requests_in_flight=limits.requests_in_flight.start,
            simulator=options.offline,
            replayed=options.replay is not None,
            documents=work.source.count_hint,
            session=runtime.records.session.number,
            engine=config.engine.kind,
            workers=0 if config.engine.kind == "local" else config.engine.workers,
        )
    )
    if options.own_process:
        slim_log_records()
        tune_garbage_collector()
    if limits.timeouts.run is not None:
        stop.limit(limits.timeouts.run)
    with stop.scope, on_ladder("run", limits.timeouts.run, deadline=stop.scope.deadline):
        async with (
            open_snapshots(runtime, tally, options.on_snapshot) as elsewhere,
            open_live(threaded=not options.virtual) as hold_to,
        ):
            try:
                async with open_engine(runtime, config, options, tally, in_flight=in_flight) as engine:
                    elsewhere.told = engine.elsewhere
                    if config.live is not None:
                        target = RunTarget(runtime, engine, work.stages, fit)
                        hold_to(LiveValuesControl(config.live, config, target, runtime.records.telemetry.emit))
                    await _admit(engine, _entries(runtime, work, tally), stop)
            except AgentPipelineError as exc:  # it could not be opened
                stop.request(exc.code, str(exc), cancel=False, error=exc)
    if stop.scope.cancelled_caught and stop.reason is None:
        stop.time_out()
    if tally.taken == 0 and stop.reason is None:
        _stop_for_nothing(config, stop)


def _stop_for_nothing(config: PipelineConfig, stop: Stop) -> None:
    error = InputError(f"the source {source_name(config)} has no documents")
    stop.request(error.code, str(error), cancel=False, error=error)


async def _admit(engine: Engine, entries: AsyncGenerator[SourceEntry], stop: Stop) -> None:
    """Let the engine take all entries; a source that turns out to be unusable ends the run, and cancels nobody."""
    try:
        await engine.admit(entries)
    except AgentPipelineError as exc:
        stop.request(exc.code, str(exc), cancel=False, error=exc)


def _documents_that_fit(runtime: Runtime, limits: LimitsConfig, options: RunOptions, wanted: int) -> int:
    """Return how many documents at once this process may have; say so where it is fewer than wanted."""
    connections = limits.requests_in_flight.start * (2 if options.offline else 1)
    in_flight = documents_that_fit(wanted, connections=connections, per_loop=bridges.DESCRIPTORS_PER_LOOP)
    if in_flight < wanted:
        runtime.records.telemetry.emit(DocumentsClamped(wanted, in_flight))
    return in_flight


def _entries(runtime: Runtime, work: Work, tally: Tally) -> AsyncGenerator[SourceEntry]:
    """Return the entries of the source that need work."""
    session, records = runtime.records.session, runtime.document_records
    entries = refuse_secrets(work.source.entries(), runtime.itinerary.secrets)
    if session.number == 1:
        return entries
    resumption = Resumption(
        runtime.itinerary,
        records,
        last_position=session.last_position,
        retry_failed=work.options.retry_failed,
        reasons=session.reasons,
        left_at={number: ended_at.timestamp() for number, ended_at in session.ended_at.items()},
        whole=records.artifacts.whole,
        tally=tally,
    )
    return resumption.unfinished(entries)
