"""Files go to and from a provider a piece at a time."""

import re
import sys
from pathlib import Path

import trio

from agent_pipeline.simulator import FaultPlan, Simulator, serve


async def test_memory_does_not_grow_with_a_file(tmp_path: Path) -> None:
    """Twenty-five megabytes up and down: what is held is a piece of them, a line, and where lines are."""
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve, Simulator(faults=FaultPlan(batch_delay=0.1)))
        command = [sys.executable, "-m", "tests.batch_api.memory_of", f"http://127.0.0.1:{port}/v1", str(tmp_path)]
        done = await trio.run_process(command, capture_stdout=True)
        nursery.cancel_scope.cancel()
    printed = done.stdout.decode()

    assert (tmp_path / "large" / "part-0001.jsonl").stat().st_size > 25_000_000
    (rise,) = re.findall(r"rise=([\d.]+)", printed)
    assert float(rise) < 5, printed
