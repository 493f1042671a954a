"""A process that says by how many MiB a job of large files made it grow: `memory_of.py URL DIRECTORY`."""

import sys

import trio
from tests.batch_api.world import runtime
from tests.gateway.ask_once import MIB, peak_bytes, reset_peak

from agent_pipeline.batch import BatchAPIProcessor, BatchRequest
from agent_pipeline.batch.batch_api_options import BatchAPIOptions


async def work(url: str, directory: str, count: int, size: int) -> None:
    """Work on so many items of so many bytes."""
    options = BatchAPIOptions(
        runtime=runtime(base_url=url),
        poll_interval=0.05,
        max_poll_interval=0.1,
        read_answer=lambda body: len(body["output"][0]["content"][0]["text"]),
    )
    async with BatchAPIProcessor[int, None](role="writer", directory=directory, **options) as processor:
        for number in range(count):
            text = f"Line {number} of the text is here. " * (size // 32)
            asked = f"Tidy this:\n<document>\n{text}\n</document>"
            await processor.add_work(BatchRequest(f"{number}", asked, params={"max_tokens": 100_000}))
        result = await processor.process_all()
    assert result.succeeded == count, result.results[0]
    print(f"out={sum(one.output or 0 for one in result.results)}")  # noqa: T201  (how a process answers)


async def main(url: str, directory: str) -> None:
    """Work on a small job, so that everything is loaded, then on a large one."""
    await work(url, f"{directory}/small", 3, 100_000)
    reset_peak()
    before = peak_bytes()
    await work(url, f"{directory}/large", 280, 100_000)
    print(f"rise={(peak_bytes() - before) / MIB:.1f}")  # noqa: T201  (how a process answers)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
