"""Losses in whole runs on Ray: nothing is lost, nothing is doubled, and what is paid again has a bound."""

import os
import re
import signal
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.engines.on_ray.inside.driver_process import (
    IMPATIENT,
    RAY,
    DriverProcess,
    check_each_succeeded_once,
    provider,
    rows,
    seen_by,
    start,
)
from tests.engines.on_ray.inside.held_run import let_pass, make_held
from tests.engines.on_ray.toys import OUT_OF_REACH, is_running
from tests.integration.project import ONE_CALL, Project

from agent_pipeline.engines.on_ray.connecting import OBJECT_STORE_BYTES

pytestmark = pytest.mark.ray

IN_ONE = 10
"""Documents in flight in each worker of `RAY`."""

UNSAID = 25
"""Reports that a worker may have made and not sent."""

SENT_TO_ONE = 20
"""Documents that a worker of `RAY` has at most: in flight, and a shard ahead."""

LATENCY = 1.0

_LOST = re.compile(r" WORKER_LOST ")
_FINISHED = re.compile(r" DOCUMENT_FINISHED ")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """A provider that counts, and outlives whoever asks it."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
    with provider(tmp_path, LATENCY) as address:
        yield address


@pytest.fixture
def on_ray(standing_cluster: Any) -> Sequence[str]:  # noqa: ANN401 - Ray has no types of it
    """Flags of a run with two workers in the cluster that there is."""
    return *RAY, "--ray-address", standing_cluster.address


def _project(root: Path, url: str, documents: int, **more: Any) -> Project:  # noqa: ANN401 - handed on
    return make_held(root / "project", documents, ONE_CALL, base_url=url, **more)


def _let_all_ask(project: Project, url: str, so_far: int, workers: int = 2) -> int:
    """Let all pass that workers have; return how many that makes, when requests of each are in flight."""
    passed = so_far + workers * SENT_TO_ONE
    let_pass(project, passed)
    deadline = time.monotonic() + 300
    while seen_by(url)["requests_in_flight"] <= (workers - 1) * IN_ONE:
        assert time.monotonic() < deadline, f"not all workers ask: {seen_by(url)}"
        time.sleep(0.02)
    return passed


def _tokens_seen(url: str) -> int:
    seen = seen_by(url)
    return int(seen["input_tokens"]) + int(seen["output_tokens"])


def _charged(project: Project) -> int:
    return int(rows(project, "SELECT sum(charged_tokens) FROM attempts")[0][0])


def test_three_killed_workers_lose_nothing_and_little_is_paid_again(
    tmp_path: Path, url: str, on_ray: Sequence[str]
) -> None:
    """What each had in flight, and what it had not told yet; the ledger knows of all requests but the untold."""
    project = _project(tmp_path, url, 140)

    run = start(project, *on_ray)
    first_two = [run.worker(1), run.worker(2)]
    passed = _let_all_ask(project, url, 0)
    for pid in first_two:
        os.kill(pid, signal.SIGKILL)
    third, _ = run.worker(3), run.worker(4)
    _let_all_ask(project, url, passed)
    os.kill(third, signal.SIGKILL)
    run.heard(_LOST, 3)
    let_pass(project, 140)
    result = run.result()

    assert result["exit_code"] == 0
    assert len(_LOST.findall(run.said)) == 3
    check_each_succeeded_once(project, 140)
    asked = seen_by(url)["requests"]
    assert 0 < asked - 140 <= 3 * (IN_ONE + UNSAID)
    told, worst = rows(project, "SELECT count(*), max(reserved_tokens) FROM attempts")[0]
    unheard = asked - told
    assert unheard <= 3 * UNSAID
    assert _charged(project) + unheard * worst >= _tokens_seen(url)


def test_a_cap_holds_although_a_worker_is_killed(tmp_path: Path, url: str, on_ray: Sequence[str]) -> None:
    """What left before it could be told is within what is kept back; and little of the cap is left."""
    cap = 15_000
    project = _project(tmp_path, url, 400, params={"max_tokens": 100}, limits={"budget": {"tokens": cap}})

    run = start(project, *on_ray)
    first, _ = run.worker(1), run.worker(2)
    _let_all_ask(project, url, 0)
    os.kill(first, signal.SIGKILL)
    let_pass(project, 400)
    result = run.result()

    assert result["exit_code"] == 4
    worst = rows(project, "SELECT max(reserved_tokens) FROM attempts")[0][0]
    assert _tokens_seen(url) <= cap
    assert _charged(project) <= cap
    assert cap - _charged(project) - result["workers"]["withheld_tokens"] <= 0.03 * cap + worst


def test_a_run_whose_driver_was_killed_goes_on_on_ray(tmp_path: Path, url: str, on_ray: Sequence[str]) -> None:
    """Documents that were recorded are asked for no second time."""
    project = _project(tmp_path, url, 120)
    run = start(project, *on_ray)
    workers = [run.worker(1), run.worker(2)]
    passed = _let_all_ask(project, url, 0)
    run.heard(_FINISHED)
    _let_all_ask(project, url, passed)

    run.kill()
    deadline = time.monotonic() + 30
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    recorded = {one for (one,) in rows(project, "SELECT document_id FROM documents WHERE outcome = 'succeeded'")}
    let_pass(project, 120)
    resumed = DriverProcess("resume", str(project.runs()[-1]), "--json", "--display", "log", *on_ray)
    result = resumed.result()

    assert not any(map(is_running, workers))
    assert 0 < len(recorded) < 120
    assert result["exit_code"] == 0
    check_each_succeeded_once(project, 120)
    asked_again = [one for (one,) in rows(project, "SELECT document_id FROM attempts WHERE session = 2")]
    assert recorded.isdisjoint(asked_again)
    assert len(asked_again) == len({*asked_again})
    asked_before = seen_by(url)["requests"] - len(asked_again)
    assert asked_before <= len(recorded) + 2 * (IN_ONE + UNSAID)


def test_a_worker_that_was_stopped_too_long_is_ended_and_its_documents_go_to_others(
    tmp_path: Path, url: str, on_ray: Sequence[str]
) -> None:
    """Nobody continues it: it would ask and pay for documents that are with others."""
    project = _project(tmp_path, url, 60)

    run = start(project, *on_ray, program=("-c", IMPATIENT.format(more="")))
    stopped, _ = run.worker(1), run.worker(2)
    _let_all_ask(project, url, 0)
    os.kill(stopped, signal.SIGSTOP)
    run.heard(_LOST)
    was_running = is_running(stopped)
    let_pass(project, 60)
    result = run.result()

    assert not was_running
    assert result["exit_code"] == 0
    check_each_succeeded_once(project, 60)


def test_what_a_worker_says_that_was_given_up_and_could_not_be_ended_is_counted_and_rejected(
    tmp_path: Path, url: str, on_ray: Sequence[str]
) -> None:
    """It is continued: its requests were made and are recorded, its documents are those of others."""
    project = _project(tmp_path, url, 140)

    run = start(project, *on_ray, program=("-c", IMPATIENT.format(more=OUT_OF_REACH)))
    stopped, _ = run.worker(1), run.worker(2)
    _let_all_ask(project, url, 0)
    os.kill(stopped, signal.SIGSTOP)
    run.heard(_LOST)
    os.kill(stopped, signal.SIGCONT)
    let_pass(project, 140)
    result = run.result()

    assert result["exit_code"] == 0
    check_each_succeeded_once(project, 140)
    late = re.search(r" LATE_REPORTS .*?\breports=(\d+)", run.said)
    assert late is not None
    assert int(late[1]) > 0
    assert _charged(project) >= _tokens_seen(url)


def test_a_node_comes_and_another_goes(
    tmp_path: Path,
    url: str,
    on_ray: Sequence[str],
    standing_cluster: Any,  # noqa: ANN401 - Ray has no types of it
) -> None:
    """A cluster that grows takes a worker more; one that shrinks loses what was on the node, which goes elsewhere."""
    project = _project(tmp_path, url, 120)

    run = start(project, *on_ray, "--workers", "3")
    run.worker(2)
    leaving = standing_cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
    run.worker(3)
    passed = _let_all_ask(project, url, 0, workers=3)
    standing_cluster.remove_node(leaving, allow_graceful=False)
    run.heard(re.compile(r' WORKER_LOST .* reason="it[s ]'))  # in words, not Ray's
    coming = standing_cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
    run.worker(4)
    let_pass(project, 120)
    result = run.result()
    standing_cluster.remove_node(coming)

    assert passed < 120
    assert result["exit_code"] == 0
    check_each_succeeded_once(project, 120)
    assert 0 < seen_by(url)["requests"] - 120 <= IN_ONE + UNSAID
