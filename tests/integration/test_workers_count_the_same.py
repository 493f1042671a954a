"""What a run says of itself in numbers: the same words and figures over workers as in one process."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from tests.integration.project import IN_THIS_PROCESS, Project, make_project, prose
from tests.integration.spread import OnOpen, Provider, run_over_workers, with_engine
from tests.integration.test_workers import finished, problems

from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.domain.result import RunResult
from agent_pipeline.ledger import open_reader
from agent_pipeline.runs.happenings import happenings_named
from agent_pipeline.simulator import FaultPlan

AT_ONCE = 10
COUNT = 60

Make = Callable[..., Project]


@pytest.fixture(params=["local", "ray"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Make a project of `COUNT` documents for one of the engines."""

    def make(documents: JsonValue = None, **limits: JsonValue) -> Project:
        project = make_project(
            tmp_path,
            documents or prose(COUNT),
            stages=IN_THIS_PROCESS,
            env_key=None,
            limits={"documents_in_flight": AT_ONCE, **limits},
        )
        return with_engine(project, shard_size=50) if request.param == "ray" else project

    return make


def stopped_after(seconds: float) -> OnOpen:
    """Return what does as Ctrl-C does."""

    def on_open(runtime: Runtime) -> None:
        async def stop() -> None:
            await trio.sleep(seconds)
            runtime.stop.request("signal:SIGINT", "interrupted", cancel=False)

        trio.lowlevel.spawn_system_task(stop)

    return on_open


def run(
    project: Project, latency: JsonValue = 2, *, on_open: OnOpen = lambda _: None, gone_on: bool = False
) -> RunResult:
    """Run it with answers that take so many seconds."""
    provider = Provider(FaultPlan.from_mapping({"latency": latency}))
    return finished(run_over_workers(project, provider, on_open=on_open, gone_on=gone_on))


def in_ledger(result: RunResult) -> tuple[int, int]:
    """Return requests and attempts as `show` tells them."""
    with open_reader(Path(result.run_dir) / "ledger.sqlite3") as ledger:
        totals = ledger.totals()
    return totals.requests, totals.attempts


def test_requests_are_those_of_the_ledger(make: Make) -> None:
    """A call that waits for its turn when the budget is used up sent nothing: nobody else ever counts it."""
    project = make(budget={"tokens": 2_500}, requests_in_flight=4)

    result = run(project)

    assert result.reason == "budget:tokens"
    assert result.documents.failed + result.documents.cancelled > 0
    assert (result.usage.requests, result.usage.attempts) == in_ledger(result)
    assert result.session.requests == result.usage.requests


def test_requests_are_those_of_the_ledger_when_gone_on_with(make: Make) -> None:
    """What was counted by one session has to fit what is counted by the next."""
    project = make(requests_in_flight=4)
    first = run(project, on_open=stopped_after(5))

    second = run(project, on_open=stopped_after(5), gone_on=True)

    assert 0 < first.usage.requests < second.usage.requests
    assert (second.usage.requests, second.usage.attempts) == in_ledger(second)


@pytest.mark.parametrize("latency", [0.01, {"min": 0.01, "max": 0.3}])
def test_no_more_documents_are_told_of_than_may_be_in_flight(make: Make, latency: JsonValue) -> None:
    """A worker tells of an end and of what begins in its place at once."""
    result = run(make(), latency)

    kinds = ("DOCUMENT_STARTED", "DOCUMENT_FINISHED")
    now, most = 0, 0
    for event in happenings_named(Path(result.run_dir) / "events.jsonl", kinds):
        now += 1 if event.event == "DOCUMENT_STARTED" else -1
        most = max(most, now)
    assert result.documents.succeeded == COUNT
    assert now == 0
    assert AT_ONCE // 2 < most <= AT_ONCE


def test_documents_that_were_never_begun_are_counted(make: Make) -> None:
    """Whoever stops a run wants to know how much is left."""
    project = make()
    first = run(project, on_open=stopped_after(5))
    second = run(project, on_open=stopped_after(0), gone_on=True)
    third = run(project, gone_on=True)

    assert 0 < first.documents.total < COUNT
    assert first.never_begun == COUNT - first.documents.total
    assert second.documents.total < first.documents.total
    assert second.never_begun == first.never_begun
    assert (third.documents.total, third.never_begun) == (COUNT, 0)


def test_nothing_is_said_of_what_was_never_begun_where_nobody_knows_how_much_there_is(make: Make) -> None:
    """The rest of a file of lines is not read to be counted."""
    project = make()
    lines = "\n".join(json.dumps(one) for one in prose(COUNT))
    (project.root / "documents.jsonl").write_text(lines, encoding="utf-8")
    pipeline = json.loads(project.config.read_text(encoding="utf-8"))
    pipeline["source"] = {"path": "documents.jsonl"}
    project.config.write_text(json.dumps(pipeline), encoding="utf-8")

    stopped = run(project, on_open=stopped_after(5))
    ended = run(project, gone_on=True)

    assert (stopped.never_begun, ended.never_begun) == (None, 0)


def test_the_manifest_says_nothing_of_what_only_workers_know(tmp_path: Path) -> None:
    """Zero would be a figure, and a wrong one."""
    project = with_engine(make_project(tmp_path, prose(5), stages=IN_THIS_PROCESS, env_key=None))
    result = run(project)

    manifest = json.loads((Path(result.run_dir) / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["requests_at_once_peak"], manifest["requests_open"]) == (None, None)
    assert set(manifest["resources"].values()) == {None}
    assert result.left_open == ()
    assert problems(project) == []
