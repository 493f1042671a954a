"""A process killed at any step of a job: whoever resumes it makes no second batch, and has one result for each item."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from tests.batch_api.work_once import COUNT

from agent_pipeline.simulator import FaultPlan, Simulator, serve

POINTS = (
    "batch.uploading",
    "batch.uploaded",
    "batch.creating",
    "batch.created",
    "batch.polled",
    "batch.collecting",
    "batch.collected",
    "batch.settled",
)


async def work(port: int, directory: Path, point: str = "") -> "subprocess.CompletedProcess[bytes]":
    """Run a process that works on the job."""
    command = [sys.executable, "-m", "tests.batch_api.work_once", f"http://127.0.0.1:{port}/v1", str(directory)]
    return await trio.run_process([*command, *([point] if point else [])], capture_stdout=True, check=False)


def check(provider: Simulator, printed: bytes, *, files: int = 2) -> None:
    """Each item has its answer, and what was paid is what two batches used."""
    told = json.loads(printed)
    assert told["results"] == [[f"item {n}", True, f"Apple {n} lies on a table."] for n in range(COUNT)]
    seen = provider.statistics
    assert told["charge"] == [seen.input_tokens + seen.output_tokens, 0]
    batches = provider._storage._batches.list()
    assert [one["status"] for one in batches] == ["completed"] * 2
    uploaded = [one for one in provider._storage._files.files.values() if one.purpose == "batch"]
    assert len(uploaded) == files


@pytest.mark.slow
async def test_killed_at_every_step_in_turn(tmp_path: Path) -> None:
    """Eight processes of one job, each killed one step further on, and a ninth that brings it to its end."""
    provider = Simulator(faults=FaultPlan(batch_delay=0.2))
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve, provider)
        for point in POINTS:
            killed = await work(port, tmp_path, point)
            assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, b""), point
        done = await work(port, tmp_path)
        again = await work(port, tmp_path)
        nursery.cancel_scope.cancel()

    assert done.returncode == 0
    assert done.stdout == again.stdout
    check(provider, done.stdout)


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches"])
async def test_killed_while_the_provider_does_what_it_was_asked(tmp_path: Path, path: str) -> None:
    """It has the file, or the batch; the answer would have come a minute later."""
    slow = {"kind": "latency", "delay": 60.0, "script": [1], "match": {"path": path}}
    provider = Simulator(faults=FaultPlan.from_mapping({"faults": [slow], "batch_delay": 0.2}))
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve, provider)
        command = [sys.executable, "-m", "tests.batch_api.work_once", f"http://127.0.0.1:{port}/v1", str(tmp_path)]
        process = await trio.lowlevel.open_process(command)
        while not provider.statistics.faults["latency"]:  # noqa: ASYNC110 - a simulator tells nobody
            await trio.sleep(0.02)
        process.kill()
        await process.wait()
        done = await work(port, tmp_path)
        nursery.cancel_scope.cancel()

    assert done.returncode == 0
    check(provider, done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
async def test_killed_at_any_moment_again_and_again(tmp_path: Path, seed: int) -> None:
    """Between any two steps; each process lives a little longer."""
    provider = Simulator(faults=FaultPlan(batch_delay=0.2, latency=0.05))
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve, provider)
        command = [sys.executable, "-m", "tests.batch_api.work_once", f"http://127.0.0.1:{port}/v1", str(tmp_path)]
        before = 0
        for kill in range(4):
            process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL)
            while provider.statistics.requests < before + 1 + (seed + kill) % 5 and process.poll() is None:  # noqa: ASYNC110
                await trio.sleep(0.005)
            process.kill()
            await process.wait()
            before = provider.statistics.requests
        done = await work(port, tmp_path)
        nursery.cancel_scope.cancel()

    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert [one[:2] for one in told["results"]] == [[f"item {n}", True] for n in range(COUNT)]
    assert [one["status"] for one in provider._storage._batches.list()] == ["completed"] * 2
