"""A pipeline as users know it: from a config file to a result."""

import os
import platform
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import trio

from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.process import (
    documents_that_fit,
    hold_signals,
    raise_descriptor_limit,
    slim_log_records,
    tune_garbage_collector,
)
from agent_pipeline.compose.runtime import Provider, Runtime, choose_provider, load_libraries, open_runtime
from agent_pipeline.compose.verdict import DOCUMENTS_FAILED, OK, judge
from agent_pipeline.config.pipeline import Overrides, PipelineConfig, StageConfig, load_pipeline_config
from agent_pipeline.config.roles import resolve_role
from agent_pipeline.config.source_map import parse_source_map
from agent_pipeline.documents import Source, SourceSpec, open_source, remove_artifacts
from agent_pipeline.domain.events import DocumentsClamped, PipelineFinished, PipelineStarted
from agent_pipeline.domain.result import RunResult, UsageTotals
from agent_pipeline.errors import AgentPipelineError, ConfigError, InputError, LedgerError
from agent_pipeline.ledger import recorded_artifacts
from agent_pipeline.pipeline.admission import Admission, Stop, Tally
from agent_pipeline.pipeline.registry import load_stage
from agent_pipeline.pipeline.stage import PlannedStage, Stage
from agent_pipeline.stages import BUILT_IN


class Pipeline:
    """Documents through stages, as a config file says.

    Args:
        config: checked, with its roles.
        options: beyond the config; `run` and `run_sync` may still set a limit.
    """

    def __init__(self, config: PipelineConfig, options: RunOptions | None = None) -> None:
        self.config = config
        self.options = options or RunOptions()
        self.stages = _plan_stages(config, self.options)

    @classmethod
    def from_config(
        cls, path: str | Path, *, overrides: Overrides | None = None, options: RunOptions | None = None
    ) -> Self:
        """Load a pipeline from its file; nothing is created and no network is used.

        Raises:
            ConfigError: with `file:line:column`, key and what was probably meant.
        """
        return cls(load_pipeline_config(path, overrides), options)

    def run_sync(self, *, limit: int | None = None) -> RunResult:
        """Run from ordinary code; see `run`."""
        load_libraries()
        return trio.run(
            lambda: self.run(limit=limit),
            restrict_keyboard_interrupt_to_checkpoints=True,
            strict_exception_groups=True,
        )

    async def run(self, *, limit: int | None = None) -> RunResult:
        """Work through the source under Trio; return how it ended.

        Every document that was admitted has exactly one terminal record in the ledger when this returns or raises,
        and every sink is flushed. A document that fails does not stop the others.

        On cancellation the documents in flight are cancelled, recorded as such, and all files are complete before
        `trio.Cancelled` goes on.

        Raises:
            InputError: the source can't be used at all.
            EnvVarMissingError: a provider has no key.
            ConfigError: the faults file can't be used.
        """
        options = self.options if limit is None else replace(self.options, limit=limit)
        source = _open_source(self.config, options)
        provider = choose_provider(self.config, options)
        if options.own_process:
            raise_descriptor_limit()
        if options.clean:
            clean_artifacts(self.config)
        load_libraries()
        holding: AbstractContextManager[list[str]] = hold_signals() if options.own_process else nullcontext([])
        with holding as signals:
            return await self._run(source, provider, options, signals)

    async def _run(self, source: Source, provider: Provider, options: RunOptions, signals: list[str]) -> RunResult:
        """Open, work, close; `signals` are those that came before anybody could obey them."""
        tally = Tally()
        results: list[RunResult] = []
        runtime: Runtime | None = None
        begun = trio.current_time()
        try:
            async with open_runtime(self.config, self.stages, options, provider) as runtime:
                for name in signals:
                    runtime.stop.request(f"signal:{name}", f"{name} received before the first document", cancel=True)
                try:
                    await self._documents(runtime, source, options, tally)
                except BaseException as exc:
                    _stop_for(runtime.stop, exc)
                    raise
                finally:
                    try:
                        with trio.CancelScope(shield=True):
                            duration = trio.current_time() - begun
                            results.append(await _conclude(runtime, self.config, options, tally, duration))
                    except LedgerError as exc:  # raised below, outside the nursery that would wrap it
                        runtime.stop.request_for(exc)
                        runtime.stop.error = runtime.stop.error or exc
        finally:
            if runtime is not None:
                results = [_with_losses(result, runtime.records.telemetry.dropped) for result in results]
                _write_manifest(runtime, self.config, options, *results)
        if runtime.stop.error is not None and (tally.taken == 0 or not results):
            raise runtime.stop.error
        return results[0]

    async def _documents(self, runtime: Runtime, source: Source, options: RunOptions, tally: Tally) -> None:
        """The top-level nursery: one task per document."""
        stop, limits = runtime.stop, self.config.limits
        wanted = limits.documents_in_flight
        requests = limits.requests_in_flight.start
        in_flight = documents_that_fit(wanted, connections=requests * (2 if options.offline else 1))
        if in_flight < wanted:
            runtime.records.telemetry.emit(DocumentsClamped(wanted, in_flight))
        runtime.records.telemetry.emit(
            PipelineStarted(
                run_id=runtime.records.directory.run_id,
                pipeline=self.config.name,
                run_dir=str(runtime.records.directory.path),
                version=version("agent-pipeline"),
                stages=[planned.stage.name for planned in self.stages],
                documents_in_flight=in_flight,
                requests_in_flight=requests,
                simulator=options.offline,
                documents=source.count_hint,
            )
        )
        if options.own_process:
            slim_log_records()
            tune_garbage_collector()
        if limits.timeouts.run is not None:
            stop.scope.deadline = trio.current_time() + limits.timeouts.run
        with stop.scope:
            async with trio.open_nursery() as nursery:
                admission = Admission(nursery, itinerary=runtime.itinerary, in_flight=in_flight, tally=tally, stop=stop)
                try:
                    await admission.admit(source.entries())
                except AgentPipelineError as exc:
                    stop.request(exc.code, str(exc), cancel=False, error=exc)
        if stop.scope.cancelled_caught and stop.reason is None:
            stop.request("deadline:run", f"the run's timeout of {limits.timeouts.run:g} s ran out", cancel=False)
        if tally.taken == 0 and stop.reason is None:
            error = InputError(f"the source {_source_name(self.config)} has no documents")
            stop.request(error.code, str(error), cancel=False, error=error)


def _stop_for(stop: Stop, exc: BaseException) -> None:
    """Say why the run breaks off, for its last row and its last line."""
    # Nurseries wrap what they raise; a bug among the cancellations makes it a bug.
    rest = exc.split(trio.Cancelled)[1] if isinstance(exc, BaseExceptionGroup) else exc
    if rest is None or isinstance(rest, trio.Cancelled):
        stop.request("cancelled", "the program around the run cancelled it", cancel=False)
    else:
        stop.request("internal_error", f"{type(rest).__name__} in the run itself", cancel=False)


async def _conclude(
    runtime: Runtime, config: PipelineConfig, options: RunOptions, tally: Tally, duration: float
) -> RunResult:
    """Write the run's last row and event; return the result."""
    stop = runtime.stop
    dropped = sum(runtime.records.telemetry.dropped.values())
    outcome, exit_code, reason = judge(tally, stopped=stop.reason, dropped=dropped, fail_on_error=options.fail_on_error)
    gate = runtime.gate.statistics()
    tokens = runtime.gate.budget.tokens.statistics()
    money = runtime.gate.budget.micro_usd.statistics()
    usage = UsageTotals(
        requests=gate.requests,
        attempts=gate.attempts,
        input_tokens=gate.usage.input_tokens,
        output_tokens=gate.usage.output_tokens,
        total_tokens=gate.usage.total_tokens,
        charged_tokens=tokens.spent,
        unknown_tokens=tokens.unknown,
    )
    counts = tally.counts()
    await runtime.records.ledger.finish_run(outcome=outcome, reason=reason, ended_at=datetime.now(UTC))
    runtime.records.telemetry.emit(
        PipelineFinished(
            outcome=outcome,
            reason=reason,
            exit_code=exit_code,
            **asdict(counts),
            requests=usage.requests,
            attempts=usage.attempts,
            total_tokens=usage.total_tokens,
            duration_seconds=duration,
        )
    )
    return RunResult(
        run_id=runtime.records.directory.run_id,
        run_dir=str(runtime.records.directory.path),
        outcome=outcome,
        exit_code=exit_code,
        reason=reason,
        documents=counts,
        usage=usage,
        cost_usd=None if gate.unknown_cost else money.spent / 1_000_000,
        duration_seconds=round(duration, 3),
        artifacts=tuple(artifact.path for artifact in recorded_artifacts(runtime.records.directory.ledger)),
        failures=tally.shown_failures(),
        next=_next_commands(runtime, config),
    )


def _with_losses(result: RunResult, dropped: Mapping[str, int]) -> RunResult:
    """Return the result with what the last flush lost; a run whose logs have gaps is no plain success."""
    result = replace(result, dropped=dict(dropped))
    if dropped and result.exit_code == OK:
        return replace(result, exit_code=DOCUMENTS_FAILED, reason="telemetry_dropped")
    return result


def _next_commands(runtime: Runtime, config: PipelineConfig) -> tuple[str, ...]:
    directory = runtime.records.directory
    artifacts, log, ledger = (os.path.relpath(path) for path in (config.artifacts, directory.log, directory.ledger))
    return (
        f"ls {artifacts}",
        f"less {log}",
        f"sqlite3 -readonly {ledger} 'select * from documents'",  # noqa: S608 - for a person to type
    )


def _write_manifest(
    runtime: Runtime, config: PipelineConfig, options: RunOptions, result: RunResult | None = None
) -> None:
    """Write the run's last file, after everything else is closed."""
    pool = runtime.pool.statistics()
    manifest: dict[str, Any] = {
        "run_id": runtime.records.directory.run_id,
        "pipeline": config.name,
        "started_at": runtime.records.started_at.isoformat(),
        "ended_at": datetime.now(UTC).isoformat(),
        "simulator": options.offline,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("agent-pipeline", "openai", "openai-agents", "httpx2", "trio")},
        },
        "result": None if result is None else asdict(result),
        "loops": {"opened": runtime.bridge.loops_opened, "closed": runtime.bridge.loops_closed},
        "requests_at_once_peak": pool.peak,
        "requests_open": pool.active,
        "files": runtime.records.directory.file_hashes(),
        "dropped": dict(runtime.records.telemetry.dropped),
    }
    cleaned = runtime.records.redactor.value(manifest)
    try:
        runtime.records.directory.write_manifest(cleaned)
    except OSError as exc:
        raise LedgerError(f"the manifest can't be written: {exc}") from exc


def _source_name(config: PipelineConfig) -> str:
    source = config.source
    return "standard input" if source.stdin else str(source.path or source.glob)


def _open_source(config: PipelineConfig, options: RunOptions) -> Source:
    source = config.source
    spec = SourceSpec(path=source.path, glob=source.glob, stdin=source.stdin, root=source.directory)
    return open_source(spec, limit=options.limit, threaded=not options.virtual)


def _plan_stages(config: PipelineConfig, options: RunOptions) -> tuple[PlannedStage, ...]:
    """Load the stages that run, in order; a rework into one that does not run is no rework."""
    known = [stage.name for stage in config.stages]
    for name in (*options.only, *options.skip):
        if name not in known:
            raise ConfigError(f"no stage {name!r} in this pipeline; it has {', '.join(known)}", key="stages")
    chosen = [
        stage
        for stage in config.stages
        if stage.name not in options.skip and (not options.only or stage.name in options.only)
    ]
    if not chosen:
        raise ConfigError("no stage is left to run", key="stages")
    loaded = {stage.name: BUILT_IN.get(stage.name) or _load_stage(stage.name, config) for stage in chosen}
    for stage in loaded.values():
        for role in stage.roles:
            resolve_role(config.runtime, role)  # a role that is missing is found before anything is created
    names = [stage.name for stage in loaded.values()]
    loaded = {
        spec: stage if names.count(stage.name) == 1 else replace(stage, name=spec) for spec, stage in loaded.items()
    }
    return tuple(_planned(stage, loaded) for stage in chosen)


def _load_stage(name: str, config: PipelineConfig) -> Stage:
    """Import a stage of the user's own; what is wrong with it is told at its line of the config file."""
    try:
        return load_stage(name, beside=config.path.parent)
    except ConfigError as exc:
        index = [stage.name for stage in config.stages].index(name)
        raise parse_source_map(config.text, name=str(config.path)).error(exc.problem, ("stages", index)) from exc


def _planned(stage: StageConfig, loaded: dict[str, Any]) -> PlannedStage:
    target = loaded.get(stage.rework_to or "")
    rest = {name: value for name, value in stage.options.items() if name not in {"rework_to", "max_reworks"}}
    return PlannedStage(
        stage=loaded[stage.name],
        rework_to=None if target is None else target.name,
        max_reworks=0 if target is None else stage.max_reworks,
        options=rest,
    )


def clean_artifacts(config: PipelineConfig) -> list[str]:
    """Remove the artifacts that earlier runs of this pipeline wrote and nobody changed since; return their paths."""
    own = re.compile(re.escape(config.name) + r"-\d{4}-\d\d-\d\d_\d\dh\d\dm\d\ds-[0-9a-f]{6}")
    ledgers = sorted(one for one in config.logs.glob("*/ledger.sqlite3") if own.fullmatch(one.parent.name))
    written = [(artifact.path, artifact.sha256) for ledger in ledgers for artifact in recorded_artifacts(ledger)]
    return remove_artifacts(written, directory=config.artifacts)
