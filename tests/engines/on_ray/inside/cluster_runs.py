"""Whole runs on Ray, as commands: what they leave is what a run in one process leaves, and of Ray nothing is left."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from tests.engines.on_ray.inside.held_run import let_pass, make_held
from tests.engines.on_ray.toys import is_running
from tests.integration.project import BUILT_IN, Project, make_project, prose

pytestmark = pytest.mark.ray

RAY = ("--engine", "ray", "--workers", "2", "--worker-concurrency", "5", "--shard-size", "5")

AS_INSTALLED = ("-m", "agent_pipeline")
IMPATIENT = """\
import sys
from agent_pipeline.engines.on_ray import cluster, pulse
pulse.PERIOD, pulse.SILENCE, cluster.LEAVE_TIMEOUT = 0.2, 3.0, 3.0
from agent_pipeline.cli.app import main
sys.exit(main())
"""
"""The program, that waits for a cluster's head for three seconds."""


def _start(
    project: Project, *flags: str, program: Sequence[str] = AS_INSTALLED, before: Sequence[str] = ()
) -> "subprocess.Popen[str]":
    command = [*before, sys.executable, *program, "run", str(project.config), "--offline", "--yes", "--json"]
    return subprocess.Popen(
        [*command, "--display", "log", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _workers(run: "subprocess.Popen[str]") -> list[int]:
    """Wait until both workers are ready; return their processes."""
    found: list[int] = []
    assert run.stderr is not None
    while len(found) < 2:
        line = run.stderr.readline()
        assert line, run.communicate()
        if " WORKER_READY " in line:
            found.append(int(line.partition("pid=")[2].split()[0]))
    return found


def _let_ask(run: "subprocess.Popen[str]", project: Project, number: int) -> None:
    """Let documents pass as far as this one; wait until a first request of one was answered, and others are made."""
    let_pass(project, number)
    _wait_until_said(run, " ATTEMPT ")


def _let_end(run: "subprocess.Popen[str]", project: Project, documents: int) -> None:
    """Let all documents pass; wait until all have ended."""
    let_pass(project, documents)
    _wait_until_said(run, *[" DOCUMENT_FINISHED "] * documents)


def _wait_until_said(run: "subprocess.Popen[str]", *words: str) -> None:
    assert run.stderr is not None
    for word in words:
        while word not in (line := run.stderr.readline()):
            assert line, run.communicate()


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        threads = [one for one in map(int, (path.name for path in Path(f"/proc/{pid}/task").iterdir())) if one != pid]
        for thread in threads:
            children += Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)


def _of_family(pid: int, name: str) -> int:
    """Return the process with this in its command, of those that this one has begun."""
    return next(one for one in _descendants(pid) if name in Path(f"/proc/{one}/cmdline").read_text())


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


def _left(pids: set[int], seconds: float) -> set[int]:
    """Return which processes still run after so many seconds, sooner where there are none."""
    deadline = time.monotonic() + seconds
    while (running := {pid for pid in pids if is_running(pid)}) and time.monotonic() < deadline:
        time.sleep(0.2)
    return running


def _result(run: "subprocess.Popen[str]") -> dict[str, object]:
    stdout, stderr = run.communicate(timeout=400)
    assert stdout.count("\n") == 1, f"{stdout}\n{stderr[-3000:]}"
    result: dict[str, object] = json.loads(stdout)
    assert run.returncode == result["exit_code"]
    return result


def _ends(project: Project) -> dict[str, tuple[str, str]]:
    """Return outcome and artifact's hash of each document of the newest run."""
    with closing(sqlite3.connect(project.runs()[-1] / "ledger.sqlite3")) as ledger:
        rows = ledger.execute("SELECT document_id, outcome, artifact_sha256 FROM documents").fetchall()
    assert len(rows) == len({row[0] for row in rows})
    return {row[0]: (row[1], row[2]) for row in rows}


def test_runs_on_ray_leave_what_a_local_one_leaves_two_at_once_as_well(tmp_path: Path) -> None:
    """The code that works on a document is the same; and what one of two drivers ends is its own."""
    # Names of one length: the source's path is in the prompts.
    here, *away = (make_project(tmp_path / name, prose(40)) for name in ("here", "away", "afar"))

    local = _result(_start(here))
    on_ray = [_result(run) for run in [_start(project, *RAY) for project in away]]

    for project, result in zip(away, on_ray, strict=True):
        assert (result["exit_code"], result["usage"]) == (0, local["usage"])
        assert _ends(project) == _ends(here)
        assert {path.name for path in project.artifacts.iterdir()} == {path.name for path in here.artifacts.iterdir()}


def test_a_first_signal_ends_the_run_gently_also_on_ray(tmp_path: Path) -> None:
    """Ray puts a handler of its own around ours, which would print a stack first."""
    slow = tmp_path / "slow.yaml"
    slow.write_text("latency: 0.2\n", encoding="utf-8")
    project = make_held(tmp_path / "project", 500, BUILT_IN)

    run = _start(project, *RAY, "--faults", str(slow))
    _workers(run)
    family = set(_descendants(run.pid))
    _let_ask(run, project, 500)
    run.send_signal(signal.SIGTERM)
    stdout, stderr = run.communicate(timeout=200)

    assert run.returncode == 143
    assert json.loads(stdout)["reason"] == "signal:SIGTERM"
    assert "*** SIGTERM" not in stderr
    assert not _left(family, 30)


def test_nothing_of_ray_outlives_a_driver_that_was_killed_and_a_local_run_goes_on(tmp_path: Path) -> None:
    """Workers would go on asking and paying for nobody; Ray's own agents try for a minute to tell its head."""
    slow = tmp_path / "slow.yaml"
    slow.write_text("latency: 0.5\n", encoding="utf-8")
    project = make_held(tmp_path / "project", 30, BUILT_IN)

    run = _start(project, *RAY, "--faults", str(slow))
    workers = {*_workers(run)}
    family = {*_descendants(run.pid), *workers}
    _let_ask(run, project, 10)
    run.kill()
    run.communicate()
    paying = _left(workers, 60)
    let_pass(project, 30)
    resume = [sys.executable, "-m", "agent_pipeline", "resume", str(project.runs()[-1]), "--json", "--display", "none"]
    resumed = subprocess.run(resume, capture_output=True, text=True, check=False)

    assert not paying
    assert not _left(family, 100)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert {end[0] for end in _ends(project).values()} == {"succeeded"}
    assert len(_ends(project)) == 30


def test_a_run_whose_cluster_loses_its_head_ends_with_its_result(tmp_path: Path) -> None:
    """It can't leave such a cluster: Ray would wait for its head, or crash where the process ends beside it."""
    project = make_held(tmp_path / "project", 30, BUILT_IN)

    run = _start(project, *RAY, program=("-c", IMPATIENT))
    workers = {*_workers(run)}
    _let_ask(run, project, 10)
    os.kill(_of_family(run.pid, "gcs_server"), signal.SIGKILL)
    result = _result(run)

    assert (result["exit_code"], result["reason"]) == (6, "engine_failed")
    assert not _left(workers, 60)


def test_a_head_that_is_lost_when_all_is_done_takes_no_result_along(tmp_path: Path) -> None:
    """What was to be done is done."""
    project = make_held(tmp_path / "project", 10, BUILT_IN)

    run = _start(project, *RAY, program=("-c", IMPATIENT))
    _workers(run)
    _let_end(run, project, 10)
    os.kill(_of_family(run.pid, "gcs_server"), signal.SIGKILL)

    assert _result(run)["exit_code"] == 0


def test_a_run_in_the_background_outlives_the_node_it_is_on(tmp_path: Path) -> None:
    """Ray ends a driver without a word whose node is gone, where whoever started the driver is gone as well."""
    project = make_held(tmp_path / "project", 10, BUILT_IN)

    run = _start(project, *RAY, before=("sh", "-c", '"$@" &', "sh"))
    worker, _ = _workers(run)
    _let_end(run, project, 10)
    os.kill(_parent(worker), signal.SIGKILL)

    assert _result(run)["exit_code"] == 0
