"""A run whose cluster is not there yet: it can be ended as at any other time."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from json import loads
from pathlib import Path

import pytest
import trio
from tests.engines.on_ray.toys import is_running
from tests.integration.command import environment, wait_until
from tests.integration.project import BUILT_IN, IN_THIS_PROCESS, make_project, prose
from tests.integration.spread import Provider, run_over_workers, with_engine
from tests.integration.test_workers import finished

from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.simulator import FaultPlan

HANGING_RAY = """\
import atexit, ctypes, os, pathlib, signal, subprocess, threading, time

lock = threading.RLock()

def is_initialized():
    return False

def init(**_):
    with lock:
        share_fate = lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        child = subprocess.Popen(["sleep", "600"], preexec_fn=share_fate)
        begun = pathlib.Path(os.environ["BEGUN"])
        begun.with_suffix(".new").write_text(str(child.pid))
        begun.with_suffix(".new").rename(begun)
        while True:
            time.sleep(0.05)

def shutdown():
    with lock:
        pass

atexit.register(shutdown)
"""
"""Ray's library, as it behaves at an address that accepts and never answers: its end waits for its beginning."""


@pytest.mark.parametrize("cancel", [False, True])
def test_a_run_that_is_stopped_before_it_has_a_cluster_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, cancel: bool
) -> None:
    """In order: with its row, its manifest, and no document begun; by one signal, or by the second."""
    runtimes: list[Runtime] = []
    ended_at: list[float] = []

    @asynccontextmanager
    async def never(*_: object) -> AsyncGenerator[None]:
        try:
            await trio.sleep(math.inf)
        finally:
            ended_at.append(trio.current_time())
        yield

    async def stop(_: object) -> None:
        await trio.sleep(5)
        runtimes[0].stop.request("signal:SIGTERM", "SIGTERM received", cancel=cancel)

    monkeypatch.setattr("agent_pipeline.compose.engine._way_to_workers", never)
    project = with_engine(make_project(tmp_path, prose(3), stages=IN_THIS_PROCESS, env_key=None))
    result = finished(run_over_workers(project, Provider(FaultPlan()), disturb=stop, on_open=runtimes.append))

    assert (result.outcome, result.exit_code, result.reason) == ("incomplete", 143, "signal:SIGTERM")
    assert (result.documents.total, len(ended_at)) == (0, 1)
    assert (project.runs()[0] / "manifest.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_obeyed_while_ray_does_not_come_back(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """One is enough; the process ends although Ray's own end would wait, and so does what Ray has started."""
    folder, begun = tmp_path / "library", tmp_path / "begun"
    (folder / "ray" / "_private").mkdir(parents=True)
    (folder / "ray" / "__init__.py").write_text(HANGING_RAY, encoding="utf-8")
    for name in ("__init__.py", "worker.py"):
        (folder / "ray" / "_private" / name).write_text("", encoding="utf-8")
    project = make_project(tmp_path / "project", prose(3), stages=BUILT_IN)
    command = [sys.executable, "-m", "agent_pipeline", "run", str(project.config), "--offline", "--yes", "--json"]
    run = subprocess.Popen(
        [*command, "--display", "log", "--engine", "ray", "--ray-address", "auto"],
        env=environment(PYTHONPATH=str(folder), BEGUN=str(begun)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: begun.exists() or run.poll() is not None, 60, lambda: "Ray was not asked")
        signalled_at = time.monotonic()
        run.send_signal(number)
        stdout, stderr = run.communicate(timeout=60)
    finally:
        run.kill()

    assert time.monotonic() - signalled_at < 10
    assert run.returncode == code, stderr
    assert loads(stdout)["reason"] == f"signal:{number.name}"
    assert f"{number.name} received; no new documents" in stderr
    assert "Traceback" not in stderr
    assert (project.runs()[0] / "manifest.json").exists()
    child = int(begun.read_text())
    wait_until(lambda: not is_running(child), 5, lambda: os.fspath(begun))
