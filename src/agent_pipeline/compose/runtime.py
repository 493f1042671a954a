"""Everything one run needs, opened in order and closed in reverse, whatever ends the run."""

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import trio

from agent_pipeline import bridge as bridges
from agent_pipeline import gateway as gateways
from agent_pipeline.compose.budgets import Overruns, caps_of_document, run_budget
from agent_pipeline.compose.charge import Charge
from agent_pipeline.compose.earlier_run import held
from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.records import Records, find_directory, open_records, recover
from agent_pipeline.compose.tape import Tape, choose_recording, open_tape
from agent_pipeline.compose.watch import Watch
from agent_pipeline.config.environment import FOR_A_COMMAND
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.config.price_table import priced_by
from agent_pipeline.control.budget import RunBudget
from agent_pipeline.control.gate import Gate
from agent_pipeline.documents import ArtifactWriter, RejectedTexts, tag_of_run
from agent_pipeline.domain.events import AttemptFinished, ClientConfigured, ClientSkipped
from agent_pipeline.domain.limit_events import BreakerChanged
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.gateway.endpoints import (
    missing_keys,
    real_endpoints,
    recorded_endpoints,
    secrets_of,
    simulated_endpoints,
)
from agent_pipeline.gateway.recording import Recording
from agent_pipeline.ledger import Ledger
from agent_pipeline.pipeline.admission import Stop
from agent_pipeline.pipeline.document_records import LedgerRecords
from agent_pipeline.pipeline.identity import plan_identity, stage_identity
from agent_pipeline.pipeline.itinerary import Itinerary
from agent_pipeline.pipeline.stage import PlannedStage
from agent_pipeline.simulator import FaultPlan, Simulator, serve
from agent_pipeline.telemetry import (
    Telemetry,
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The open parts of one run.

    Attributes:
        record: takes each attempt twice, as it leaves and at its end, whoever made it; and when that was, None is now.
    """

    records: Records
    document_records: LedgerRecords
    gateway: "gateways.Gateway"
    pool: "gateways.ConnectionPool"
    bridge: "bridges.AgentBridge"
    itinerary: Itinerary
    stop: Stop
    tape: Tape
    record: Callable[[AttemptRecord, datetime | None], None]

    @property
    def gate(self) -> Gate:
        """The one gate, whatever roles are asked through it."""
        return self.gateway.gate


def load_libraries() -> None:
    """Import what takes seconds, before anything is created and before Trio holds Ctrl-C back to a checkpoint."""
    for package, name in ((bridges, "AgentBridge"), (gateways, "Gateway")):
        getattr(package, name)


_NOWHERE = "http://simulator.invalid/v1"
"""The simulator's address where nobody connects to it: in one process, and in a recording, whose port is gone."""

Provider: TypeAlias = "Mapping[str, gateways.Endpoint] | Simulator | Recording"
"""Where requests go: the endpoint of each provider, or the simulator or a recording in the place of all."""


def choose_provider(config: PipelineConfig, options: RunOptions) -> Provider:
    """Find out where the requests of a run go, before anything is created.

    Raises:
        EnvVarMissingError: a provider in use has no key, and the simulator was not asked for.
        ConfigError: a provider has no address, or the simulator's faults file can't be used.
        RecordingError: the recording that is to be made or replayed can't be.
    """
    recording = choose_recording(options)
    if recording is not None:
        return recording
    if not options.offline:
        return real_endpoints(config.runtime, FOR_A_COMMAND)
    faults = None if options.faults is None else FaultPlan.load(Path(options.faults))
    return Simulator(seed=options.seed or 0, faults=faults)


@asynccontextmanager
async def open_runtime(
    config: PipelineConfig, stages: tuple[PlannedStage, ...], options: RunOptions, provider: Provider, watch: Watch
) -> AsyncGenerator[Runtime]:
    """Open a run: directory, sinks, ledger, simulator where wanted, gate, pool, bridge; close them in reverse.

    Closing is shielded and bounded, also on error and cancellation: the ledger is closed with all rows in it, then
    the sinks are flushed.

    Raises:
        ArtifactError: the artifacts directory can't be used; nothing was created.
        InputError: the logs directory can't be used; nothing was created in it.
    """
    directory, started_at = find_directory(config, options)
    artifacts = ArtifactWriter(config.artifacts, run_tag=tag_of_run(directory.run_id), threaded=not options.virtual)
    async with AsyncExitStack() as stack:
        stack.enter_context(held(directory))
        records = await open_records(stack, config, options, directory, started_at)
        stack.push_async_callback(artifacts.aclose)
        recover(artifacts, records)
        tape = await _tape(stack, config, options, records, provider)
        stop = Stop(records.telemetry.emit, trio.CancelScope())
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(_stop_on_ledger_failure, records.ledger, stop)
        await watch.attend(stack, nursery, _charge(records, stop))
        endpoints = await endpoints_of(nursery, config, options, provider)
        budget = run_budget(config, records.session)
        record = _recorder(config, records, budget)
        gateway = await stack.enter_async_context(
            gateways.open_gateway(
                config.runtime,
                endpoints,
                config.limits,
                gate=_gate(config, options, records, watch, budget=budget, record=record),
                make_pool=tape.make_pool,
                price_of=priced_by(config.prices),
                emit=records.telemetry.emit,
            )
        )
        bridge = bridges.AgentBridge(
            find_role=gateway.role,
            emit=records.telemetry.emit,
            workflow=config.name,
            run_id=records.directory.run_id,
            include_texts=options.include_texts,
        )
        _announce_clients(records.telemetry, config, endpoints, simulator=options.offline)
        document_records = _document_records(options, records, artifacts)
        itinerary = _itinerary(config, stages, records=records, bridge=bridge, document_records=document_records)
        yield Runtime(records, document_records, gateway, gateway.pool, bridge, itinerary, stop, tape, record)


async def _tape(
    stack: AsyncExitStack, config: PipelineConfig, options: RunOptions, records: Records, provider: Provider
) -> Tape:
    replayed = provider if isinstance(provider, Recording) else None
    asked = provider if isinstance(provider, Mapping) else simulated_endpoints(config.runtime, _NOWHERE)
    base_urls = {one: endpoint.base_url for one, endpoint in asked.items()}
    return await open_tape(stack, config, options, records, replayed=replayed, base_urls=base_urls)


async def endpoints_of(
    nursery: trio.Nursery, config: PipelineConfig, options: RunOptions, provider: Provider
) -> "Mapping[str, gateways.Endpoint]":
    """Return where requests go; the embedded simulator is started in the run's own nursery."""
    if isinstance(provider, Recording):
        return recorded_endpoints(config.runtime, provider.index.providers)
    if not isinstance(provider, Simulator):
        return provider
    if options.make_pool is not None:
        return simulated_endpoints(config.runtime, _NOWHERE)
    port = await nursery.start(serve, provider)
    return simulated_endpoints(config.runtime, f"http://127.0.0.1:{port}/v1")


def _charge(records: Records, stop: Stop) -> Charge:
    return Charge(
        directory=records.directory.path,
        stop=stop,
        emit=records.telemetry.emit,
        files={"ledger": records.ledger, "logs": records.telemetry},
        clean=records.redactor.text,
    )


async def _stop_on_ledger_failure(ledger: Ledger, stop: Stop) -> None:
    """Cancel the documents when the ledger can't be written: nothing more may be called done."""
    stop.request_for(await ledger.wait_failure())


def _recorder(
    config: PipelineConfig, records: Records, budget: RunBudget
) -> Callable[[AttemptRecord, datetime | None], None]:
    """Return what takes attempts: in the ledger and in the events, without secrets."""
    overruns = Overruns(records.telemetry.emit, budget, caps_of_document(config))

    def record(attempt: AttemptRecord, at: datetime | None) -> None:
        if attempt.error is not None:
            attempt = replace(attempt, error=records.redactor.text(attempt.error))
        if attempt.outcome is not None:
            records.telemetry.emit_at(AttemptFinished(attempt), at)
            overruns.look_at(attempt)
        if attempt.sent:
            records.ledger.record_attempt(attempt)

    return record


def _gate(
    config: PipelineConfig,
    options: RunOptions,
    records: Records,
    watch: Watch,
    *,
    budget: RunBudget,
    record: Callable[[AttemptRecord, datetime | None], None],
) -> Gate:
    """Make the one gate, which knows what earlier sessions spent."""
    return gateways.make_gate(
        config.limits,
        budget=budget,
        record=lambda attempt: record(attempt, None),
        on_limit=records.telemetry.emit,
        on_stall=watch.tell_attempt,
        on_breaker=lambda *change: records.telemetry.emit(BreakerChanged(*change)),
        # Each session draws ids of its own, also from one seed.
        rng=random.Random(None if options.seed is None else f"{options.seed} {records.session.number}"),
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


def _document_records(options: RunOptions, records: Records, artifacts: ArtifactWriter) -> LedgerRecords:
    return LedgerRecords(
        records.ledger,
        artifacts,
        rejected=RejectedTexts(records.directory.rejected, threaded=not options.virtual).keep,
        emit=records.telemetry.emit,
        now=lambda: datetime.now(UTC),
        clean=records.redactor.text,
        session=records.session.number,
    )


def _itinerary(
    config: PipelineConfig,
    stages: tuple[PlannedStage, ...],
    *,
    records: Records,
    bridge: "bridges.AgentBridge",
    document_records: LedgerRecords,
) -> Itinerary:
    identities = {planned.stage.name: stage_identity(planned, config.runtime) for planned in stages}
    return Itinerary(
        stages=stages,
        fingerprints=identities,
        document_timeout=config.limits.timeouts.document,
        stage_timeout=config.limits.timeouts.stage,
        document_caps=caps_of_document(config),
        records=document_records,
        bridge=bridge,
        emit=records.telemetry.emit,
        clean=records.redactor.text,
        secrets=secrets_of(config.runtime),
        now=lambda: datetime.now(UTC),
        run_id=records.directory.run_id,
        session=records.session.number,
        plan_sha256=plan_identity(stages, identities),
    )
