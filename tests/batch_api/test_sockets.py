"""A job over real sockets: from Trio, from asyncio and from ordinary code; files larger than memory may be."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import pytest
import trio
from tests.batch_api.world import inputs, items, runtime

from agent_pipeline.batch.batch_api import BatchAPIProcessor
from agent_pipeline.batch.batch_api_input import BatchRequest
from agent_pipeline.batch.batch_api_options import BatchAPIOptions
from agent_pipeline.batch.results import BatchResult, WorkItemResult
from agent_pipeline.simulator import FaultPlan, Simulator, serve


@contextmanager
def provider() -> Generator[str]:
    """Run a simulator in a thread of its own; yield its address."""
    started = threading.Event()
    stop: list[Callable[[], object]] = []
    ports: list[int] = []

    async def main() -> None:
        token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            ports.append(await nursery.start(serve, Simulator(faults=FaultPlan(batch_delay=0.1))))
            stop.append(lambda: token.run_sync_soon(nursery.cancel_scope.cancel))
            started.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    started.wait()
    try:
        yield f"http://127.0.0.1:{ports[0]}/v1"
    finally:
        stop[0]()
        thread.join()


def options(url: str, **more: Unpack[BatchAPIOptions]) -> BatchAPIOptions:
    """Return what a job at that address needs."""
    own: BatchAPIOptions = {"runtime": runtime(base_url=url), "poll_interval": 0.05, "max_poll_interval": 0.1}
    own.update(more)
    return own


Threads = list[threading.Thread]


async def work(url: str, directory: Path, sleep: Callable[[float], Coroutine[Any, Any, None]]) -> tuple[Any, Threads]:
    """Work on a job; return its result and where the post-processor ran."""
    threads: Threads = []

    async def post(_result: WorkItemResult[Any, Any]) -> None:
        await sleep(0)
        threads.append(threading.current_thread())

    async with BatchAPIProcessor[str, int](
        role="writer", directory=directory, **options(url, post_processor=post)
    ) as processor:
        await processor.add_all(items(3))
        return await processor.process_all(), threads


@pytest.mark.parametrize("flavour", ["trio", "asyncio"])
def test_callers_of_both_loops_get_the_same(tmp_path: Path, flavour: str) -> None:
    """Their code runs where they are."""
    with provider() as url:
        if flavour == "trio":
            result, threads = trio.run(work, url, tmp_path, trio.sleep)
        else:
            result, threads = asyncio.run(work(url, tmp_path, asyncio.sleep))

    assert [one.output for one in result.results] == [f"Apple {n} lies on a table." for n in range(3)]
    assert threads == [threading.current_thread()] * 3


def test_ordinary_code_resumes_what_asyncio_began(tmp_path: Path) -> None:
    """Also without `async with`."""

    async def begin(url: str) -> None:
        processor = BatchAPIProcessor[str, int](role="writer", directory=tmp_path, **options(url, timeout=0.0))
        await processor.add_all(items(2))
        assert (await processor.process_all()).termination == "batch_timeout"
        await processor.aclose()

    with provider() as url:
        asyncio.run(begin(url))
        processor = BatchAPIProcessor[str, int].resume(tmp_path, **options(url))
        result = processor.process_all_sync()
        processor.close()

    assert result.succeeded == 2


async def test_a_cancelled_asyncio_caller_leaves_a_job_to_be_resumed(tmp_path: Path) -> None:
    """Trio's side has ended when the caller goes on: the directory is free."""

    async def cancelled(url: str) -> BatchResult[Any, Any]:
        config = options(url, poll_interval=30.0, max_poll_interval=30.0)
        async with BatchAPIProcessor[str, int](role="writer", directory=tmp_path, **config) as processor:
            await processor.add_all(items(2))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(processor.process_all(), 1.0)
        async with BatchAPIProcessor[str, int].resume(tmp_path, **options(url)) as processor:
            return await processor.process_all()

    with provider() as url:
        result = await trio.to_thread.run_sync(lambda: asyncio.run(cancelled(url)))

    assert result.succeeded == 2


async def source(count: int, size: int) -> Any:  # noqa: ANN401 - an async generator
    """Yield long items."""
    for number in range(count):
        await trio.lowlevel.checkpoint()
        yield BatchRequest(f"{number}", "Apple. " * (size // 7))


def test_a_source_is_taken_one_item_at_a_time(tmp_path: Path) -> None:
    """An async one, several files of a megabyte."""

    async def main(url: str) -> BatchResult[Any, Any]:
        config = options(url)
        async with BatchAPIProcessor[str, None](
            role="writer", directory=tmp_path, max_bytes=1_000_000, **config
        ) as processor:
            items = source(50, 100_000)
            try:
                await processor.add_all(items)
            finally:
                await items.aclose()
            return await processor.process_all()

    with provider() as url:
        result = trio.run(main, url)

    assert result.succeeded == 50
    assert len(inputs(tmp_path)) == 6
