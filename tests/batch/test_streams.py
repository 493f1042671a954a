"""Results as they come, and sources that are read as there is room: nothing grows without bound."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import trio
from tests.batch.flavours import QUICK, Flavour, Item, answers, both, item, mock_items, nap, run

from agent_pipeline.batch import BatchResult, ParallelBatchProcessor, ProcessorConfig, WorkItemResult

Processor = ParallelBatchProcessor[None, str, object]


@both
def test_results_come_as_items_end(flavour: Flavour) -> None:
    async def scenario() -> list[str]:
        async with Processor(QUICK) as processor:
            await processor.add_work(item("slow", answers(delay=0.1)))
            await processor.add_work(item("fast", answers()))
            return [result.item_id async for result in processor.results()]

    assert run(flavour, scenario) == ["fast", "slow"]


@both
def test_order_is_kept_where_it_is_asked_for(flavour: Flavour) -> None:
    config = replace(QUICK, preserve_order=True, max_workers=4)

    async def scenario() -> list[int]:
        async with Processor(config) as processor:
            for n in range(20):
                await processor.add_work(item(f"i{n}", answers(delay=0.02 if n % 4 == 0 else 0.0)))
            return [result.position async for result in processor.results()]

    assert run(flavour, scenario) == list(range(20))


def test_nobody_runs_further_ahead_than_the_window() -> None:
    """Or one slow item would let all others' results pile up behind it."""
    begun: list[int] = []

    def watched(n: int) -> Item:
        call = answers(delay=100 if n == 0 else 1)

        async def tell(attempt: int, timeout: float) -> tuple[str, dict[str, int]]:
            begun.append(n)
            output, _ = await call(attempt, timeout)
            return output, {}

        return item(f"i{n}", tell)

    async def scenario() -> tuple[list[int], list[int]]:
        config = ProcessorConfig(preserve_order=True, order_window=6, max_workers=3)
        async with Processor(config) as processor:
            for n in range(12):
                await processor.add_work(watched(n))
            await nap(50)
            meanwhile = list(begun)
            return meanwhile, [result.position async for result in processor.results()]

    meanwhile, order = run("trio", scenario)
    assert sorted(meanwhile) == [0, 1, 2, 3, 4, 5]
    assert order == list(range(12))


def test_when_the_first_one_ends_all_workers_go_on() -> None:
    """What it held back begins at the same instant."""
    begun: dict[int, float] = {}

    def watched(n: int) -> Item:
        async def call(attempt: int, timeout: float) -> tuple[str, dict[str, int]]:
            begun[n] = trio.current_time()
            await nap(100 if n == 0 else 1)
            return "done", {}

        return item(f"i{n}", call)

    async def scenario() -> int:
        config = ProcessorConfig(preserve_order=True, order_window=8, max_workers=8)
        async with Processor(config) as processor:
            await processor.add_work_from([watched(n) for n in range(16)])
            await nap(150)  # nobody reads meanwhile, which would wake workers, too
            return (await processor.process_all()).succeeded

    assert run("trio", scenario) == 16
    assert [begun[n] for n in range(16)] == [0] * 8 + [100] * 8


@both
def test_whoever_reads_slowly_slows_the_work_down(flavour: Flavour) -> None:
    config = replace(QUICK, max_workers=2, max_result_queue_size=3)

    async def scenario() -> tuple[list[int], int]:
        unread: list[int] = []
        async with Processor(config) as processor:
            for one in mock_items(40):
                await processor.add_work(one)
            await nap(0.05)
            async for _ in processor.results():
                figures = processor.metrics()
                unread.append(figures.results_waiting + figures.items_active)
                await nap(0.001)
            return unread, processor.partial_result().succeeded

    unread, succeeded = run(flavour, scenario)
    assert succeeded == 40
    assert max(unread) <= 3 + 2  # what has room, and one result of each worker that had begun by then


@both
@pytest.mark.parametrize("reader", ["results", "process_all"])
def test_workers_that_wait_for_a_reader_go_on_when_one_comes(flavour: Flavour, reader: str) -> None:
    async def scenario() -> int:
        async with Processor(replace(QUICK, max_workers=2, max_result_queue_size=1)) as processor:
            await processor.add_work_from(mock_items(9))
            await nap(0.05)
            assert processor.metrics().items_active == 0
            if reader == "process_all":
                return len((await processor.process_all()).results)
            return len([result async for result in processor.results()])

    assert run(flavour, scenario) == 9


@both
@pytest.mark.parametrize("kind", ["async", "plain"])
def test_a_source_is_read_as_the_queue_has_room(flavour: Flavour, kind: str) -> None:
    given = 0
    ahead: list[int] = []

    def plain() -> Iterator[Item]:
        nonlocal given
        for one in mock_items(50):
            given += 1
            yield one

    async def source() -> AsyncIterator[Item]:
        for one in plain():
            yield one

    async def scenario() -> int:
        config = replace(QUICK, max_queue_size=4, max_workers=2, max_result_queue_size=1)
        async with Processor(config) as processor:
            count = 0
            async for _ in await processor.process_stream(source() if kind == "async" else plain()):
                count += 1
                ahead.append(given - count)
            return count

    assert run(flavour, scenario) == 50
    assert max(ahead) <= 4 + 2 + 3 + 1  # waiting, under way, unread, and the one that waits to be added


@both
def test_add_work_waits_for_room(flavour: Flavour) -> None:
    async def scenario() -> BatchResult[str, object]:
        config = replace(QUICK, max_queue_size=2, max_workers=1)
        async with Processor(config) as processor:
            for n in range(8):
                await processor.add_work(item(f"i{n}", answers(delay=0.005)))
                assert processor.metrics().items_waiting <= 2
            return await processor.process_all()

    assert run(flavour, scenario).succeeded == 8


def test_an_item_whose_adding_was_cancelled_was_not_added() -> None:
    """And may be added again; who waits beside it is let in when there is room."""

    async def scenario() -> list[str]:
        async with Processor(replace(QUICK, max_queue_size=1, max_workers=1)) as processor:
            await processor.add_work(item("first", answers(delay=10)))
            await nap(1)
            await processor.add_work(item("second", answers()))
            async with trio.open_nursery() as nursery:
                with trio.move_on_after(1) as scope:
                    await processor.add_work(item("third", answers("cancelled")))
                assert scope.cancelled_caught
                nursery.start_soon(processor.add_work, item("fourth", answers()))
                await processor.add_work(item("third", answers("added")))
            return sorted(f"{one.item_id} {one.output}" for one in (await processor.process_all()).results)

    assert run("trio", scenario) == ["first done", "fourth done", "second done", "third added"]


@both
@pytest.mark.parametrize("kind", ["async", "plain"])
def test_process_all_takes_a_source(flavour: Flavour, kind: str) -> None:
    async def source() -> AsyncIterator[Item]:
        for one in mock_items(7):
            await nap(0.001)
            yield one

    def plain() -> Iterator[Item]:
        yield from mock_items(7)

    async def scenario() -> BatchResult[str, object]:
        return await Processor(QUICK).process_all(source() if kind == "async" else plain())

    assert [one.position for one in run(flavour, scenario).results] == list(range(7))


@both
def test_work_added_from_a_source_beside_the_readers(flavour: Flavour) -> None:
    async def source() -> AsyncIterator[Item]:
        for one in mock_items(5):
            await nap(0.002)
            yield one

    async def scenario() -> BatchResult[str, object]:
        async with Processor(QUICK) as processor:
            await processor.add_work_from(source())
            return await processor.process_all()

    assert run(flavour, scenario).succeeded == 5


@both
def test_what_a_source_raises_comes_after_the_results_of_what_it_gave(flavour: Flavour) -> None:
    async def source() -> AsyncIterator[Item]:
        for one in mock_items(3):
            yield one
        raise OSError("the disk is gone")

    async def scenario() -> list[str]:
        seen: list[str] = []

        async def read(processor: Processor) -> None:
            async for result in await processor.process_stream(source()):
                seen.append(result.item_id)  # noqa: PERF401 - what was seen by the time it raised

        async with Processor(QUICK) as processor:
            with pytest.raises(OSError, match="the disk is gone"):
                await read(processor)
        return seen

    assert sorted(run(flavour, scenario)) == ["item-0", "item-1", "item-2"]


@both
def test_an_early_leave_ends_the_work(flavour: Flavour) -> None:
    """`break` out of the loop: what is under way is cancelled, and everything still has its one result."""

    async def scenario() -> tuple[WorkItemResult[str, object] | None, BatchResult[str, object]]:
        first: WorkItemResult[str, object] | None = None
        async with Processor(replace(QUICK, max_workers=1)) as processor:
            await processor.add_work(item("first", answers()))
            await processor.add_work(item("second", answers(delay=30)))
            await processor.add_work(item("third", answers()))
            async for result in processor.results():
                first = result
                break
        return first, processor.partial_result()

    first, result = run(flavour, scenario)
    assert first is not None
    assert first.item_id == "first"
    assert [(one.item_id, one.error_code) for one in result.results] == [
        ("second", "batch_cancelled"),
        ("third", "batch_cancelled"),
    ]
    assert (result.total_items, result.succeeded, result.failed) == (3, 1, 2)


@both
def test_results_that_were_given_are_not_kept(flavour: Flavour) -> None:
    """A stream of a million results needs memory for those under way."""

    async def scenario() -> BatchResult[str, object]:
        async with Processor(QUICK) as processor:
            async for _ in await processor.process_stream(mock_items(30)):
                pass
            return processor.partial_result()

    result = run(flavour, scenario)
    assert (result.results, result.succeeded, result.total_items) == ((), 30, 30)


@pytest.mark.parametrize("then", ["results", "process_all", "partial_result"])
def test_a_result_on_its_way_to_a_reader_that_is_cancelled_is_not_lost(then: str) -> None:
    """It has left the worker's thread and has not reached the reader's; whoever reads next gets it."""

    async def scenario() -> list[str]:
        loop = asyncio.get_running_loop()
        reading: asyncio.Task[WorkItemResult[str, object]] | None = None

        def cancel_with_the_result_on_its_way() -> None:
            time.sleep(0.05)  # this loop stands still, and the other thread goes on
            assert reading is not None
            reading.cancel()

        async def call(attempt: int, timeout: float) -> tuple[str, dict[str, int]]:
            await asyncio.sleep(0.02)
            # After this call's end is told, which is in the next round.
            loop.call_soon(lambda: loop.call_soon(cancel_with_the_result_on_its_way))
            return "done", {}

        async with Processor(QUICK) as processor:
            await processor.add_work(item("a", call))
            reading = asyncio.ensure_future(anext(processor.results()))
            with pytest.raises(asyncio.CancelledError):
                await reading
            if then == "results":
                return [result.item_id async for result in processor.results()]
            if then == "process_all":
                await processor.process_all()
            return [result.item_id for result in processor.partial_result().results]

    assert run("asyncio", scenario) == ["a"]
