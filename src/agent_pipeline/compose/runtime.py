"""Everything one run needs, opened in order and closed in reverse, whatever ends the run."""

import hashlib
import inspect
import json
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import trio

from agent_pipeline import bridge as bridges
from agent_pipeline import gateway as gateways
from agent_pipeline.compose.endpoints import missing_keys, real_endpoints, redactor_of, simulated_endpoints
from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.run_directory import RunDirectory, create_run_directory
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.config.roles import RuntimeConfig, resolve_role
from agent_pipeline.control.budget import RunBudget
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.documents import ArtifactWriter, write_rejected
from agent_pipeline.domain.document import Document
from agent_pipeline.domain.events import AttemptFinished, ClientConfigured, ClientSkipped
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.errors import InputError
from agent_pipeline.ledger import Ledger, open_ledger
from agent_pipeline.pipeline.admission import Stop
from agent_pipeline.pipeline.journey import Itinerary
from agent_pipeline.pipeline.signals import stop_on_signals
from agent_pipeline.pipeline.stage import PlannedStage, StageFunction
from agent_pipeline.simulator import FaultPlan, Simulator, serve
from agent_pipeline.telemetry import (
    EventsSink,
    HttpLogSink,
    Redactor,
    ReviewsSink,
    RunLogSink,
    SdkLogCapture,
    SdkTraceSink,
    Sink,
    Telemetry,
    open_telemetry,
)


@dataclass(frozen=True, slots=True)
class Records:
    """Where a run writes what happens."""

    directory: RunDirectory
    telemetry: Telemetry
    ledger: Ledger
    started_at: datetime
    redactor: Redactor


@dataclass(frozen=True, slots=True)
class Runtime:
    """The open parts of one run."""

    records: Records
    gate: Gate
    pool: "gateways.ConnectionPool"
    bridge: "bridges.AgentBridge"
    itinerary: Itinerary
    stop: Stop


def load_libraries() -> None:
    """Import what takes seconds, before anything is created and before Trio holds Ctrl-C back to a checkpoint."""
    for package, name in ((bridges, "AgentBridge"), (gateways, "Gateway")):
        getattr(package, name)


Provider: TypeAlias = "Mapping[str, gateways.Endpoint] | Simulator"
"""Where requests go: the endpoint of each provider, or the simulator in the place of all."""


def choose_provider(config: PipelineConfig, options: RunOptions) -> Provider:
    """Find out where the requests of a run go, before anything is created.

    Raises:
        EnvVarMissingError: a provider in use has no key, and the simulator was not asked for.
        ConfigError: a provider has no address, or the simulator's faults file can't be used.
    """
    if not options.offline:
        return real_endpoints(config.runtime)
    faults = None if options.faults is None else FaultPlan.load(Path(options.faults))
    return Simulator(seed=options.seed or 0, faults=faults)


@asynccontextmanager
async def open_runtime(
    config: PipelineConfig, stages: tuple[PlannedStage, ...], options: RunOptions, provider: Provider
) -> AsyncGenerator[Runtime]:
    """Open a run: directory, sinks, ledger, simulator where wanted, gate, pool, bridge; close them in reverse.

    Closing is shielded and bounded, also on error and cancellation: the ledger is closed with all rows in it, then
    the sinks are flushed.

    Raises:
        ArtifactError: the artifacts directory can't be used; nothing was created.
        InputError: the logs directory can't be used; nothing was created in it.
    """
    artifacts = ArtifactWriter(config.artifacts, threaded=not options.virtual)
    artifacts.prepare()
    async with AsyncExitStack() as stack:
        records = await _open_records(stack, config, options)
        stop = Stop(records.telemetry.emit, trio.CancelScope())
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(_stop_on_ledger_failure, records.ledger, stop)
        if options.own_process:
            await nursery.start(stop_on_signals, stop)
        if isinstance(provider, Simulator):
            endpoints = simulated_endpoints(config.runtime, await _simulator_url(nursery, provider, options))
        else:
            endpoints = provider
        pool = await stack.enter_async_context(gateways.open_pool(options.make_pool or gateways.ConnectionPool))
        gateway = _gateway(config, options, endpoints, records, pool)
        bridge = bridges.AgentBridge(
            find_role=gateway.role,
            emit=records.telemetry.emit,
            workflow=config.name,
            run_id=records.directory.run_id,
            include_texts=options.include_texts,
        )
        _announce_clients(records.telemetry, config, endpoints, simulator=options.offline)
        itinerary = _itinerary(config, stages, options, records=records, bridge=bridge, artifacts=artifacts)
        yield Runtime(records, gateway.gate, pool, bridge, itinerary, stop)


async def _open_records(stack: AsyncExitStack, config: PipelineConfig, options: RunOptions) -> Records:
    """Make the run directory, and open in it what is closed last: the sinks, the ledger, the SDK's traces."""
    started_at = datetime.now(UTC)
    directory = create_run_directory(config.logs, config.name, now=started_at)
    threaded = not options.virtual
    redactor = redactor_of(config.runtime)
    sinks = _sinks(directory, redactor, options)
    try:
        directory.write("config.yaml", config.text)
        directory.write("roles.yaml", config.roles_text)
        telemetry = await stack.enter_async_context(open_telemetry(sinks, threaded=threaded))
    except OSError as exc:
        raise InputError(f"the logs in {config.logs} can't be written: {exc}") from exc
    ledger = await stack.enter_async_context(open_ledger(directory.ledger, threaded=threaded))
    await ledger.begin_run(
        run_id=directory.run_id,
        name=config.name,
        started_at=started_at,
        config_sha256=hashlib.sha256(config.text.encode()).hexdigest(),
        version=version("agent-pipeline"),
    )
    await stack.enter_async_context(bridges.open_sdk_tracing(telemetry.emit, run_id=directory.run_id))
    return Records(directory, telemetry, ledger, started_at, redactor)


async def _stop_on_ledger_failure(ledger: Ledger, stop: Stop) -> None:
    """Cancel the documents when the ledger can't be written: nothing more may be called done."""
    stop.request_for(await ledger.wait_failure())


def _sinks(directory: RunDirectory, redactor: Redactor, options: RunOptions) -> list[Sink]:
    return [
        RunLogSink(directory.log, redactor=redactor),
        EventsSink(directory.events, redactor=redactor),
        ReviewsSink(directory.reviews, redactor=redactor),
        SdkTraceSink(directory.sdk_traces, redactor=redactor),
        SdkLogCapture(directory.sdk_log, redactor=redactor, content=options.include_texts),
        HttpLogSink(redactor=redactor),
        *options.sinks,
    ]


async def _simulator_url(nursery: trio.Nursery, simulator: Simulator, options: RunOptions) -> str:
    """Start the embedded simulator in the run's own nursery; return its address."""
    if options.make_pool is not None:
        return "http://simulator.invalid/v1"
    port = await nursery.start(serve, simulator)
    return f"http://127.0.0.1:{port}/v1"


def _gateway(
    config: PipelineConfig,
    options: RunOptions,
    endpoints: "Mapping[str, gateways.Endpoint]",
    records: Records,
    pool: "gateways.ConnectionPool",
) -> "gateways.Gateway":
    """Put the one gate in front of all roles."""
    limits = config.limits

    def record(attempt: AttemptRecord) -> None:
        if attempt.error is not None:
            attempt = replace(attempt, error=records.redactor.text(attempt.error))
        records.telemetry.emit(AttemptFinished(attempt))
        if attempt.sent:
            records.ledger.record_attempt(attempt)

    gate = Gate(
        budget=RunBudget(tokens=limits.budget.tokens, micro_usd=limits.budget.micro_usd),
        retry=RetryPolicy(limits.retry.max_attempts, limits.retry.initial_delay, limits.retry.max_delay),
        requests_in_flight=limits.requests_in_flight.start,
        attempt_timeout=limits.timeouts.attempt,
        record=record,
        now=lambda: datetime.now(UTC),
        rng=random.Random(options.seed),
    )
    return gateways.Gateway(
        runtime=config.runtime,
        endpoints=endpoints,
        gate=gate,
        pool=pool,
        read_timeout=limits.timeouts.read,
        connect_timeout=limits.timeouts.connect,
    )


def _announce_clients(
    telemetry: Telemetry, config: PipelineConfig, endpoints: "Mapping[str, gateways.Endpoint]", *, simulator: bool
) -> None:
    timeouts = config.limits.timeouts
    for provider in missing_keys(config.runtime):
        telemetry.emit(ClientSkipped("no_api_key", provider))
    for provider, endpoint in endpoints.items():
        telemetry.emit(
            ClientConfigured(
                provider=provider,
                base_url=endpoint.base_url,
                attempt_timeout=timeouts.attempt,
                read_timeout=timeouts.read,
                connect_timeout=timeouts.connect,
                max_attempts=config.limits.retry.max_attempts,
                simulator=simulator,
            )
        )


def _itinerary(
    config: PipelineConfig,
    stages: tuple[PlannedStage, ...],
    options: RunOptions,
    *,
    records: Records,
    bridge: "bridges.AgentBridge",
    artifacts: ArtifactWriter,
) -> Itinerary:
    async def keep_rejected(document: Document) -> object:
        return await write_rejected(records.directory.rejected, document, threaded=not options.virtual)

    return Itinerary(
        stages=stages,
        fingerprints={planned.stage.name: _fingerprint(planned, config.runtime) for planned in stages},
        document_timeout=config.limits.timeouts.document,
        stage_timeout=config.limits.timeouts.stage,
        ledger=records.ledger,
        bridge=bridge,
        artifacts=artifacts,
        keep_rejected=keep_rejected,
        emit=records.telemetry.emit,
        clean=records.redactor.text,
        now=lambda: datetime.now(UTC),
    )


def _source(function: StageFunction) -> str:
    """Return a function's own source, or its name where there is none."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        kind = type(function)
        return f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', kind.__qualname__)}"


def _fingerprint(planned: PlannedStage, runtime: RuntimeConfig) -> str:
    """Hash what determines a stage's result besides its document: its code, its options, its role as resolved."""
    parts: list[object] = [planned.stage.name, dict(planned.options), _source(planned.stage.function)]
    for name in planned.stage.roles:
        role = runtime.roles.get(name)
        parts += [resolve_role(runtime, name).model_dump(mode="json"), None if role is None else role.instructions]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
