"""One batch per file, whatever answer got lost on the way: it is looked for before it is asked for again."""

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
import trio
from tests.batch_api.world import items, job, requests, resumed, simulator
from tests.simulator.uploading import create
from trio.testing import MockClock

from agent_pipeline.testing import cancel_at_every_step


def losing(path: str, times: int) -> Callable[[httpx2.Request, httpx2.Response], httpx2.Response]:
    """Lose the answers to the first POSTs to a path; the provider has done what they ask."""
    lost = 0

    def twist(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        nonlocal lost
        if request.method == "POST" and request.url.path == path and lost < times:
            lost += 1
            raise httpx2.ReadError("the connection broke")
        return response

    return twist


async def test_a_batch_whose_answer_got_lost_is_found(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It was made."""
    provider = simulator()
    async with job(tmp_path, provider, twist=losing("/v1/batches", 1)) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()

    assert result.succeeded == 2
    assert provider.statistics.ends["/v1/batches", "200"] == 2  # made once, looked for once


@pytest.mark.parametrize("status", [500, 503, 504])
async def test_a_batch_that_was_not_made_is_asked_for_again(
    autojump_clock: MockClock, tmp_path: Path, status: int
) -> None:
    """After two looks, some time apart: a provider may be slow to say what it has."""
    provider = simulator({"kind": "status", "status": status, "script": [1], "match": {"path": "/v1/batches"}})
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()

    assert result.succeeded == 2
    assert requests(provider, "/v1/batches") == 3
    assert trio.current_time() == 20


async def test_a_pause_the_provider_asks_for_makes_no_second_batch(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A 429 is sure: nothing was made."""
    provider = simulator(
        {"kind": "status", "status": 429, "retry_after": 7, "script": [1], "match": {"path": "/v1/batches"}}
    )
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()

    assert result.succeeded == 2
    assert requests(provider, "/v1/batches") == 1
    assert trio.current_time() == 17


async def test_silence_after_the_request_makes_no_second_batch(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The attempt's own timeout comes from outside of the sender, and would be followed by another attempt."""
    provider = simulator(
        {"kind": "slow_drip", "bytes": 1, "delay": 10, "script": [1], "match": {"path": "/v1/batches"}}
    )
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()

    assert result.succeeded == 2
    assert len(provider._storage._batches.list()) == 1


async def test_of_two_batches_the_first_counts_and_the_other_is_cancelled(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A provider that tells too late what it has made."""
    provider = simulator(batch_delay=100)

    def hide_lists(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        if request.method == "GET" and request.url.path == "/v1/batches" and trio.current_time() < 15:
            return httpx2.Response(200, json={"object": "list", "data": [], "has_more": False})
        return losing_first(request, response)

    losing_first = losing("/v1/batches", 2)
    async with job(tmp_path, provider, twist=hide_lists) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()

    assert result.succeeded == 2
    statuses = [one["status"] for one in provider._storage._batches.list()]
    assert sorted(map(str, statuses)) in (["cancelling", "completed"], ["cancelled", "completed"])


async def test_a_batch_is_found_among_many_pages(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Others use the account, too."""
    provider = simulator(batch_delay=0)
    losing_first = losing("/v1/batches", 1)

    def others_come(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        if request.method == "POST" and request.url.path == "/v1/batches":
            for number in range(130):
                assert create(provider, "/v1/responses", f"{number}".encode()).status == 200
        return losing_first(request, response)

    async with job(tmp_path, provider, twist=others_come) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()

    assert result.succeeded == 2
    assert requests(provider, "/v1/batches") == 1 + 130 + 2  # two pages of a hundred


@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_cancelled_at_any_step_a_job_goes_on_to_one_result_for_each_item(
    tmp_path_factory: pytest.TempPathFactory, stride: int
) -> None:
    """Of upload, creation, polling and collection; two batches at the provider, never a third."""

    async def operation(scope: trio.CancelScope) -> None:
        provider = simulator(batch_delay=5)
        directory = tmp_path_factory.mktemp("job")
        with scope:
            async with job(directory, provider, max_requests=2) as processor:
                await processor.add_all(items(3))
                await processor.process_all()
        if not (directory / "job.json").exists():
            assert provider.statistics.requests == 0
            return
        async with resumed(directory, provider) as processor:
            result = await processor.process_all()
        assert [one.item_id for one in result.results] == [f"item {n}" for n in range(3)]
        assert result.succeeded == 3
        assert len(provider._storage._batches.list()) == 2
        assert len(provider._storage._files.files) == 2 + 2

    assert cancel_at_every_step(operation, stride=stride) * stride > 100


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches"])
async def test_left_while_the_provider_does_what_it_was_asked(
    autojump_clock: MockClock, tmp_path: Path, path: str
) -> None:
    """It has the file, or the batch; whoever goes on finds it."""
    provider = simulator({"kind": "latency", "delay": 60.0, "script": [1], "match": {"path": path}})
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(2))
        with trio.move_on_after(30):
            await processor.process_all()
    async with resumed(tmp_path, provider) as processor:
        result = await processor.process_all()

    assert result.succeeded == 2
    assert len(provider._storage._batches.list()) == 1
    assert [one.purpose for one in provider._storage._files.files.values()] == ["batch", "batch_output"]


async def test_a_provider_that_neither_makes_a_batch_nor_says_why_is_left(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """After two tries; whoever resumes looks first."""
    provider = simulator({"kind": "status", "status": 503, "script": [1, 4], "match": {"path": "/v1/batches"}})
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()
    assert result.errors == {"batch_uncertain": 2}

    async with resumed(tmp_path, provider) as processor:
        assert (await processor.process_all()).succeeded == 2
    assert len(provider._storage._batches.list()) == 1
