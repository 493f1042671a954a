"""A pipeline as users know it: from a config file to a result."""

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Self

import trio

from agent_pipeline import bridge as bridges
from agent_pipeline.compose.conclusion import conclude, with_losses, write_manifest
from agent_pipeline.compose.earlier_run import find_earlier_run, merge
from agent_pipeline.compose.export import with_export
from agent_pipeline.compose.live import LiveValuesControl, open_live
from agent_pipeline.compose.live_target import RunTarget
from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.process import (
    documents_that_fit,
    raise_descriptor_limit,
    slim_log_records,
    tune_garbage_collector,
)
from agent_pipeline.compose.proof import ShutdownProof, shutdown_proof, with_proof
from agent_pipeline.compose.runtime import Provider, Runtime, choose_provider, load_libraries, open_runtime
from agent_pipeline.compose.snapshots import open_snapshots
from agent_pipeline.compose.stage_plan import plan_stages
from agent_pipeline.compose.tables import check_tables, with_tables
from agent_pipeline.compose.watch import Watch, open_watch
from agent_pipeline.compose.written_secrets import refuse_written_secrets
from agent_pipeline.config.live import load_live_settings
from agent_pipeline.config.pipeline import LimitsConfig, Overrides, PipelineConfig, SourceConfig, load_pipeline_config
from agent_pipeline.control.deadline import on_ladder
from agent_pipeline.documents import Source, SourceSpec, open_source, remove_artifacts
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.domain.events import DocumentsClamped, PipelineStarted
from agent_pipeline.domain.result import RunResult
from agent_pipeline.errors import AgentPipelineError, InputError, LedgerError
from agent_pipeline.ledger import recorded_artifacts
from agent_pipeline.pipeline.admission import Admission, Stop, Tally
from agent_pipeline.pipeline.resumption import Resumption
from agent_pipeline.pipeline.secrets_kept_out import refuse_secrets


class Pipeline:
    """Documents through stages, as a config file says.

    Args:
        config: checked, with its roles.
        options: beyond the config; `run` and `run_sync` may still set a limit.
    """

    def __init__(self, config: PipelineConfig, options: RunOptions | None = None) -> None:
        self.config = config
        self.options = options or RunOptions()
        self.stages = plan_stages(config, self.options)

    @classmethod
    def from_config(
        cls, path: str | Path, *, overrides: Overrides | None = None, options: RunOptions | None = None
    ) -> Self:
        """Load a pipeline from its file; nothing is created and no network is used.

        Raises:
            ConfigError: with `file:line:column`, key and what was probably meant.
        """
        return cls(load_pipeline_config(path, overrides), options)

    @classmethod
    def from_run(
        cls,
        run: str | Path,
        *,
        logs: str | Path = "logs",
        overrides: Overrides | None = None,
        options: RunOptions | None = None,
    ) -> Self:
        """Go on with a run, however it ended: `run` keeps what is finished and pays nothing twice.

        The pipeline file is read again; what changed in it takes effect from the first stage it concerns onward.

        Args:
            run: its directory, its name, or the beginning of its name.
            logs: where runs are looked for by name.
            overrides: over those the run was begun with.
            options: in place of those the run was begun with.

        Raises:
            RunDirectoryError: there is no such run, or what it left can't be used; nothing was changed.
            ConfigError: its pipeline file is wrong by now.
        """
        earlier = find_earlier_run(run, Path(logs))
        config = load_pipeline_config(earlier.config, merge(earlier.overrides, overrides or Overrides()))
        return cls(config, earlier.options if options is None else replace(options, run=earlier.directory))

    def run_sync(self, *, limit: int | None = None) -> RunResult:
        """Run from ordinary code; see `run`.

        Raises:
            RuntimeError: an event loop runs here; `run` is for Trio, `run_async` for asyncio.
        """
        _refuse_flavour("asyncio", "an asyncio loop runs here, as in a notebook: await pipeline.run_async()")
        _refuse_flavour("trio", "this is under Trio: await pipeline.run()")
        load_libraries()
        return trio.run(
            lambda: self.run(limit=limit),
            restrict_keyboard_interrupt_to_checkpoints=True,
            strict_exception_groups=True,
        )

    async def run_async(self, *, limit: int | None = None) -> RunResult:
        """Run from asyncio, in a notebook for example: in a thread with a Trio run of its own; see `run`.

        The caller's loop goes on meanwhile. A task that is cancelled, by Ctrl-C too, cancels the run, and goes on when
        the run has ended and all of its files are complete.

        Raises:
            RuntimeError: called under Trio, where `run` is to be awaited.
        """
        _refuse_flavour("trio", "this is under Trio: await pipeline.run()")
        return await bridges.run_in_own_thread(partial(self.run, limit=limit))

    async def run(self, *, limit: int | None = None) -> RunResult:
        """Work through the source under Trio; return how it ended.

        Every document that was admitted has exactly one terminal record in the ledger when this returns or raises,
        and every sink is flushed. A document that fails does not stop the others.

        On cancellation the documents in flight are cancelled, recorded as such, and all files are complete before
        `trio.Cancelled` goes on.

        Raises:
            InputError: the source can't be used at all, or a table of results can't be written.
            EnvVarMissingError: a provider has no key.
            ConfigError: the faults file, the live file or the OTLP endpoint can't be used, or a key is written in a
                config file.
            RecordingError: the recording that is to be made or replayed can't be.
        """
        options = self.options if limit is None else replace(self.options, limit=limit)
        refuse_written_secrets(self.config)
        if self.config.live is not None:
            load_live_settings(self.config.live, self.config)  # later a bad one changes nothing, now it would surprise
        check_tables(self.config)
        source = self._open_source(options)
        provider = choose_provider(self.config, options)
        options = with_export(self.config, options)
        if options.own_process:
            raise_descriptor_limit()
        if options.clean:
            clean_artifacts(self.config)
        load_libraries()
        with open_watch(self.config.limits.timeouts, options) as watch, shutdown_proof() as proof:
            return await self._run(source, provider, options, watch, proof)

    def _open_source(self, options: RunOptions) -> Source:
        return open_source(source_spec(self.config.source), limit=options.limit, threaded=not options.virtual)

    async def _run(
        self, source: Source, provider: Provider, options: RunOptions, watch: Watch, proof: ShutdownProof
    ) -> RunResult:
        """Open, work, close."""
        tally = Tally()
        results: list[RunResult] = []
        runtime: Runtime | None = None
        begun = trio.current_time()
        try:
            # Cancelled while it opens, a run would have a directory, and neither an end nor a manifest.
            with trio.CancelScope(shield=True) as opening:
                async with open_runtime(self.config, self.stages, options, provider, watch) as runtime:
                    opening.shield = False
                    try:
                        await self._documents(runtime, source, options, tally)
                    except BaseException as exc:
                        _stop_for(runtime.stop, exc)
                        raise
                    finally:
                        proof.note_work()
                        watch.closing()
                        try:
                            with trio.CancelScope(shield=True):
                                duration = trio.current_time() - begun
                                results.append(await conclude(runtime, self.config, options, tally, duration))
                        except LedgerError as exc:  # raised below, outside the nursery that would wrap it
                            runtime.stop.request_for(exc)
                            runtime.stop.error = runtime.stop.error or exc
        finally:
            watch.closed()
            if runtime is not None:
                resources = proof.conclude(runtime)
                results = [with_losses(result, runtime.records.telemetry.statistics()) for result in results]
                results = [with_proof(result, resources, strict=options.strict_shutdown) for result in results]
                ledger = runtime.records.directory.ledger
                results = [with_tables(result, self.config.results, ledger) for result in results]
                write_manifest(runtime, self.config, options, resources, *results)
        if runtime is not None and runtime.stop.error is not None and (tally.taken == 0 or not results):
            raise runtime.stop.error
        return results[0]

    async def _documents(self, runtime: Runtime, source: Source, options: RunOptions, tally: Tally) -> None:
        """The top-level nursery: one task per document."""
        stop, limits = runtime.stop, self.config.limits
        fit = partial(_documents_that_fit, runtime, limits, options)
        in_flight = fit(limits.documents_in_flight)
        runtime.records.telemetry.emit(
            PipelineStarted(
                run_id=runtime.records.directory.run_id,
                pipeline=self.config.name,
                run_dir=str(runtime.records.directory.path),
                version=version("agent-pipeline"),
                stages=[planned.stage.name for planned in self.stages],
                documents_in_flight=in_flight,
                requests_in_flight=limits.requests_in_flight.start,
                simulator=options.offline,
                replayed=options.replay is not None,
                documents=source.count_hint,
                session=runtime.records.session.number,
            )
        )
        if options.own_process:
            slim_log_records()
            tune_garbage_collector()
        if limits.timeouts.run is not None:
            stop.limit(limits.timeouts.run)
        with stop.scope, on_ladder("run", limits.timeouts.run, deadline=stop.scope.deadline):
            async with (
                open_snapshots(runtime, tally, options.on_snapshot),
                open_live(threaded=not options.virtual) as hold_to,
                trio.open_nursery() as nursery,
            ):
                admission = Admission(nursery, itinerary=runtime.itinerary, in_flight=in_flight, tally=tally, stop=stop)
                if self.config.live is not None:
                    target = RunTarget(runtime, admission, self.stages, fit)
                    hold_to(LiveValuesControl(self.config.live, self.config, target, runtime.records.telemetry.emit))
                try:
                    await admission.admit(_entries(runtime, source, options, tally))
                except AgentPipelineError as exc:
                    stop.request(exc.code, str(exc), cancel=False, error=exc)
        if stop.scope.cancelled_caught and stop.reason is None:
            stop.time_out()
        if tally.taken == 0 and stop.reason is None:
            error = InputError(f"the source {_source_name(self.config)} has no documents")
            stop.request(error.code, str(error), cancel=False, error=error)


def _refuse_flavour(flavour: str, instead: str) -> None:
    if bridges.current_flavour() == flavour:
        raise RuntimeError(instead)


def _documents_that_fit(runtime: Runtime, limits: LimitsConfig, options: RunOptions, wanted: int) -> int:
    """Return how many documents at once this process may have; say so where it is fewer than wanted."""
    connections = limits.requests_in_flight.start * (2 if options.offline else 1)
    in_flight = documents_that_fit(wanted, connections=connections, per_loop=bridges.DESCRIPTORS_PER_LOOP)
    if in_flight < wanted:
        runtime.records.telemetry.emit(DocumentsClamped(wanted, in_flight))
    return in_flight


def _entries(runtime: Runtime, source: Source, options: RunOptions, tally: Tally) -> AsyncGenerator[SourceEntry]:
    """Return the entries of the source that need work."""
    session, artifacts = runtime.records.session, runtime.itinerary.artifacts
    entries = refuse_secrets(source.entries(), runtime.itinerary.secrets)
    if session.number == 1:
        return entries
    resumption = Resumption(
        runtime.itinerary,
        last_position=session.last_position,
        retry_failed=options.retry_failed,
        reasons=session.reasons,
        whole=artifacts.whole,
        tally=tally,
    )
    return resumption.unfinished(entries)


def _stop_for(stop: Stop, exc: BaseException) -> None:
    """Say why the run breaks off, for its last row and its last line."""
    # Nurseries wrap what they raise; a bug among the cancellations makes it a bug.
    rest = exc.split(trio.Cancelled)[1] if isinstance(exc, BaseExceptionGroup) else exc
    if rest is None or isinstance(rest, trio.Cancelled):
        stop.request("cancelled", "the program around the run cancelled it", cancel=False)
    else:
        stop.request("internal_error", f"{type(rest).__name__} in the run itself", cancel=False)


def _source_name(config: PipelineConfig) -> str:
    source = config.source
    return "standard input" if source.stdin else str(source.path or source.glob)


def source_spec(source: SourceConfig) -> SourceSpec:
    """Return the source of a config file as what opens it wants it."""
    return SourceSpec(path=source.path, glob=source.glob, stdin=source.stdin, root=source.directory)


def clean_artifacts(config: PipelineConfig) -> list[str]:
    """Remove the artifacts that earlier runs of this pipeline wrote and nobody changed since; return their paths."""
    own = re.compile(re.escape(config.name) + r"-\d{4}-\d\d-\d\d_\d\dh\d\dm\d\ds-[0-9a-f]{6}")
    ledgers = sorted(one for one in config.logs.glob("*/ledger.sqlite3") if own.fullmatch(one.parent.name))
    written = [(artifact.path, artifact.sha256) for ledger in ledgers for artifact in recorded_artifacts(ledger)]
    return remove_artifacts(written, directory=config.artifacts)
