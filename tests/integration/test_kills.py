"""SIGKILL, at random moments and at each named point: the run goes on, nothing is lost, doubled or torn."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.command import Launcher, Process, wait_until
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import Project, make_project, prose
from tests.integration.provider import SeparateSimulator, open_separate_simulator

from agent_pipeline.failpoints import NAMES

STAGES = ("own_stages:draft", "own_stages:finish")
OWN_STAGES = """
from agent_pipeline import Document, StageContext, stage


@stage(role="writer")
async def draft(document: Document, context: StageContext) -> Document:
    return document.with_fields(draft=await context.ask("Draft:\\n" + document.text))


@stage(role="writer")
async def finish(document: Document, context: StageContext) -> Document:
    text = await context.run_agent("writer", "Finish:\\n" + str(document.fields["draft"]))
    return document.with_text(document.text + text)
"""
IN_FLIGHT = 8

KILLED_AT = """
import os
import signal
import sys

from agent_pipeline import failpoints
from agent_pipeline.cli import main

name, after = sys.argv[1], int(sys.argv[2])
reached = []


def kill_at_last() -> None:
    reached.append(name)
    if len(reached) == after:
        os.kill(os.getpid(), signal.SIGKILL)


failpoints.arm(name, kill_at_last)
sys.exit(main(sys.argv[3:]))
"""


def project_at(root: Path, simulator: SeparateSimulator, documents: int, in_flight: int = IN_FLIGHT) -> Project:
    return make_project(
        root,
        prose(documents),
        stages=STAGES,
        own_stages=OWN_STAGES,
        base_url=simulator.base_url,
        limits={"documents_in_flight": in_flight},
    )


def assert_nothing_lost(launcher: Launcher, project: Project, documents: int) -> Leavings:
    """Each document once, each stage once, each artifact once, every file whole; `verify` finds the same."""
    (path,) = project.runs()
    verified = launcher.run("verify", path, cwd=project.root)
    assert verified.exit_code == 0, verified.stdout
    left = Leavings(path)
    assert_complete(left)
    assert Counter(one["outcome"] for one in left.documents) == {"succeeded": documents}
    results = Counter((one["document_id"], one["stage"]) for one in left.table("stage_results"))
    assert set(results.values()) == {1}
    assert len(results) == documents * len(STAGES)
    names = sorted(path.name for path in project.artifacts.iterdir())
    assert names == [f"d{n:04}.md" for n in range(1, documents + 1)]
    assert not [one for one in left.attempts if one["outcome"] is None]
    return left


def kill_at_random(launcher: Launcher, folder: Path, *, seed: int, kills: int, documents: int) -> Counter[str]:
    """Kill one run again and again, then let it end; return what was counted."""
    folder.mkdir(exist_ok=True)
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    with open_separate_simulator(launcher, folder / "server", latency={"min": 0.0, "max": 0.04}) as simulator:
        project = project_at(folder / "project", simulator, documents)
        process = launcher.start("run", "--display", "none", cwd=project.root)
        wait_until(lambda: simulator.requests() > 0, 60, _stderr(process))
        for _ in range(kills):
            seen, wanted = simulator.requests(), rng.randrange(0, 6)
            wait_until(_ended_or(process, _asked(simulator, seen + wanted)), 60, _stderr(process))
            counts["killed"] += process.poll() is None
            process.kill()
            _settle(simulator)
            (run,) = project.runs()
            process = launcher.start("resume", run, "--display", "none", cwd=project.root)
            if rng.random() < 0.5:  # the others are killed while they open what the one before left
                wait_until(_ended_or(process, _asked(simulator, simulator.requests() + 1)), 60, _stderr(process))
        assert process.wait().exit_code == 0, process.stderr
        left = assert_nothing_lost(launcher, project, documents)
        asked = simulator.requests()
        counts["requests repeated"] = asked - documents * len(STAGES)
        counts["requests without a row"] = asked - len(left.attempts)
        counts["interrupted attempts"] = sum(one["error_code"] == "interrupted" for one in left.attempts)
    # A document has one request in flight at most, and eight documents are in flight.
    assert 0 <= counts["requests repeated"] <= IN_FLIGHT * counts["killed"]
    assert 0 <= counts["requests without a row"] <= counts["requests repeated"]
    return counts


def _stderr(process: Process) -> Callable[[], str]:
    return lambda: process.stderr


def _ended_or(process: Process, holds: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: process.poll() is not None or holds()


def _asked(simulator: SeparateSimulator, requests: int) -> Callable[[], bool]:
    return lambda: simulator.requests() >= requests


def _settle(simulator: SeparateSimulator) -> None:
    """Wait until the server has finished with what a killed client asked."""
    wait_until(lambda: simulator.statistics()["requests_in_flight"] == 0, 20, lambda: "the simulator does not settle")


def test_a_run_survives_kills_at_random_moments(launcher: Launcher, tmp_path: Path) -> None:
    """A few of them; the long form of this test makes two hundred."""
    counts = kill_at_random(launcher, tmp_path, seed=1, kills=3, documents=12)

    assert counts["killed"] > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_kills_lose_double_and_tear_nothing(launcher: Launcher, tmp_path: Path) -> None:
    """The figure; printed with counts."""
    total: Counter[str] = Counter()
    for seed in range(40):
        if total["killed"] >= 200:
            break
        total += kill_at_random(launcher, tmp_path / str(seed), seed=seed, kills=12, documents=40)
    print(f"\n{total['killed']} kills: 0 lost, 0 duplicated, 0 torn; {dict(total)}")  # noqa: T201 - the figure

    assert total["killed"] >= 200


@pytest.mark.parametrize("name", sorted(name for name in NAMES if not name.startswith("batch.")))
@pytest.mark.parametrize("after", [1, 3])
def test_a_run_killed_at_a_named_point_goes_on(launcher: Launcher, tmp_path: Path, name: str, after: int) -> None:
    """Between the artifact's name and its row, too: no second copy, nothing paid again."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED_AT, encoding="utf-8")
    with open_separate_simulator(launcher, tmp_path / "server") as simulator:
        project = project_at(tmp_path / "project", simulator, 5, in_flight=2)
        # The first commits make the tables and the session; a kill there leaves nothing to go on with.
        moment = after + (2 if name.startswith("ledger.") else 0)
        process = launcher.start(name, moment, "run", "--display", "none", cwd=project.root, script=script)
        assert process.wait().exit_code == -9
        (run,) = project.runs()

        ended = launcher.run("resume", run, "--display", "none", cwd=project.root)

        assert ended.exit_code == 0, ended.stderr
        assert_nothing_lost(launcher, project, 5)
        assert simulator.requests() <= 10 + 2
