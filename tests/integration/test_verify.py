"""Runs that were killed, checked from outside: nothing differs before they go on, nor after."""

import json
import random
from pathlib import Path

import pytest
from tests.integration.command import Launcher, Process, wait_until
from tests.integration.leavings import Leavings, assert_complete, assert_verified
from tests.integration.project import BUILT_IN, Project, make_project, prose
from tests.integration.provider import SeparateSimulator, open_separate_simulator


def project_at(root: Path, simulator: SeparateSimulator, documents: int, in_flight: int = 8) -> Project:
    limits = {"documents_in_flight": in_flight}
    return make_project(root, prose(documents), stages=BUILT_IN, base_url=simulator.base_url, limits=dict(limits))


def test_a_killed_run_is_verified_before_and_after_it_goes_on(launcher: Launcher, tmp_path: Path) -> None:
    """What a kill leaves undone is noted; what is said of the run fits together all the same."""
    with open_separate_simulator(launcher, tmp_path / "provider", latency=0.05) as simulator:
        project = project_at(tmp_path / "p", simulator, 12)
        process = launcher.start("run", "--display", "none", cwd=project.root)
        wait_until(lambda: simulator.requests() >= 25, 60, lambda: process.stderr)
        process.kill()
        killed = launcher.run("verify", "trial", "--json", cwd=project.root)
        resumed = launcher.run("resume", "trial", "--json", cwd=project.root)
        whole = launcher.run("verify", "trial", cwd=project.root)

    assert killed.exit_code == 0, killed.stdout
    notes = killed.result["notes"]
    assert isinstance(notes, list)
    assert {"session_killed", "manifest_missing", "document_unfinished"} <= {note["code"] for note in notes}
    assert resumed.exit_code == 0, resumed.stderr
    assert (whole.exit_code, whole.stdout.splitlines()[0].rpartition(": ")[2]) == (0, "nothing differs"), whole.stdout
    assert "2 sessions, 12 documents, 12 artifacts" in whole.stdout


def kill_somewhere(process: Process, simulator: SeparateSimulator, rng: random.Random) -> None:
    """Kill a process after some more requests, or let it end before."""
    until = simulator.requests() + rng.randrange(1, 25)
    wait_until(lambda: simulator.requests() >= until or process.poll() is not None, 60, lambda: process.stderr)
    process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_again_and_again_stays_verified(launcher: Launcher, tmp_path: Path, seed: int) -> None:
    """Each kill falls at another moment: while documents are worked on, while files are opened, while it closes."""
    rng = random.Random(seed)
    with open_separate_simulator(launcher, tmp_path / "provider", latency=0.02) as simulator:
        project = project_at(tmp_path / "p", simulator, 40)
        kill_somewhere(launcher.start("run", "--display", "none", cwd=project.root), simulator, rng)
        kills, noted = 1, 0
        (path,) = project.runs()
        while kills < 12:
            report = assert_verified(path)
            noted += sum(note.count for note in report.notes)
            process = launcher.start("resume", path.name, "--display", "none", cwd=project.root)
            kill_somewhere(process, simulator, rng)
            kills += 1
        assert_verified(path)
        ended = launcher.run("resume", path.name, "--json", cwd=project.root)
        assert ended.exit_code == 0, ended.stderr

        requests = simulator.requests()
    left = Leavings(path)
    assert_complete(left)
    print(f"{kills} kills: {requests} requests, {len(left.attempts)} rows, {noted} notes on the way")  # noqa: T201
    assert {row["outcome"] for row in left.documents} == {"succeeded"}
    assert len(left.documents) == len(list(project.artifacts.iterdir())) == 40


@pytest.mark.slow
def test_of_twenty_starts_on_one_run_exactly_one_runs(launcher: Launcher, tmp_path: Path) -> None:
    """Two that work on one run would pay twice and write into each other's files."""
    with open_separate_simulator(launcher, tmp_path / "provider", latency=0.3) as simulator:
        project = project_at(tmp_path / "p", simulator, 8, in_flight=1)
        first = launcher.start("run", "--display", "none", cwd=project.root)
        wait_until(lambda: simulator.requests() >= 2, 60, lambda: first.stderr)
        first.kill()

        started = [launcher.start("resume", "trial", "--json", cwd=project.root) for _ in range(20)]
        ended = [process.wait() for process in started]

    (path,) = project.runs()
    left = Leavings(path)
    assert_complete(left)
    ran = [one for one in ended if one.exit_code == 0]
    refused = [one for one in ended if one.exit_code == 3]
    words = {json.dumps(one.result["error"])[:23] for one in refused}
    print(f"20 starts: {len(ran)} ran, {len(refused)} refused; {len(left.table('sessions'))} sessions")  # noqa: T201
    assert (len(ran), len(refused)) == (1, 19)
    assert words == {'{"code": "run_in_use", '}
    assert len(left.table("sessions")) == 2
    assert {row["outcome"] for row in left.documents} == {"succeeded"}
