"""Runs over workers in virtual time: the real session, driver and worker; only what lies between them is made up."""

import json
import math
import pickle
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial

import httpx2
import trio
from tests.engines.in_process import InProcess
from tests.integration.project import Project
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.compose.worker import work
from agent_pipeline.domain.events import SdkLogRecord, SdkTraceItem
from agent_pipeline.domain.result import RunResult
from agent_pipeline.engines.link import WorkerEnd
from agent_pipeline.engines.messages import Command, Happened, Report, WorkerPlan
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.gateway.inprocess import SimulatorTransport
from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.simulator import FaultPlan, Simulator

Disturb = Callable[[InProcess], Awaitable[None]]
OnOpen = Callable[[Runtime], None]


@dataclass
class Provider:
    """One simulator for all processes of a run; remembers what it was asked, and when.

    Attributes:
        asked: by the text of the request.
        at: times on Trio's clock.
    """

    faults: FaultPlan | None = None
    asked: Counter[bytes] = field(default_factory=Counter)
    at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.simulator = Simulator(seed=1, faults=self.faults)

    def pool(self) -> ConnectionPool:
        """Return connections to it."""
        provider = self

        class Watched(SimulatorTransport):
            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                provider.asked[await request.aread()] += 1
                provider.at.append(trio.current_time())
                return await super().handle_async_request(request)

        return ConnectionPool(lambda: Watched(self.simulator))


_worker: ContextVar[int] = ContextVar("_worker")


class _OwnSpans:
    """A worker's end that says only what was traced in this worker: the SDK has one tracing for a whole process.

    And one log, which the driver hears itself. What leaves by it is packed, as on any way out of a process.
    """

    def __init__(self, number: int, link: WorkerEnd) -> None:
        self._number = number
        self._link = link

    def report(self, report: Report) -> None:
        """As `WorkerEnd` says."""
        if isinstance(report, Happened) and isinstance(report.event, SdkLogRecord):
            return
        is_traced = isinstance(report, Happened) and isinstance(report.event, SdkTraceItem)
        if not is_traced or _worker.get() == self._number:
            self._link.report(pickle.loads(pickle.dumps(report)))  # noqa: S301 - from the line before

    def flush(self) -> None:
        """As `WorkerEnd` says."""
        self._link.flush()

    async def receive(self) -> Command:
        """As `WorkerEnd` says."""
        return await self._link.receive()


async def _work(provider: Provider, plan: WorkerPlan, link: WorkerEnd) -> None:
    _worker.set(plan.worker)
    await work(plan, _OwnSpans(plan.worker, link), options=RunOptions(make_pool=provider.pool, virtual=True))


async def _run(
    pipeline: Pipeline, disturb: Callable[[], Awaitable[None]] | None, cut_off_after: float
) -> RunResult | None:
    result, error = None, None
    async with trio.open_nursery() as nursery:
        if disturb is not None:
            nursery.start_soon(disturb)
        with trio.move_on_after(cut_off_after):
            try:
                result = await pipeline.run()
            except AgentPipelineError as exc:  # raised below, outside the nursery that would wrap it
                error = exc
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error
    return result


def run_over_workers(
    project: Project,
    provider: Provider,
    *,
    disturb: Disturb | None = None,
    options: RunOptions | None = None,
    gone_on: bool = False,
    cut_off_after: float = math.inf,
    on_open: OnOpen = lambda _: None,
    sent: Callable[[WorkerPlan], WorkerPlan] = lambda plan: plan,
) -> RunResult | None:
    """Run a project in virtual time, over workers if its engine has some; None where it was cut off.

    Args:
        project: with one run, where that is gone on with.
        provider: answers, whoever asks.
        disturb: runs beside it.
        options: of the run.
        gone_on: go on with the run there is.
        cut_off_after: seconds until a host program would cancel it.
        on_open: is given the open parts of the run.
        sent: returns what arrives of a plan at a worker, which begins then.

    Raises:
        AgentPipelineError: as the run.
    """

    class Watched(Pipeline):
        def _on_open(self, runtime: Runtime) -> None:
            on_open(runtime)

    async def begin(plan: WorkerPlan, link: WorkerEnd) -> None:
        await _work(provider, sent(plan), link)

    process = InProcess(begin)
    given = replace(
        options or RunOptions(), offline=True, virtual=True, make_pool=provider.pool, open_worker=process.open
    )
    make, of = (Watched.from_run, project.runs()[-1]) if gone_on else (Watched.from_config, project.config)
    return trio.run(
        _run,
        make(of, options=given),
        None if disturb is None else partial(disturb, process),
        cut_off_after,
        clock=MockClock(autojump_threshold=0),
        strict_exception_groups=True,
    )


def with_engine(project: Project, **engine: object) -> Project:
    """Let a project's pipeline run over workers."""
    pipeline = json.loads(project.config.read_text(encoding="utf-8"))
    pipeline["engine"] = {"kind": "ray", "workers": 2, "shard_size": 5, **engine}
    project.config.write_text(json.dumps(pipeline), encoding="utf-8")
    return project


def local(project: Project) -> Project:
    """Let it run in one process again."""
    pipeline = json.loads(project.config.read_text(encoding="utf-8"))
    pipeline.pop("engine", None)
    project.config.write_text(json.dumps(pipeline), encoding="utf-8")
    return project
