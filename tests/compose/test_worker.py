"""What a worker tells its driver: each document's whole course in order, by the code that a local run uses."""

import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.engines.plans import plan_with
from tests.integration.project import IN_THIS_PROCESS, Project, make_project, prose
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.compose.worker import work
from agent_pipeline.documents import SourceSpec, open_source
from agent_pipeline.domain.events import DocumentStarted, SdkLogRecord
from agent_pipeline.engines.messages import (
    Attempted,
    Began,
    Cancel,
    Command,
    Done,
    Ended,
    Fence,
    Finish,
    Happened,
    Hungry,
    Ready,
    Report,
    Resulted,
    Shard,
    ShardDocument,
    StopTaking,
    Take,
    WorkerPlan,
)
from agent_pipeline.gateway.inprocess import SimulatorTransport
from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.pipeline.identity import plan_identity, stage_identity
from agent_pipeline.simulator import FaultPlan, Simulator

SLOW = FaultPlan.from_mapping({"latency": 10})


@dataclass
class Link:
    """The worker's end of a way that is a channel and a list."""

    reports: list[Report] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.commands, self._received = trio.open_memory_channel[Command](100)

    def report(self, report: Report) -> None:
        """Keep it."""
        self.reports.append(report)

    def flush(self) -> None:
        """Do nothing: it is there already."""

    async def receive(self) -> Command:
        """Return what the test sent."""
        return await self._received.receive()

    def of(self, kind: type[Report]) -> list[Report]:
        """Return the reports of one kind."""
        return [report for report in self.reports if isinstance(report, kind)]

    def about(self, document_id: str) -> list[str]:
        """Return the kinds of all reports about a document, in order, but for events."""
        return [
            type(report).__name__
            for report in self.reports
            if getattr(getattr(report, "result", report), "document_id", None) == document_id
            or (isinstance(report, Attempted) and report.record.document_id == document_id)
        ]


def a_plan(project: Project, **changes: Any) -> WorkerPlan:  # noqa: ANN401
    """Return the plan of a worker of this project."""
    config = Pipeline.from_config(project.config).config
    given = {
        "worker": 1,
        "pipeline_text": config.text,
        "roles_text": config.roles_text,
        "path": str(config.path),
        "roles_path": str(config.roles),
        "seed": 1,
        "concurrency": 2,
        "run_id": "trial-1",
        "version": version("agent-pipeline"),
        "plan_sha256": None,
        "requests_in_flight": (2, 1, 4),
    }
    return plan_with(**(given | changes))


async def a_shard(project: Project, attempt: int = 1) -> Shard:
    """Return all documents of the project as one shard."""
    spec = SourceSpec(path=project.documents, glob=None, stdin=False, root=project.root)
    entries = [entry async for entry in open_source(spec, threaded=False).entries()]
    return Shard(Fence(1, attempt), [ShardDocument(entry) for entry in entries])


async def run_worker(plan: WorkerPlan, link: Link, faults: FaultPlan | None = None) -> None:
    """Let a worker work, asked by nothing but the in-process simulator."""
    simulator = Simulator(seed=1, faults=faults)
    options = RunOptions(make_pool=lambda: ConnectionPool(lambda: SimulatorTransport(simulator)), virtual=True)
    await work(plan, link, options=options)


async def test_a_worker_tells_each_documents_course_in_order(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Began, a request as it leaves and as it ends, what the stage made, the end with the text of the artifact."""
    project = make_project(tmp_path, prose(3), stages=IN_THIS_PROCESS, env_key=None)
    link, plan = Link(), a_plan(project)
    await link.commands.send(Take(await a_shard(project)))
    await link.commands.send(Finish())

    await run_worker(plan, link)

    for number in (1, 2, 3):
        assert link.about(f"d{number:04}") == ["Began", "Attempted", "Attempted", "Resulted", "Ended"]
    ends = [report for report in link.reports if isinstance(report, Ended)]
    assert {(one.fence, one.outcome) for one in ends} == {(Fence(1, 1), "succeeded")}
    assert all(one.document is not None and one.document.text for one in ends)
    attempts = [report for report in link.reports if isinstance(report, Attempted)]
    assert [one.fence for one in attempts] == [Fence(1, 1)] * 6
    assert isinstance(link.reports[-1], Done)
    assert link.reports[-1].error is None


async def test_a_worker_finds_what_a_local_run_finds(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Its first word tells the identity of the plan; another would be another job."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS, env_key=None)
    pipeline = Pipeline.from_config(project.config)
    identities = {one.stage.name: stage_identity(one, pipeline.config.runtime) for one in pipeline.stages}
    link = Link()
    await link.commands.send(Finish())

    await run_worker(a_plan(project), link)

    assert isinstance(link.reports[0], Ready)
    assert link.reports[0].plan_sha256 == plan_identity(pipeline.stages, identities)
    assert link.reports[0].version == version("agent-pipeline")


async def test_a_worker_asks_for_documents_before_it_runs_dry(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Once at its beginning, once when no more wait than it works on at once; never twice without an answer."""
    project = make_project(tmp_path, prose(8), stages=IN_THIS_PROCESS, env_key=None)
    link = Link()
    await link.commands.send(Take(await a_shard(project)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_worker, a_plan(project), link)
        await trio.sleep(60)
        waiting_at_end = len(link.of(Hungry))
        await link.commands.send(Finish())

    assert waiting_at_end == 2
    kinds = [type(report).__name__ for report in link.reports]
    second = [index for index, kind in enumerate(kinds) if kind == "Hungry"][1]
    assert kinds[:second].count("Ended") < 8 - 2


async def test_a_result_that_came_with_a_document_is_not_asked_for_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """What an earlier worker had told is kept: the second one ends the document without a request."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS, env_key=None)
    first, second = Link(), Link()
    shard = await a_shard(project)
    await first.commands.send(Take(shard))
    await first.commands.send(Finish())
    await run_worker(a_plan(project), first)
    (kept,) = [report for report in first.reports if isinstance(report, Resulted)]

    known = replace(shard.documents[0], again=True, results={kept.result.key: kept.result.output_json})
    await second.commands.send(Take(Shard(Fence(1, 2), [known])))
    await second.commands.send(Finish())
    await run_worker(a_plan(project), second)

    assert second.about("d0001") == ["Began", "Ended"]
    ends = [next(one for one in link.reports if isinstance(one, Ended)) for link in (first, second)]
    assert ends[0].document == ends[1].document
    assert ends[1].fence == Fence(1, 2)


async def test_stopped_a_worker_ends_what_it_began_and_nothing_else(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The two in flight succeed; the others were never begun, and nothing is said of them."""
    project = make_project(tmp_path, prose(6), stages=IN_THIS_PROCESS, env_key=None)
    link = Link()
    await link.commands.send(Take(await a_shard(project)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_worker, a_plan(project), link, SLOW)
        await trio.sleep(5)
        await link.commands.send(StopTaking())

    assert len(link.of(Began)) == 2
    assert [one.outcome for one in link.reports if isinstance(one, Ended)] == ["succeeded"] * 2


@pytest.mark.parametrize("how", ["cancel", "gone"])
async def test_cancelled_or_alone_a_worker_tells_how_its_documents_ended(
    how: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """At once, each that began as cancelled, its request charged; then its last word."""
    project = make_project(tmp_path, prose(6), stages=IN_THIS_PROCESS, env_key=None)
    link = Link()
    await link.commands.send(Take(await a_shard(project)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_worker, a_plan(project), link, SLOW)
        await trio.sleep(5)
        if how == "cancel":
            await link.commands.send(Cancel())
        else:
            await link.commands.aclose()
    ended_at = trio.current_time()

    assert [one.outcome for one in link.reports if isinstance(one, Ended)] == ["cancelled"] * 2
    last = [one.record for one in link.reports if isinstance(one, Attempted) and one.record.outcome is not None]
    assert [(one.outcome, one.charged_tokens > 0) for one in last] == [("cancelled", True)] * 2
    assert isinstance(link.reports[-1], Done)
    assert ended_at < 7


async def test_a_plan_that_can_not_be_worked_on_is_told_in_the_last_word(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A worker that can't open its parts raises nothing: the driver hears why."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS, env_key=None)
    link = Link()

    await run_worker(a_plan(project, pipeline_text="name: ["), link)

    (done,) = link.reports
    assert isinstance(done, Done)
    assert done.error is not None
    assert done.error.kind == "WorkerMismatchError"


async def test_events_carry_the_workers_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    """They are told later, together with others."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS, env_key=None)
    link, before = Link(), datetime.now(UTC)
    await link.commands.send(Take(await a_shard(project)))
    await link.commands.send(Finish())

    await run_worker(a_plan(project), link)

    (started,) = [one for one in link.reports if isinstance(one, Happened) and isinstance(one.event, DocumentStarted)]
    assert started.at.utcoffset() == timedelta(0)
    assert before <= started.at <= datetime.now(UTC)


async def test_the_sdks_warnings_are_told_and_nothing_less(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Nobody would find them in a worker's process; what it says of each step would cost more than all reports."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS, env_key=None)
    link, logger = Link(), logging.getLogger("openai.agents")
    level = logger.level

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_worker, a_plan(project), link)
        await link.commands.send(Take(await a_shard(project)))
        await trio.sleep(60)
        logger.warning("a tool failed: %s", "private " * 100)
        assert not logger.isEnabledFor(logging.INFO)
        await link.commands.send(Finish())

    told = [one.event for one in link.reports if isinstance(one, Happened)]
    records = [one for one in told if isinstance(one, SdkLogRecord)]
    assert [(one.severity, one.logger) for one in records] == [("WARNING", "openai.agents")]
    assert "private" not in records[0].message
    assert logger.level == level
