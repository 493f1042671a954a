"""One item, one result: outputs, failures, contexts, totals, under Trio and asyncio alike."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.batch.flavours import QUICK, Flavour, Item, StatusError, answers, both, item, mock_items, nap, raises, run

from agent_pipeline.batch import (
    BatchResult,
    LLMWorkItem,
    MockAgent,
    ParallelBatchProcessor,
    ProcessorConfig,
    WorkItemResult,
)
from agent_pipeline.errors import BatchClosedError, DuplicateItemError, QueueFullError

Result = BatchResult[str, object]


async def work_on(items: list[Item], config: ProcessorConfig = QUICK) -> Result:
    processor = ParallelBatchProcessor[None, str, object](config)
    for one in items:
        await processor.add_work(one)
    return await processor.process_all()


@both
def test_every_item_has_its_result_in_the_order_of_adding(flavour: Flavour) -> None:
    """Items end in any order; a result that stands elsewhere than its item is found by nobody."""
    items = [item(f"i{n}", answers(f"out {n}", delay=0.05 if n % 3 == 0 else 0.0)) for n in range(10)]

    result = run(flavour, lambda: work_on(items))

    assert [one.item_id for one in result.results] == [f"i{n}" for n in range(10)]
    assert [one.output for one in result.results] == [f"out {n}" for n in range(10)]
    assert [one.position for one in result.results] == list(range(10))
    assert (result.total_items, result.succeeded, result.failed) == (10, 10, 0)
    assert (result.total_input_tokens, result.total_output_tokens) == (30, 20)
    assert result.termination == "completed"


@both
def test_what_one_item_raises_is_its_own(flavour: Flavour) -> None:
    items = [item("good", answers()), item("bad", raises(ValueError("no such luck"))), item("late", answers())]

    result = run(flavour, lambda: work_on(items))

    bad = result.results[1]
    assert [one.success for one in result.results] == [True, False, True]
    assert (bad.output, bad.error, bad.error_code) == (None, "ValueError: no such luck", "call_failed")
    assert bad.attempts == 1
    assert result.errors == {"call_failed": 1}


@both
def test_a_context_arrives_as_the_same_object(flavour: Flavour) -> None:
    context = {"page": 7}

    result = run(flavour, lambda: work_on([item("a", answers(), context=context)]))

    assert result.results[0].context is context


@both
def test_what_another_attempt_can_heal_is_tried_again(flavour: Flavour) -> None:
    result = run(flavour, lambda: work_on([item("a", raises(StatusError(500), ConnectionError("cut"), None))]))

    assert (result.results[0].success, result.results[0].attempts) == (True, 3)


@both
def test_tokens_count_also_where_the_item_fails(flavour: Flavour) -> None:
    """What was used was used; leaving it out undercounts by a quarter."""
    used = {"input_tokens": 5, "output_tokens": 1}

    result = run(flavour, lambda: work_on([item("a", raises(StatusError(500, usage=used)))]))

    assert (result.results[0].success, result.results[0].attempts) == (False, 3)
    assert result.results[0].token_usage["input_tokens"] == 15
    assert (result.total_input_tokens, result.total_output_tokens) == (15, 3)


@both
def test_an_attempt_knows_its_number_and_its_time(flavour: Flavour) -> None:
    told: list[tuple[int, float]] = []

    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        told.append((attempt, timeout))
        await nap(0)
        if attempt == 1:
            raise StatusError(503)
        return "done", {}

    config = replace(QUICK, timeout_per_item=50.0, attempt_timeout=7.0)
    run(flavour, lambda: work_on([item("a", call)], config))

    assert told == [(1, 7.0), (2, 7.0)]


@both
def test_a_factory_makes_an_agent_for_each_attempt(flavour: Flavour) -> None:
    made: list[int] = []

    def factory(attempt: int) -> MockAgent:
        made.append(attempt)
        return MockAgent(failure_rate=1.0 if attempt == 1 else 0.0, respond=lambda _: f"from {attempt}")

    result = run(flavour, lambda: work_on([LLMWorkItem("a", agent_factory=factory)]))

    assert made == [1, 2]
    assert result.results[0].output == "from 2"
    assert result.total_input_tokens == 20


@both
def test_a_factory_that_fails_fails_its_item(flavour: Flavour) -> None:
    def factory(attempt: int) -> MockAgent:
        raise KeyError(attempt)

    result = run(flavour, lambda: work_on([LLMWorkItem("a", agent_factory=factory), item("b", answers())]))

    assert [(one.success, one.error) for one in result.results] == [(False, "KeyError: 1"), (True, None)]


@both
def test_no_more_items_are_under_way_than_there_are_workers(flavour: Flavour) -> None:
    under_way, most = 0, 0

    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await nap(0.01)
        under_way -= 1
        return "done", {}

    run(flavour, lambda: work_on([item(f"i{n}", call) for n in range(12)], ProcessorConfig(max_workers=4)))

    assert most == 4


@both
def test_an_id_is_there_once(flavour: Flavour) -> None:
    """The first one stays; also while the batch runs, and after it has ended."""

    async def scenario() -> Result:
        processor = ParallelBatchProcessor[None, str, object](QUICK)
        await processor.add_work(item("a", answers("first")))
        with pytest.raises(DuplicateItemError, match="'a'"):
            await processor.add_work(item("a", answers("second")))
        async with processor:
            await processor.process_all()
            with pytest.raises(DuplicateItemError, match="'a'"):
                await processor.add_work(item("a", answers("third")))
            return await processor.process_all()

    assert [one.output for one in run(flavour, scenario).results] == ["first"]


@both
def test_work_can_be_added_while_the_batch_runs(flavour: Flavour) -> None:
    async def scenario() -> tuple[int, int]:
        async with ParallelBatchProcessor[None, str, object](QUICK) as processor:
            await processor.add_work(item("a", answers()))
            first = await processor.process_all()
            await processor.add_work(item("b", answers()))
            second = await processor.process_all()
        return len(first.results), len(second.results)

    assert run(flavour, scenario) == (1, 2)


@both
def test_a_processor_is_one_batch(flavour: Flavour) -> None:
    """What is added after the end would be in no result."""

    async def scenario() -> None:
        processor = ParallelBatchProcessor[None, str, object](QUICK)
        await processor.process_all()
        with pytest.raises(BatchClosedError, match="has ended"):
            await processor.add_work(item("a", answers()))
        with pytest.raises(BatchClosedError):
            await processor.process_all()
        with pytest.raises(BatchClosedError, match="one batch"):
            await processor.__aenter__()

    run(flavour, scenario)


@both
def test_a_full_queue_that_nobody_empties_says_so(flavour: Flavour) -> None:
    """Waiting there would be waiting for ever."""

    async def scenario() -> Result:
        processor = ParallelBatchProcessor[None, str, object](replace(QUICK, max_queue_size=2))
        await processor.add_work(item("a", answers()))
        await processor.add_work(item("b", answers()))
        with pytest.raises(QueueFullError, match="async with"):
            await processor.add_work(item("c", answers()))
        return await processor.process_all()

    assert run(flavour, scenario).succeeded == 2


@both
def test_results_are_only_there_inside_the_block(flavour: Flavour) -> None:
    async def scenario() -> None:
        processor = ParallelBatchProcessor[None, str, object](QUICK)
        with pytest.raises(BatchClosedError, match="async with processor"):
            await anext(processor.results())

    run(flavour, scenario)


@both
def test_what_the_block_raises_comes_out_as_it_is(flavour: Flavour) -> None:
    async def scenario() -> Result:
        processor = ParallelBatchProcessor[None, str, object](QUICK)

        async def leave() -> None:
            async with processor:
                await processor.add_work(item("slow", answers(delay=30)))
                raise KeyError("mine")

        with pytest.raises(KeyError):
            await leave()
        return processor.partial_result()

    result = run(flavour, scenario)
    assert (result.termination, result.total_items, result.errors) == ("cancelled", 1, {"batch_cancelled": 1})


@both
def test_an_empty_batch_is_done(flavour: Flavour) -> None:
    result = run(flavour, lambda: work_on([]))

    assert (result.results, result.total_items, result.termination) == ((), 0, "completed")
    assert result.summary().startswith("completed: 0 of 0 items succeeded")


@both
def test_a_call_that_returns_something_else_is_told_so(flavour: Flavour) -> None:
    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        return "only the output"  # type: ignore[return-value]  # ty: ignore[invalid-explicit-return]

    result = run(flavour, lambda: work_on([item("a", call)]))

    assert result.results[0].error == "TypeError: direct_call returns (output, tokens), not str"


@both
def test_the_old_arguments_still_work(flavour: Flavour) -> None:
    seen: list[str] = []

    async def scenario() -> Result:
        processor = ParallelBatchProcessor[None, str, object](
            max_workers=2, batch_size=50, timeout_per_item=9.0, post_processor=lambda one: seen.append(one.item_id)
        )
        for one in mock_items(3):
            await processor.add_work(one)
        return await processor.process_all()

    result = run(flavour, scenario)
    assert (result.succeeded, sorted(seen)) == (3, ["item-0", "item-1", "item-2"])


def test_a_value_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="belong into the config"):
        ParallelBatchProcessor(ProcessorConfig(), max_workers=3)


def test_generic_names_can_be_called_with_their_types() -> None:
    """As typed programs do; a frozen class with slots fails at that on Python 3.11."""
    work_item = LLMWorkItem[None, str, int](item_id="a", agent=MockAgent(), prompt="p", context=7)
    result = WorkItemResult[str, int](item_id="a", success=True, output="out", context=7)
    batch = BatchResult[str, int]((result,), 1, 1, 0, 2, 3)

    assert (work_item.context, result.context, batch.total_tokens) == (7, 7, 5)
