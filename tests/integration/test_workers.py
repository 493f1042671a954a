"""A run over workers leaves what a run in one process leaves, whatever happens to the workers."""

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.engines.in_process import InProcess
from tests.integration.project import BUILT_IN, IN_THIS_PROCESS, Project, make_project, prose
from tests.integration.spread import Provider, local, run_over_workers, with_engine

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.domain.result import RunResult
from agent_pipeline.runs.directory import find_run
from agent_pipeline.runs.verify import Difference, verify_run
from agent_pipeline.simulator import FaultPlan

LEFT = (
    "SELECT document_id, position, outcome, content_sha256, artifact_sha256, reworks FROM documents ORDER BY 1",
    "SELECT document_id, stage, cycle, output_json FROM stage_results ORDER BY 1, 2, 3",
    "SELECT document_id, stage, outcome, charged_tokens, cost_micro_usd FROM attempts ORDER BY 1, 2, 4",
)
"""What has to be the same wherever documents are worked on."""

SLOW = FaultPlan.from_mapping({"latency": 1})


def rows(project: Project, sql: str) -> list[tuple[Any, ...]]:
    """Ask the ledger of the newest run."""
    (path,) = project.logs.glob("trial-*/ledger.sqlite3")
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def artifacts(project: Project) -> dict[str, bytes]:
    """Return what the run made."""
    return {path.name: path.read_bytes() for path in project.artifacts.iterdir()}


def test_a_run_over_workers_leaves_what_a_local_one_leaves(tmp_path: Path) -> None:
    """The same artifacts, rows, results and sums; and nothing that would not verify."""
    project = with_engine(make_project(tmp_path, prose(45), stages=BUILT_IN, env_key=None))
    over, alone = Provider(), Provider()

    result = finished(run_over_workers(project, over))
    spread = [artifacts(project), *(rows(project, sql) for sql in LEFT)]
    assert problems(project) == []
    shutil.rmtree(project.artifacts.parent)
    expected = finished(run_over_workers(local(project), alone))

    assert (result.outcome, result.documents, result.usage) == ("completed", expected.documents, expected.usage)
    assert spread == [artifacts(project), *(rows(project, sql) for sql in LEFT)]
    assert over.asked == alone.asked


@pytest.mark.parametrize("seed", range(10))
def test_killed_workers_lose_nothing_and_double_nothing(seed: int, tmp_path: Path) -> None:
    """What was committed is never asked again; re-paid is at most what was in flight and a batch, for each kill."""
    concurrency, kills, rng = 10, 3, random.Random(seed)
    project = make_project(tmp_path, prose(200), stages=IN_THIS_PROCESS, env_key=None)
    with_engine(project, worker_concurrency=concurrency)
    provider = Provider(SLOW)

    async def disturb(process: InProcess) -> None:
        for _ in range(kills):
            await trio.sleep(rng.uniform(0.5, 3.5))
            if process.alive:
                rng.choice(process.alive).crash()

    result = finished(run_over_workers(project, provider, disturb=disturb))

    assert (result.outcome, result.documents.succeeded) == ("completed", 200)
    assert len(artifacts(project)) == 200
    assert sum(provider.asked.values()) - 200 <= kills * (concurrency + 25)
    charged = rows(project, "SELECT sum(charged_tokens), count(*) FROM attempts")[0]
    assert charged == (result.usage.charged_tokens, result.usage.attempts)
    assert problems(project) == []


@pytest.mark.parametrize("first", ["workers", "local"])
def test_a_run_begun_on_one_engine_ends_on_the_other(first: str, tmp_path: Path) -> None:
    """Cut off in the middle; what is finished is not asked for again."""
    limits: dict[str, JsonValue] = {"documents_in_flight": 8}
    project = make_project(tmp_path, prose(60), stages=IN_THIS_PROCESS, env_key=None, limits=limits)
    provider = Provider(SLOW)
    (with_engine if first == "workers" else local)(project)
    assert run_over_workers(project, provider, cut_off_after=3.5) is None
    (done,) = rows(project, "SELECT count(*) FROM documents WHERE outcome = 'succeeded'")[0]
    assert 0 < done < 60
    asked = sum(provider.asked.values())

    (local if first == "workers" else with_engine)(project)
    result = finished(run_over_workers(project, provider, gone_on=True))

    assert (result.outcome, result.documents.succeeded) == ("completed", 60)
    assert sum(provider.asked.values()) - asked == 60 - done
    assert rows(project, "SELECT count(*) FROM documents WHERE outcome = 'cancelled'") == [(0,)]
    assert problems(project) == []


@pytest.mark.parametrize("kills", [0, 2])
def test_a_cap_over_workers_is_never_passed_and_hardly_anything_is_stranded(kills: int, tmp_path: Path) -> None:
    """What is left would not have been enough for one request more, whoever holds it; then the run is gone on with."""
    cap = 10_000
    limits: dict[str, JsonValue] = {"documents_in_flight": 10, "budget": {"tokens": cap}}
    project = with_engine(make_project(tmp_path, prose(200), stages=IN_THIS_PROCESS, env_key=None, limits=limits))
    provider = Provider(SLOW)
    rng = random.Random(kills)

    async def disturb(process: InProcess) -> None:
        for _ in range(kills):
            await trio.sleep(rng.uniform(0.5, 1.5))
            if process.alive:
                rng.choice(process.alive).crash()

    result = finished(run_over_workers(project, provider, disturb=disturb))

    assert (result.outcome, result.exit_code) == ("incomplete", 4)
    assert result.reason == "budget:tokens"
    (worst, charged) = rows(project, "SELECT max(reserved_tokens), sum(charged_tokens) FROM attempts")[0]
    assert charged == result.usage.charged_tokens
    assert result.workers is not None
    withheld = result.workers.withheld_tokens
    assert cap - worst < charged + withheld <= cap
    assert withheld == 0 or kills  # whoever had nothing but what is under way took nothing along
    assert problems(project) == []


def test_requests_per_minute_hold_over_all_workers_and_are_used(tmp_path: Path) -> None:
    """No window of a minute has more than the limit; all but the first have nearly as many."""
    limits: dict[str, JsonValue] = {"documents_in_flight": 40, "requests_per_minute": 60}
    project = with_engine(make_project(tmp_path, prose(300), stages=IN_THIS_PROCESS, env_key=None, limits=limits))
    provider = Provider(SLOW)

    result = finished(run_over_workers(project, provider))

    assert result.documents.succeeded == 300
    most = max(sum(1 for other in provider.at if at <= other < at + 60) for at in provider.at)
    assert most <= 60
    minutes = (provider.at[-1] - provider.at[0]) / 60
    assert 300 / minutes >= 0.95 * 60 * minutes / (minutes + 1)


def finished(result: RunResult | None) -> RunResult:
    """Return the result of a run that was not cut off."""
    assert result is not None
    return result


def problems(project: Project) -> list[Difference]:
    """Return what does not fit together in what the run left."""
    return [*verify_run(find_run(str(project.runs()[-1]), project.logs)).differences]
