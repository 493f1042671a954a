"""However a batch ends, every item has exactly one result, and nothing goes on afterwards."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tests.batch.flavours import QUICK, Flavour, Item, StatusError, answers, both, item, mock_items, nap, raises, run

from agent_pipeline.batch import BatchResult, ParallelBatchProcessor, ProcessorConfig, WorkItemResult
from agent_pipeline.errors import BatchClosedError
from agent_pipeline.testing import cancel_at_every_step

Processor = ParallelBatchProcessor[None, str, object]


async def filled(config: ProcessorConfig, items: list[Item]) -> Processor:
    processor = Processor(config)
    for one in items:
        await processor.add_work(one)
    return processor


@both
@pytest.mark.parametrize("mode", ["drain", "cancel"])
def test_an_error_that_ends_the_batch(flavour: Flavour, mode: str) -> None:
    """What waits is not begun; what is under way goes on to its end, or not, as the config says."""
    config = replace(
        QUICK, max_workers=2, abort_on=("call_failed",), abort_mode="cancel" if mode == "cancel" else "drain"
    )
    items = [item("slow", answers(delay=0.1)), item("bad", raises(ValueError("x"))), *mock_items(5)]

    async def scenario() -> BatchResult[str, object]:
        return await (await filled(config, items)).process_all()

    result = run(flavour, scenario)

    codes = [one.error_code for one in result.results]
    assert codes[:2] == ["batch_aborted" if mode == "cancel" else None, "call_failed"]
    assert codes[2:] == ["batch_aborted"] * 5
    assert (result.termination, result.reason) == ("aborted", "item bad ended with call_failed")
    assert result.results[3].error == result.reason


@both
def test_a_batch_can_be_ended_by_hand(flavour: Flavour) -> None:
    async def scenario() -> tuple[BatchResult[str, object], str]:
        async with await filled(
            replace(QUICK, max_workers=1), [item("slow", answers(delay=30)), *mock_items(2)]
        ) as one:
            await nap(0.01)
            await one.abort("enough", mode="cancel")
            result = await one.process_all()
            with pytest.raises(BatchClosedError, match="enough"):
                await one.add_work(item("late", answers()))
            return result, one.partial_result().termination

    result, termination = run(flavour, scenario)
    assert result.errors == {"batch_aborted": 3}
    assert (result.termination, termination) == ("aborted", "aborted")


@both
def test_an_ended_batch_stops_its_sources(flavour: Flavour) -> None:
    """Also one that waits for its next item, and would for ever."""
    closed: list[bool] = []

    async def source() -> AsyncIterator[Item]:
        try:
            yield item("bad", raises(ValueError("x")))
            await nap(1000)
        finally:
            closed.append(True)

    async def scenario() -> BatchResult[str, object]:
        processor = Processor(replace(QUICK, abort_on=("call_failed",)))
        return await processor.process_all(source())

    result = run(flavour, scenario)
    assert (result.termination, result.total_items) == ("aborted", 1)
    assert closed == [True]


@both
def test_an_ended_batch_stops_a_source_that_is_added_by_hand(flavour: Flavour) -> None:
    """Whoever awaits it goes on, though the source has nothing to give yet."""

    async def source() -> AsyncIterator[Item]:
        yield item("bad", raises(ValueError("x")))
        await nap(1000)

    async def scenario() -> BatchResult[str, object]:
        async with Processor(replace(QUICK, abort_on=("call_failed",))) as processor:
            await processor.add_work_from(source())
            return await processor.process_all()

    assert run(flavour, scenario).errors == {"call_failed": 1}


@both
def test_a_source_that_waits_for_room_ends_with_the_batch(flavour: Flavour) -> None:
    async def scenario() -> BatchResult[str, object]:
        async with Processor(replace(QUICK, max_workers=1, max_queue_size=1, abort_mode="cancel")) as processor:

            async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
                await nap(0.02)
                await processor.abort("enough")
                await nap(10)
                return "never", {}

            await processor.add_work_from([item("a", call), *mock_items(5)])
            return await processor.process_all()

    result = run(flavour, scenario)
    assert (result.termination, result.errors) == ("aborted", {"batch_aborted": 2})


@both
def test_a_source_may_end_its_own_batch(flavour: Flavour) -> None:
    """What it gives afterwards is not taken, and that is no mistake of whoever adds it; the generator is closed."""
    closed: list[bool] = []

    async def scenario() -> BatchResult[str, object]:
        async with Processor(QUICK) as processor:

            async def source() -> AsyncIterator[Item]:
                try:
                    yield item("a", answers())
                    await processor.abort("enough")
                    yield item("late", answers())
                finally:
                    closed.append(True)

            await processor.add_work_from(source())
            return await processor.process_all()

    result = run(flavour, scenario)
    assert [one.item_id for one in result.results] == ["a"]
    assert result.termination == "aborted"
    assert closed == [True]


def test_a_source_that_had_not_begun_ends_with_the_batch() -> None:
    async def scenario() -> list[object]:
        async with Processor(QUICK) as processor:
            results = await processor.process_stream(mock_items(3))
            await processor.abort("enough")
            return [one async for one in results]

    assert run("trio", scenario) == []


def test_a_batch_cancelled_under_trio_tells_what_is_known() -> None:
    async def scenario() -> Processor:
        processor = await filled(
            replace(QUICK, max_workers=2), [item("a", answers()), item("b", answers(delay=30)), *mock_items(3)]
        )
        blocker = item("c", answers(delay=30))
        await processor.add_work(blocker)
        with trio.move_on_after(5) as scope:
            await processor.process_all()
        assert scope.cancelled_caught
        return processor

    result = run("trio", scenario).partial_result()

    assert [one.error_code for one in result.results] == [None, "batch_cancelled", None, None, None, "batch_cancelled"]
    assert (result.termination, result.succeeded, result.failed) == ("cancelled", 4, 2)


def test_a_batch_cancelled_under_asyncio_tells_what_is_known() -> None:
    """And the items' own code has been awaited by then."""
    ended: list[str] = []

    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.01)
            ended.append("cleaned up")
        return "never", {}

    async def scenario() -> BatchResult[str, object]:
        processor = await filled(QUICK, [item("a", answers()), item("b", call)])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await processor.process_all()
        assert ended == ["cleaned up"]
        return processor.partial_result()

    result = run("asyncio", scenario)
    assert [one.error_code for one in result.results] == [None, "batch_cancelled"]
    assert result.termination == "cancelled"


def test_code_that_cancels_itself_fails_its_item() -> None:
    """Under asyncio anybody may raise that; the batch was not asked to end."""

    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        raise asyncio.CancelledError

    async def scenario() -> BatchResult[str, object]:
        return await (await filled(QUICK, [item("a", call), item("b", answers())])).process_all()

    result = run("asyncio", scenario)
    assert [one.error_code for one in result.results] == ["call_failed", None]


def test_a_success_is_kept_though_its_post_processor_is_cancelled() -> None:
    """It was paid for."""

    async def slow(_result: WorkItemResult[str, object]) -> None:
        await nap(1000)

    async def scenario() -> BatchResult[str, object]:
        processor = Processor(ProcessorConfig(timeout_per_item=10.0, batch_timeout=60.0), post_processor=slow)
        await processor.add_work(item("a", answers("kept")))
        return await processor.process_all()

    result = run("trio", scenario)
    assert result.termination == "batch_timeout"
    assert (result.results[0].success, result.results[0].output) == (True, "kept")


def test_cancelled_anywhere_every_item_has_one_result() -> None:
    """Before and after each step there is: one result per item that was taken, and figures that fit them."""
    kinds: set[str] = set()

    async def batch(scope: trio.CancelScope) -> None:
        calls = [answers(delay=1), raises(StatusError(500), None), raises(StatusError(429), None), answers()]
        with scope:
            processor = await filled(
                ProcessorConfig(max_workers=2, preserve_order=True),
                [item(f"i{n}", call) for n, call in enumerate(calls)],
            )
            await processor.process_all()
        result = processor.partial_result()
        kinds.add(result.termination)
        assert [one.position for one in result.results] == list(range(4))
        assert result.succeeded == sum(one.success for one in result.results)
        assert result.succeeded + result.failed == result.total_items == 4

    assert cancel_at_every_step(batch) > 50
    assert kinds == {"completed", "cancelled"}


@given(
    plan=st.lists(st.sampled_from(["ok", "slow", "500", "429", "bug", "hang"]), max_size=14),
    workers=st.integers(1, 5),
    order=st.sampled_from(["any", "kept"]),
    results=st.integers(0, 3),
    abort=st.sampled_from([(), ("call_failed",)]),
    end=st.sampled_from(["all", "timeout", "cancel"]),
)
def test_exactly_one_result_whatever_happens(
    plan: list[str], *, workers: int, order: str, results: int, abort: tuple[str, ...], end: str
) -> None:
    """Whatever items do and whatever ends the batch: each item once, in its place, and the totals are their sum."""
    calls = {
        "ok": answers(),
        "slow": answers(delay=3),
        "500": raises(StatusError(500, usage={"input_tokens": 1, "output_tokens": 1})),
        "429": raises(StatusError(429, {"retry-after": "7"}), None),
        "bug": raises(ZeroDivisionError("0")),
        "hang": answers(delay=10_000),
    }
    config = ProcessorConfig(
        max_workers=workers,
        timeout_per_item=20.0,
        batch_timeout=45.0 if end == "timeout" else None,
        preserve_order=order == "kept",
        max_result_queue_size=results,
        abort_on=abort,
    )

    async def scenario() -> BatchResult[str, object]:
        processor = await filled(config, [item(f"i{n}", calls[kind]) for n, kind in enumerate(plan)])
        with trio.move_on_after(30 if end == "cancel" else float("inf")):
            await processor.process_all()
        return processor.partial_result()

    result = run("trio", scenario)

    assert [one.item_id for one in result.results] == [f"i{n}" for n in range(len(plan))]
    assert result.total_items == len(plan) == result.succeeded + result.failed
    assert result.succeeded == sum(one.success for one in result.results)
    assert result.total_input_tokens == sum(one.token_usage["input_tokens"] for one in result.results)
    assert sum(result.errors.values()) == result.failed
    assert result.termination != "running"
    if end == "all" and not (abort and "bug" in plan):
        assert result.termination == "completed"
        expected = {"ok": None, "slow": None, "429": None, "bug": "call_failed", "hang": "item_deadline_exceeded"}
        for kind, one in zip(plan, result.results, strict=True):
            assert kind == "500" or one.error_code in {expected[kind], "provider_down"}
