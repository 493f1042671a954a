"""A process that works on a batch job and prints its results, or is killed: `work_once.py URL DIRECTORY [FAILPOINT]`.

A job that was begun is taken up again.
"""

import json
import os
import signal
import sys
from pathlib import Path

import trio
from tests.batch_api.world import items, runtime

from agent_pipeline import failpoints
from agent_pipeline.batch import BatchAPIProcessor
from agent_pipeline.batch.batch_api_options import BatchAPIOptions

COUNT = 5


async def main(url: str, directory: str, point: str = "") -> None:
    """Work on the job in the directory."""
    options = BatchAPIOptions(runtime=runtime(base_url=url), poll_interval=0.05, max_poll_interval=0.1)
    if point:
        failpoints.arm(point, lambda: os.kill(os.getpid(), signal.SIGKILL))
    if (Path(directory) / "job.json").exists():
        processor = BatchAPIProcessor[str, int].resume(directory, **options)
    else:
        processor = BatchAPIProcessor[str, int](role="writer", directory=directory, max_requests=3, **options)
    async with processor:
        if not (Path(directory) / "job.json").exists():
            await processor.add_all(items(COUNT))
        result = await processor.process_all()
    charge = processor.charge
    found = [[one.item_id, one.success, one.output] for one in result.results]
    known = None if charge is None else [charge.usage.total_tokens, charge.unknown_tokens]
    json.dump({"results": found, "charge": known}, sys.stdout)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], "".join(sys.argv[3:]))
