"""Everything one run needs, opened in order and closed in reverse, whatever ends the run."""

import hashlib
import inspect
import json
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

import trio

from agent_pipeline import bridge as bridges
from agent_pipeline import gateway as gateways
from agent_pipeline.compose.endpoints import missing_keys, real_endpoints, simulated_endpoints
from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.run_directory import RunDirectory, create_run_directory
from agent_pipeline.config.environment import resolve_api_key
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.config.roles import RuntimeConfig, resolve_role
from agent_pipeline.control.budget import RunBudget
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.documents import ArtifactWriter, write_rejected
from agent_pipeline.domain.document import Document
from agent_pipeline.domain.events import AttemptFinished, ClientConfigured, ClientSkipped
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.errors import UnknownRoleError
from agent_pipeline.ledger import Ledger, open_ledger
from agent_pipeline.pipeline.admission import Stop
from agent_pipeline.pipeline.journey import Itinerary
from agent_pipeline.pipeline.signals import stop_on_signals
from agent_pipeline.pipeline.stage import PlannedStage
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

MICRO = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The open parts of one run."""

    directory: RunDirectory
    telemetry: Telemetry
    ledger: Ledger
    gate: Gate
    pool: "gateways.ConnectionPool"
    bridge: "bridges.AgentBridge"
    itinerary: Itinerary
    stop: Stop
    started_at: datetime


@asynccontextmanager
async def open_runtime(
    config: PipelineConfig, stages: tuple[PlannedStage, ...], options: RunOptions
) -> AsyncGenerator[Runtime]:
    """Open a run: directory, sinks, ledger, simulator where wanted, gate, pool, bridge; close them in reverse.

    Closing is shielded and bounded, also on error and cancellation: the ledger is closed with all rows in it, then
    the sinks are flushed.

    Raises:
        EnvVarMissingError: a provider in use has no key, and the simulator was not asked for; nothing was created.
        ArtifactError: the artifacts directory can't be used; nothing was created.
        InputError: the logs directory can't be used; nothing was created in it.
    """
    endpoints = None if options.offline else real_endpoints(config.runtime)
    artifacts = ArtifactWriter(config.artifacts, threaded=not options.virtual)
    artifacts.prepare()
    started_at = datetime.now(UTC)
    directory = create_run_directory(config.logs, config.name, now=started_at)
    directory.write("config.yaml", config.text)
    directory.write("roles.yaml", config.roles_text)
    async with AsyncExitStack() as stack:
        sinks = _sinks(directory, config.runtime, options)
        telemetry = await stack.enter_async_context(open_telemetry(sinks, threaded=not options.virtual))
        ledger = await stack.enter_async_context(open_ledger(directory.ledger, threaded=not options.virtual))
        await ledger.begin_run(
            run_id=directory.run_id,
            name=config.name,
            started_at=started_at,
            config_sha256=hashlib.sha256(config.text.encode()).hexdigest(),
            version=version("agent-pipeline"),
        )
        await stack.enter_async_context(bridges.open_sdk_tracing(telemetry.emit, run_id=directory.run_id))
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        stop = Stop(telemetry.emit, trio.CancelScope())
        if options.own_process:
            await nursery.start(stop_on_signals, stop)
        if endpoints is None:
            url = await _simulator_url(nursery, options)
            endpoints = simulated_endpoints(config.runtime, url)
        gate = _gate(config, options, ledger, telemetry)
        pool = await stack.enter_async_context(gateways.open_pool(options.make_pool or gateways.ConnectionPool))
        timeouts = config.limits.timeouts
        gateway = gateways.Gateway(
            runtime=config.runtime,
            endpoints=endpoints,
            gate=gate,
            pool=pool,
            read_timeout=timeouts.read,
            connect_timeout=timeouts.connect,
        )
        bridge = bridges.AgentBridge(
            find_role=gateway.role,
            emit=telemetry.emit,
            workflow=config.name,
            run_id=directory.run_id,
            include_texts=options.include_texts,
        )
        _announce_clients(telemetry, config, endpoints, simulator=options.offline)
        itinerary = _itinerary(
            config,
            stages,
            options,
            directory=directory,
            ledger=ledger,
            bridge=bridge,
            artifacts=artifacts,
            telemetry=telemetry,
        )
        yield Runtime(directory, telemetry, ledger, gate, pool, bridge, itinerary, stop, started_at)


def _sinks(directory: RunDirectory, runtime: RuntimeConfig, options: RunOptions) -> list[Sink]:
    keys = [resolve_api_key(provider) for provider in runtime.providers.values()]
    redactor = Redactor([key.get_secret_value() for key in keys if key is not None])
    return [
        RunLogSink(directory.log, redactor=redactor),
        EventsSink(directory.events, redactor=redactor),
        ReviewsSink(directory.reviews, redactor=redactor),
        SdkTraceSink(directory.sdk_traces, redactor=redactor),
        SdkLogCapture(directory.sdk_log, redactor=redactor),
        HttpLogSink(redactor=redactor),
        *options.sinks,
    ]


async def _simulator_url(nursery: trio.Nursery, options: RunOptions) -> str:
    """Start the embedded simulator in the run's own nursery; return its address."""
    if options.make_pool is not None:
        return "http://simulator.invalid/v1"
    faults = None if options.faults is None else FaultPlan.load(Path(options.faults))
    port = await nursery.start(serve, Simulator(seed=options.seed or 0, faults=faults))
    return f"http://127.0.0.1:{port}/v1"


def _gate(config: PipelineConfig, options: RunOptions, ledger: Ledger, telemetry: Telemetry) -> Gate:
    limits = config.limits
    usd = limits.budget.usd

    def record(attempt: AttemptRecord) -> None:
        if attempt.sent:
            ledger.record_attempt(attempt)
        telemetry.emit(AttemptFinished(attempt))

    return Gate(
        budget=RunBudget(tokens=limits.budget.tokens, micro_usd=None if usd is None else int(usd * MICRO)),
        retry=RetryPolicy(limits.retry.max_attempts, limits.retry.initial_delay, limits.retry.max_delay),
        requests_in_flight=limits.requests_in_flight.start,
        attempt_timeout=limits.timeouts.attempt,
        record=record,
        now=lambda: datetime.now(UTC),
        rng=random.Random(options.seed),
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
    directory: RunDirectory,
    ledger: Ledger,
    bridge: "bridges.AgentBridge",
    artifacts: ArtifactWriter,
    telemetry: Telemetry,
) -> Itinerary:
    virtual = options.virtual

    async def keep_rejected(document: Document) -> object:
        return await write_rejected(directory.rejected, document, threaded=not virtual)

    return Itinerary(
        stages=stages,
        fingerprints={planned.stage.name: _fingerprint(planned, config.runtime) for planned in stages},
        document_timeout=config.limits.timeouts.document,
        stage_timeout=config.limits.timeouts.stage,
        ledger=ledger,
        bridge=bridge,
        artifacts=artifacts,
        keep_rejected=keep_rejected,
        emit=telemetry.emit,
        now=lambda: datetime.now(UTC),
    )


def _fingerprint(planned: PlannedStage, runtime: RuntimeConfig) -> str:
    """Hash what determines a stage's result besides its document: its code, its options, its role as resolved."""
    parts: list[object] = [planned.stage.name, dict(planned.options), inspect.getsource(planned.stage.function)]
    if planned.stage.role is not None:
        try:
            parts.append(resolve_role(runtime, planned.stage.role).model_dump(mode="json"))
        except UnknownRoleError:
            parts.append(None)
        role = runtime.roles.get(planned.stage.role)
        parts.append(None if role is None else role.instructions)
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
