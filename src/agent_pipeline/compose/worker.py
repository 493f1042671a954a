"""What a worker of a distributed run does: the documents of its shards, by the code that works on them locally."""

import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from os import getpid
from pathlib import Path
from platform import node

import trio

from agent_pipeline import bridge as bridges
from agent_pipeline import gateway as gateways
from agent_pipeline.compose.budgets import caps_of_document
from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.process import tune_garbage_collector
from agent_pipeline.compose.runtime import choose_provider, endpoints_of
from agent_pipeline.compose.snapshots import under_way
from agent_pipeline.compose.stage_plan import plan_stages
from agent_pipeline.config.pipeline import LimitsConfig, PipelineConfig, parse_pipeline_config
from agent_pipeline.config.price_table import priced_by
from agent_pipeline.control.gate import Gate
from agent_pipeline.domain.events import AgentEvent, Event, SdkTraceItem, Stall
from agent_pipeline.domain.limit_events import BreakerChanged
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.sdk_span import SpanLine
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.engines.agreement import SAME_STAGES, check_plan
from agent_pipeline.engines.error_record import ErrorRecord
from agent_pipeline.engines.leases.leaseholder import Leases
from agent_pipeline.engines.link import WorkerEnd
from agent_pipeline.engines.messages import (
    Alive,
    Attempted,
    Cancel,
    Command,
    DocumentsInFlight,
    Done,
    Finish,
    Happened,
    Ready,
    StopTaking,
    Take,
    WorkerPlan,
)
from agent_pipeline.engines.worker.desk import Desk
from agent_pipeline.engines.worker.forwarded_records import ForwardedRecords
from agent_pipeline.errors import AgentPipelineError, ConfigError, WorkerMismatchError
from agent_pipeline.gateway.endpoints import redactor_of, secrets_of
from agent_pipeline.pipeline.admission import Admission, Stop, Tally
from agent_pipeline.pipeline.identity import plan_identity, stage_identity
from agent_pipeline.pipeline.itinerary import Itinerary
from agent_pipeline.pipeline.stage import PlannedStage
from agent_pipeline.telemetry import open_sdk_warnings

BEAT = 1.0
"""Seconds between two reports of what is in flight."""


async def work(plan: WorkerPlan, link: WorkerEnd, *, options: RunOptions | None = None) -> None:
    """Work on the documents that the driver sends, until it says that there are no more, or is gone.

    On every end, cancellation included, each document that began has reported its end, connections are closed, and
    `Done` is the last report. Once the driver is gone what is in flight is cancelled.

    Args:
        plan: what the run is.
        link: to the driver.
        options: what the plan does not say of this process: whether it is the worker's own, another way to the
            providers, a virtual clock.
    """
    error: ErrorRecord | None = None
    try:
        check_plan(plan, version("agent-pipeline"))
        await _work(plan, link, options or RunOptions())
    except AgentPipelineError as exc:
        # The driver found nothing of it, so that it has to be said where it was.
        error = ErrorRecord.of(exc, where=f"worker {plan.worker} on {node()}")
    finally:
        link.report(Done(error))
        link.flush()


async def _work(plan: WorkerPlan, link: WorkerEnd, options: RunOptions) -> None:
    config, stages = _understood(plan)
    records = ForwardedRecords(link.report)
    job = _Job(plan, link, options, config, stages, records)
    async with AsyncExitStack() as stack:
        parts = await _open(stack, job)
        if options.own_process:
            tune_garbage_collector()  # when all is imported: what is there by now is left out of collections
        link.report(_ready(parts.itinerary))
        link.flush()
        stop = Stop(_unsaid, trio.CancelScope())
        desk = Desk(records, link, plan.concurrency)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_beat, link, parts.gate)
            nursery.start_soon(parts.leases.run)
            with stop.scope:
                async with trio.open_nursery() as documents:
                    admission = Admission(
                        documents, itinerary=parts.itinerary, in_flight=plan.concurrency, tally=Tally(), stop=stop
                    )
                    nursery.start_soon(_obey, link, _Chiefs(desk, admission, stop, parts.leases))
                    await admission.admit(desk.entries())
            nursery.cancel_scope.cancel()
        parts.leases.close()


def _understood(plan: WorkerPlan) -> tuple[PipelineConfig, tuple[PlannedStage, ...]]:
    """Return config and stages as this machine finds them.

    Raises:
        WorkerMismatchError: it finds less than the driver, which could use both.
    """
    try:
        config = parse_pipeline_config(
            plan.pipeline_text,
            plan.roles_text,
            path=Path(plan.path),
            roles=Path(plan.roles_path),
            overrides=plan.overrides,
        )
        return config, plan_stages(config, RunOptions(only=plan.only, skip=plan.skip))
    except ConfigError as exc:
        raise WorkerMismatchError(f"{exc}; the driver finds it: {SAME_STAGES}") from exc


def _ready(itinerary: Itinerary) -> Ready:
    found = version("agent-pipeline"), itinerary.plan_sha256
    return Ready(*found, getpid(), node(), itinerary.fingerprints)


@dataclass(frozen=True, slots=True)
class _Job:
    plan: WorkerPlan
    link: WorkerEnd
    options: RunOptions
    config: PipelineConfig
    stages: tuple[PlannedStage, ...]
    records: ForwardedRecords


@dataclass(frozen=True, slots=True)
class _Parts:
    itinerary: Itinerary
    gate: Gate
    leases: Leases


async def _open(stack: AsyncExitStack, job: _Job) -> _Parts:
    """Open what a document needs, as a local run does, but for what the driver has: ledger, sinks, artifacts."""
    plan, link, config = job.plan, job.link, job.config
    emit = _reporter(link, carries_spans=plan.carries_spans)
    given = RunOptions(offline=plan.offline, faults=plan.faults, seed=plan.seed, make_pool=job.options.make_pool)
    provider = choose_provider(config, given)
    await stack.enter_async_context(
        bridges.open_sdk_tracing(emit, run_id=plan.run_id, include_texts=plan.include_texts)
    )
    stack.enter_context(open_sdk_warnings(emit, content=plan.include_texts))
    nursery = await stack.enter_async_context(trio.open_nursery())
    stack.callback(nursery.cancel_scope.cancel)
    leases = Leases(link.report, link.flush, plan.leased)
    start, minimum, maximum = plan.requests_in_flight
    in_flight = {"start": start, "min": minimum, "max": maximum}
    share = config.limits.requests_in_flight.model_copy(update=in_flight)
    limits = config.limits.model_copy(update={"requests_in_flight": share})
    gate = _gate(job, limits, leases, emit)
    leases.serve(gate)
    gateway = await stack.enter_async_context(
        gateways.open_gateway(
            config.runtime,
            await endpoints_of(nursery, config, given, provider),
            limits,
            gate=gate,
            make_pool=job.options.make_pool or gateways.ConnectionPool,
            price_of=priced_by(config.prices),
            emit=emit,
        )
    )
    bridge = bridges.AgentBridge(
        find_role=gateway.role,
        emit=emit,
        workflow=config.name,
        run_id=plan.run_id,
        include_texts=plan.include_texts,
    )
    return _Parts(_itinerary(job, bridge, emit), gate, leases)


def _gate(job: _Job, limits: LimitsConfig, leases: Leases, emit: Emit) -> Gate:
    """Return the worker's gate, which has nothing of its own but its share of the requests in flight."""
    plan, link = job.plan, job.link

    def record(attempt: AttemptRecord) -> None:
        fence = job.records.fence_of(attempt.document_id)
        link.report(Attempted(fence, attempt, _utc_now(), gate.counts.requests))
        leases.told(attempt)

    gate: Gate = gateways.make_gate(
        limits,
        budget=leases.budget,
        sharing=leases,
        record=record,
        on_limit=emit,
        on_stall=lambda document_id, culprit, seconds: emit(Stall("attempt", document_id, culprit, seconds)),
        on_breaker=lambda *change: emit(BreakerChanged(*change)),
        # Each worker of each session draws ids of its own, also from one seed.
        rng=random.Random(None if plan.seed is None else f"{plan.seed} {plan.session} {plan.worker}"),
    )
    return gate


def _itinerary(job: _Job, bridge: "bridges.AgentBridge", emit: Emit) -> Itinerary:
    plan, config = job.plan, job.config
    identities = {planned.stage.name: stage_identity(planned, config.runtime) for planned in job.stages}
    return Itinerary(
        stages=job.stages,
        fingerprints=identities,
        document_timeout=config.limits.timeouts.document,
        stage_timeout=config.limits.timeouts.stage,
        document_caps=caps_of_document(config),
        records=job.records,
        bridge=bridge,
        emit=emit,
        clean=redactor_of(config.runtime).text,
        secrets=secrets_of(config.runtime),
        now=_utc_now,
        run_id=plan.run_id,
        session=plan.session,
        plan_sha256=plan_identity(job.stages, identities),
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _reporter(link: WorkerEnd, *, carries_spans: bool) -> Emit:
    """Return what tells the driver of an event, with the time of the call."""

    def emit(event: Event, /) -> None:
        if isinstance(event, SdkTraceItem) and isinstance(event.line, SpanLine):
            event = _travelling(event.line) if carries_spans else SdkTraceItem(str(event.line))
        link.report(Happened(event, _utc_now()))

    def _travelling(line: SpanLine) -> SdkTraceItem:
        try:
            return SdkTraceItem(bridges.portable_span(line))
        except Exception as exc:  # noqa: BLE001 - values of stages and tools are in there, and may fail in any way
            span, detail = line.span, f"{type(exc).__name__}: {exc}"
            emit(AgentEvent("span_not_carried", span.document_id, span.stage, agent="", detail=detail))
            return SdkTraceItem(str(line))

    return emit


def _unsaid(event: Event, /) -> None:
    """Keep what the driver says itself to its own run log."""
    del event


@dataclass(frozen=True, slots=True)
class _Chiefs:
    """Who does what a command says."""

    desk: Desk
    admission: Admission
    stop: Stop
    leases: Leases

    def do(self, command: Command) -> None:
        match command:
            case Take():
                self.desk.take(command)
            case Finish():
                self.desk.complete()
            case DocumentsInFlight(count):
                self.desk.concurrency = count
                self.admission.set_in_flight(count)
            case StopTaking():
                self.stop.request("stopped", "the driver stops the run", cancel=False)
            case Cancel():
                self.stop.request("cancelled", "the driver cancels the run", cancel=True)
            case _:
                self.leases.take(command)


async def _obey(link: WorkerEnd, chiefs: _Chiefs) -> None:
    """Do what the driver says, until cancelled; once it is gone nobody wants what is in flight."""
    while True:
        try:
            command = await link.receive()
        except trio.EndOfChannel:
            chiefs.stop.request("driver_gone", "the driver is gone", cancel=True)
            return
        chiefs.do(command)


async def _beat(link: WorkerEnd, gate: Gate) -> None:
    """Tell now and then what is in flight, for those who watch the run; until cancelled."""
    while True:
        await trio.sleep(BEAT)
        link.report(Alive(under_way(gate)))
