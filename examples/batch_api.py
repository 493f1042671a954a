"""A job at a provider's batch endpoint whose process is killed, and another that takes it up: nothing is sent twice.

Run it: `uv run python examples/batch_api.py`. It needs neither a key nor a network; the simulator is no model.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import trio

from agent_pipeline.batch import BatchAPIProcessor, BatchProgress, BatchRequest
from agent_pipeline.llmhub import RuntimeConfig, parse_runtime_config
from agent_pipeline.testing import SimulatorThread

ITEMS = 50


def roles(base_url: str) -> RuntimeConfig:
    """Return one role at the simulator; a real one is in a file, with `env_key` in the place of an address."""
    role = {"provider": "local", "model": "small", "params": {"max_tokens": 100}, "instructions": "Be brief."}
    return parse_runtime_config(
        {
            "project": "pages",
            "env": "test",
            "providers": {"local": {"base_url": base_url}},
            "roles": {"summariser": role},
        }
    )


def tell(look: BatchProgress) -> None:
    """Say how far a batch is."""
    print(f"{look.batch_id}: {look.status}, {look.completed} of {look.total}", flush=True)


async def work(base_url: str, directory: Path) -> None:
    """Begin the job, or take it up where it was left."""
    runtime = roles(base_url)
    if (directory / "job.json").exists():
        processor = BatchAPIProcessor[str, int].resume(directory, runtime=runtime, poll_interval=0.2, on_progress=tell)
    else:
        processor = BatchAPIProcessor[str, int](
            role="summariser", directory=directory, runtime=runtime, poll_interval=0.2, on_progress=tell
        )
    async with processor:
        if not (directory / "job.json").exists():
            await processor.add_all(
                BatchRequest(f"page-{n}", f"Page {n} tells of lakes. It has no end.") for n in range(ITEMS)
            )
        result = await processor.process_all()
    print(result.summary())
    if result.succeeded != ITEMS:
        raise SystemExit(1)


def batches_at(base_url: str) -> int:
    """Return how many batches the provider has."""
    with urllib.request.urlopen(f"{base_url}/batches") as answer:  # noqa: S310 - loopback
        return len(json.load(answer)["data"])


def main() -> None:
    """Kill a process that works on the job once the provider has its batch; then work on it here."""
    directory = Path(tempfile.mkdtemp())
    with SimulatorThread() as simulator:
        first = subprocess.Popen([sys.executable, __file__, simulator.base_url, str(directory)])
        while not batches_at(simulator.base_url):
            if first.poll() is not None:
                raise SystemExit("the first process ended by itself")
            time.sleep(0.02)
        first.kill()
        first.wait()
        print("killed")
        trio.run(work, simulator.base_url, directory)
        if batches_at(simulator.base_url) != 1:
            raise SystemExit("a second batch was made")
    shutil.rmtree(directory)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        trio.run(work, sys.argv[1], Path(sys.argv[2]))
    else:
        main()
