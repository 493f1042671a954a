"""Losses in whole runs on Ray: nothing is lost, nothing is doubled, and what is paid again has a bound."""

import importlib
import os
import re
import signal
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.engines.on_ray.inside.driver_process import RAY, DriverProcess, provider, rows, seen_by, start
from tests.engines.on_ray.toys import is_running
from tests.integration.project import ONE_CALL, Project, make_project, prose

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.engines.on_ray.library import load_ray

pytestmark = pytest.mark.ray

AT_ONCE = 20
"""Documents in flight in both workers of `RAY`."""

UNSAID = 25
"""Reports that a worker may have made and not sent."""

LATENCY = 0.5

_LOST = re.compile(r" WORKER_LOST ")

IMPATIENT = """\
import functools, os, sys
from agent_pipeline.engines import attendant, driver
driver.Patience = functools.partial(attendant.Patience, silence=4.0, last_words=2.0)
{more}
from agent_pipeline.cli.app import main
sys.exit(main())
"""
"""The program, that waits four seconds for workers."""

OUT_OF_REACH = """\
from agent_pipeline.engines.on_ray import local_process, ray_link
ray_link.KILL_TIMEOUT = 0.5
ray_link._kill = lambda actor: None
async def kill(self): pass
local_process.LocalProcess.kill = kill
"""
"""No worker can be killed, as where the network is cut."""


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """A provider that counts, and outlives whoever asks it."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
    with provider(tmp_path, LATENCY) as address:
        yield address


def _project(root: Path, url: str, documents: int, tokens: int | None = None) -> Project:
    limits: dict[str, JsonValue] | None = None if tokens is None else {"budget": {"tokens": tokens}}
    return make_project(root / "project", prose(documents), stages=ONE_CALL, base_url=url, limits=limits)


def _check_each_succeeded_once(project: Project, documents: int) -> None:
    ends = rows(project, "SELECT document_id, outcome FROM documents ORDER BY document_id")

    assert ends == [(f"d{number:04}", "succeeded") for number in range(1, documents + 1)]
    assert len([*project.artifacts.glob("d*")]) == documents


def _tokens_seen(url: str) -> int:
    seen = seen_by(url)
    return int(seen["input_tokens"]) + int(seen["output_tokens"])


def _charged(project: Project) -> int:
    return int(rows(project, "SELECT sum(charged_tokens) FROM attempts")[0][0])


def test_three_killed_workers_lose_nothing_and_little_is_paid_again(tmp_path: Path, url: str) -> None:
    """What each had in flight, and what it had not told yet; and the ledger knows of all that was paid."""
    project = _project(tmp_path, url, 240)

    run = start(project, *RAY)
    for number in (1, 2, 3):
        pid = run.worker(number)
        time.sleep(1)
        os.kill(pid, signal.SIGKILL)
    result = run.result()

    assert result["exit_code"] == 0
    assert len(_LOST.findall(run.said)) == 3
    _check_each_succeeded_once(project, 240)
    assert 0 <= seen_by(url)["requests"] - 240 <= 3 * (AT_ONCE // 2 + UNSAID)
    assert _charged(project) >= _tokens_seen(url)


def test_a_cap_holds_although_a_worker_is_killed(tmp_path: Path, url: str) -> None:
    """What a killed worker had under way counts as spent, whether or not it was."""
    cap = 50_000
    project = _project(tmp_path, url, 400, tokens=cap)

    run = start(project, *RAY)
    run.worker(2)
    time.sleep(1)
    os.kill(run.worker(1), signal.SIGKILL)
    result = run.result()

    assert result["exit_code"] == 4
    assert _tokens_seen(url) <= _charged(project) <= cap


def test_a_run_whose_driver_was_killed_goes_on_on_ray(tmp_path: Path, url: str) -> None:
    """Documents that were recorded are asked for no second time."""
    project = _project(tmp_path, url, 200)
    run = start(project, *RAY)
    workers = [run.worker(1), run.worker(2)]
    time.sleep(2)

    run.kill()
    deadline = time.monotonic() + 30
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    asked = seen_by(url)["requests"]
    recorded = rows(project, "SELECT count(*) FROM documents WHERE outcome = 'succeeded'")[0][0]
    resumed = DriverProcess("resume", str(project.runs()[-1]), "--json", "--display", "log", *RAY)
    result = resumed.result()

    assert not any(map(is_running, workers))
    assert 0 < recorded < 200
    assert result["exit_code"] == 0
    assert resumed.said.count(" WORKER_READY ") == 2
    _check_each_succeeded_once(project, 200)
    assert asked <= recorded + AT_ONCE + 2 * UNSAID
    assert seen_by(url)["requests"] - asked <= 200 - recorded


def test_a_worker_that_was_stopped_too_long_is_ended_and_its_documents_go_to_others(tmp_path: Path, url: str) -> None:
    """Nobody continues it: it would ask and pay for documents that are with others."""
    project = _project(tmp_path, url, 200)

    run = start(project, *RAY, program=("-c", IMPATIENT.format(more="")))
    stopped, _ = run.worker(1), run.worker(2)
    os.kill(stopped, signal.SIGSTOP)
    run.heard(_LOST)
    was_running = is_running(stopped)
    result = run.result()

    assert not was_running
    assert result["exit_code"] == 0
    _check_each_succeeded_once(project, 200)


def test_what_a_worker_says_that_was_given_up_and_could_not_be_ended_is_counted_and_rejected(
    tmp_path: Path, url: str
) -> None:
    """It is continued: its requests were made and are recorded, its documents are those of others."""
    project = _project(tmp_path, url, 200)

    run = start(project, *RAY, program=("-c", IMPATIENT.format(more=OUT_OF_REACH)))
    stopped, _ = run.worker(1), run.worker(2)
    time.sleep(0.3)
    os.kill(stopped, signal.SIGSTOP)
    run.heard(_LOST)
    os.kill(stopped, signal.SIGCONT)
    result = run.result()

    assert result["exit_code"] == 0
    _check_each_succeeded_once(project, 200)
    late = re.search(r" LATE_REPORTS .*?\breports=(\d+)", run.said)
    assert late is not None
    assert int(late[1]) > 0
    assert _charged(project) >= _tokens_seen(url)


def test_a_node_comes_and_another_goes(tmp_path: Path, url: str) -> None:
    """A cluster that grows takes a worker more; one that shrinks loses what was on the node, which goes elsewhere."""
    project = _project(tmp_path, url, 240)
    load_ray()
    make_cluster = importlib.import_module("ray.cluster_utils").Cluster
    cluster = make_cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        run = start(project, *RAY, "--ray-address", cluster.address)
        run.worker(1)
        leaving = cluster.add_node(num_cpus=1)
        run.worker(2)
        time.sleep(1)
        cluster.remove_node(leaving, allow_graceful=False)
        run.heard(re.compile(r' WORKER_LOST .* reason="it[s ]'))  # in words, not Ray's
        cluster.add_node(num_cpus=1)
        result = run.result()
    finally:
        cluster.shutdown()

    assert result["exit_code"] == 0
    _check_each_succeeded_once(project, 240)
    assert 0 <= seen_by(url)["requests"] - 240 <= AT_ONCE // 2 + UNSAID
