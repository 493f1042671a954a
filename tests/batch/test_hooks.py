"""Middleware, post-processors and observers: what they may change, and that their mistakes stay theirs."""

import logging
from dataclasses import replace
from typing import Literal

import pytest
import trio
from tests.batch.flavours import QUICK, Flavour, Item, StatusError, answers, both, item, mock_items, nap, raises, run

from agent_pipeline.batch import (
    BatchEvent,
    BatchResult,
    Middleware,
    MockAgent,
    ParallelBatchProcessor,
    ProcessorConfig,
    ProcessorObserver,
    WorkItemResult,
)
from agent_pipeline.batch.delivery import Delivery
from agent_pipeline.batch.events import CooldownStarted, ItemAdmitted, ItemCompleted, ItemFailed, WorkerStarted
from agent_pipeline.bridge import Caller, current_flavour

Processor = ParallelBatchProcessor[None, str, object]
Result = WorkItemResult[str, object]


class Marking(Middleware[None, str, object]):
    """Writes its name on all that passes."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def before_process(self, work_item: Item) -> Item | None:
        await nap(0)
        return replace(work_item, prompt=f"{work_item.prompt}>{self.name}")

    async def after_process(self, result: Result) -> Result:
        await nap(0)
        return replace(result, output=f"{result.output}<{self.name}")


class Failing(Middleware[None, str, object]):
    """Raises in one place."""

    def __init__(self, place: Literal["before", "after", "error"]) -> None:
        self.place = place

    def fail(self, place: str) -> None:
        if place == self.place:
            raise RuntimeError(place)

    async def before_process(self, work_item: Item) -> Item | None:
        self.fail("before")
        return work_item

    async def after_process(self, result: Result) -> Result:
        self.fail("after")
        return result

    async def on_error(self, work_item: Item, error: Exception) -> Result | None:
        self.fail("error")
        return await super().on_error(work_item, error)


class Watching(ProcessorObserver):
    """Keeps what it sees, and where."""

    def __init__(self) -> None:
        self.events: list[BatchEvent] = []
        self.flavours: set[str] = set()

    async def on_event(self, event: BatchEvent) -> None:
        await nap(0)
        self.events.append(event)
        self.flavours.add(current_flavour())

    def names(self) -> list[str]:
        return [event.name for event in self.events]


async def work_on(processor: Processor, items: list[Item]) -> BatchResult[str, object]:
    for one in items:
        await processor.add_work(one)
    return await processor.process_all()


@both
def test_middleware_is_a_chain_inward_and_outward(flavour: Flavour) -> None:
    agent = MockAgent(respond=lambda prompt: f"[{prompt}]")

    result = run(
        flavour, lambda: work_on(Processor(QUICK, middleware=[Marking("a"), Marking("b")]), mock_items(1, agent))
    )

    assert result.results[0].output == "[text 0>a>b]<b<a"


@both
def test_a_middleware_may_hold_an_item_back(flavour: Flavour) -> None:
    class Picky(Middleware[None, str, object]):
        async def before_process(self, work_item: Item) -> Item | None:
            return None if work_item.item_id == "item-1" else work_item

    agent = MockAgent()
    result = run(flavour, lambda: work_on(Processor(QUICK, middleware=[Picky()]), mock_items(3, agent)))

    assert [one.error_code for one in result.results] == [None, "skipped_by_middleware", None]
    assert agent.calls == 2


@both
def test_a_middleware_may_turn_an_error_into_a_result(flavour: Flavour) -> None:
    """What was used stays counted; the error it gets is ours, what it came from is its cause."""
    causes: list[BaseException | None] = []

    class Kind(Middleware[None, str, object]):
        async def on_error(self, work_item: Item, error: Exception) -> Result | None:
            causes.append(error.__cause__)
            return WorkItemResult(item_id=f"not {work_item.item_id}", success=True, output="a default")

    failing = item("a", raises(StatusError(400, usage={"input_tokens": 4, "output_tokens": 0})), context="mine")
    result = run(flavour, lambda: work_on(Processor(QUICK, middleware=[Kind()]), [failing]))

    one = result.results[0]
    assert (one.item_id, one.success, one.output, one.attempts) == ("a", True, "a default", 1)
    assert one.token_usage["input_tokens"] == 4
    assert isinstance(causes[0], StatusError)


@both
def test_an_item_keeps_its_id_and_takes_the_context_of_what_is_sent(flavour: Flavour) -> None:
    class Renaming(Middleware[None, str, object]):
        async def before_process(self, work_item: Item) -> Item | None:
            return replace(work_item, item_id="other", context="new")

    result = run(flavour, lambda: work_on(Processor(QUICK, middleware=[Renaming()]), mock_items(2)))

    assert [(one.item_id, one.context) for one in result.results] == [("item-0", "new"), ("item-1", "new")]


@both
@pytest.mark.parametrize("place", ["before", "after", "error"])
def test_what_a_middleware_raises_is_counted(
    flavour: Flavour, place: Literal["before", "after", "error"], caplog: pytest.LogCaptureFixture
) -> None:
    """Before the item nobody knows what to send, so that one fails; elsewhere the result stays as it was."""
    processor = Processor(QUICK, middleware=[Failing(place)])
    items = [item("good", answers()), item("bad", raises(ValueError("x")))]

    with caplog.at_level(logging.ERROR, logger="agent_pipeline.batch"):
        result = run(flavour, lambda: work_on(processor, items))

    expected: dict[str, list[str | None]] = {"before": ["middleware_failed"] * 2}
    assert [one.error_code for one in result.results] == expected.get(place, [None, "call_failed"])
    assert processor.metrics().middleware_failures == (1 if place == "error" else 2)
    assert "middleware Failing failed" in caplog.text


@both
def test_a_middleware_that_forgets_its_result_is_counted(flavour: Flavour, caplog: pytest.LogCaptureFixture) -> None:
    """The item keeps the result it had."""

    class Forgetful(Middleware[None, str, object]):
        async def after_process(self, result: Result) -> Result:
            await super().after_process(result)
            return None  # type: ignore[return-value]  # ty: ignore[invalid-explicit-return]

    processor = Processor(QUICK, middleware=[Forgetful()])
    result = run(flavour, lambda: work_on(processor, [item("a", answers())]))

    assert result.results[0].output == "done"
    assert processor.metrics().middleware_failures == 1
    assert "returned no result" in caplog.text


@both
def test_a_post_processor_sees_each_success_and_its_mistakes_fail_nobody(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[str, object, str]] = []

    async def post(result: Result) -> None:
        await nap(0)
        seen.append((result.item_id, result.context, current_flavour()))
        if result.item_id == "a":
            raise RuntimeError("the database is gone")

    processor = Processor(QUICK, post_processor=post)
    items = [item("a", answers(), context=1), item("b", answers(), context=2), item("c", raises(ValueError("x")))]
    result = run(flavour, lambda: work_on(processor, items))

    assert [one.success for one in result.results] == [True, True, False]
    assert sorted(seen) == [("a", 1, flavour), ("b", 2, flavour)]
    assert processor.metrics().post_processor_failures == 1
    assert "the database is gone" in caplog.text


@both
def test_observers_see_everything_in_order(flavour: Flavour) -> None:
    watching = Watching()
    items = [item("good", raises(StatusError(500), None)), item("bad", raises(ValueError("x")))]

    run(flavour, lambda: work_on(Processor(replace(QUICK, max_workers=1), observers=[watching]), items))

    assert watching.names() == [
        "batch_started",
        "worker_started",
        "item_started",
        "item_admitted",
        "attempt_failed",
        "item_admitted",
        "item_completed",
        "item_started",
        "item_admitted",
        "attempt_failed",
        "item_failed",
        "batch_completed",
        "worker_stopped",
    ]
    completed = next(event for event in watching.events if isinstance(event, ItemCompleted))
    failed = next(event for event in watching.events if isinstance(event, ItemFailed))
    assert (completed.item_id, completed.attempts, completed.input_tokens) == ("good", 2, 3)
    assert (failed.item_id, failed.error_code, failed.error) == ("bad", "call_failed", "ValueError: x")
    assert watching.flavours == {flavour}


@both
def test_an_observer_that_fails_is_counted_and_the_others_see_all(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ProcessorObserver):
        def on_event(self, event: BatchEvent) -> None:
            raise RuntimeError(event.name)

    watching = Watching()
    processor = Processor(QUICK, observers=[Broken(), watching])
    result = run(flavour, lambda: work_on(processor, mock_items(2)))

    assert result.succeeded == 2
    assert processor.metrics().observer_failures == len(watching.events) > 5
    assert "observer Broken failed on batch_started" in caplog.text


def test_work_waits_for_observers_that_lag_far_behind() -> None:
    """Or their events would fill the memory."""

    class Slow(ProcessorObserver):
        async def on_event(self, event: BatchEvent) -> None:
            assert event.name == "worker_started"
            await nap(10)

    async def scenario() -> list[float]:
        delivery = Delivery([Slow()], Caller.here(), lambda _: None, most=3)
        times: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(delivery.run)
            for worker in range(8):
                delivery.emit(WorkerStarted(worker))
                await delivery.room()
                times.append(trio.current_time())
                await trio.lowlevel.checkpoint()
            await delivery.drained()
            times.append(trio.current_time())
            nursery.cancel_scope.cancel()
        return times

    times = run("trio", scenario)
    assert times[-1] == 80
    assert times[1] == 0
    assert times[-2] >= 40


def test_observers_see_a_pause_begin_and_end() -> None:
    watching = Watching()
    items = [item("limited", raises(StatusError(429, {"retry-after": "30"}), None)), *mock_items(3)]

    run("trio", lambda: work_on(Processor(ProcessorConfig(max_workers=1), observers=[watching]), items))

    names = watching.names()
    assert names.count("cooldown_started") == names.count("cooldown_ended") == names.count("rate_limit_hit") == 1
    assert names.index("rate_limit_hit") < names.index("cooldown_started") < names.index("cooldown_ended")
    assert [event.seconds for event in watching.events if isinstance(event, CooldownStarted)] == [30]
    assert [round(event.waited) for event in watching.events if isinstance(event, ItemAdmitted)] == [0, 30, 0, 0, 0]


@both
def test_observers_see_why_a_batch_ended_early(flavour: Flavour) -> None:
    watching = Watching()
    config = replace(QUICK, max_workers=1, abort_on=("call_failed",))

    run(
        flavour,
        lambda: work_on(
            Processor(config, observers=[watching]), [item("bad", raises(ValueError("x"))), *mock_items(1)]
        ),
    )

    assert watching.names()[-4:] == ["item_failed", "batch_aborted", "item_failed", "worker_stopped"]
