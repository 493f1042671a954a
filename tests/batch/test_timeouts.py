"""Three timeouts, each with its own meaning, and what none of them counts."""

from collections.abc import Mapping
from dataclasses import replace

import trio
from tests.batch.flavours import QUICK, Flavour, StatusError, answers, both, item, mock_items, nap, raises, run
from tests.batch.test_processor import Result, work_on
from tests.control.world import LongestJitter

from agent_pipeline.batch import MockAgent, ParallelBatchProcessor, ProcessorConfig


@both
def test_an_item_that_takes_too_long_fails_alone(flavour: Flavour) -> None:
    config = replace(QUICK, timeout_per_item=0.05)

    result = run(flavour, lambda: work_on([item("slow", answers(delay=20)), item("fast", answers())], config))

    slow, fast = result.results
    assert (slow.success, slow.error_code, slow.attempts) == (False, "item_deadline_exceeded", 1)
    assert slow.error is not None
    assert slow.error.startswith("the item exceeded its 0.05 s timeout")
    assert fast.success


@both
def test_an_attempt_that_takes_too_long_is_followed_by_another(flavour: Flavour) -> None:
    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        await nap(20 if attempt == 1 else 0)
        return f"attempt {attempt}", {}

    config = replace(QUICK, attempt_timeout=0.05, timeout_per_item=10.0)
    result = run(flavour, lambda: work_on([item("a", call)], config))

    assert (result.results[0].output, result.results[0].attempts) == ("attempt 2", 2)


@both
def test_a_mock_agent_that_never_answers_is_cut_off(flavour: Flavour) -> None:
    agent = MockAgent(timeout_on_call=(1, 2), respond=str.upper)
    config = replace(QUICK, attempt_timeout=0.03, timeout_per_item=10.0)

    result = run(flavour, lambda: work_on(mock_items(1, agent), config))

    assert (result.results[0].output, result.results[0].attempts, agent.calls) == ("TEXT 0", 3, 3)


@both
def test_a_batch_that_takes_too_long_ends_with_a_result_for_every_item(flavour: Flavour) -> None:
    config = replace(QUICK, max_workers=2, timeout_per_item=0.2, batch_timeout=0.25)
    items = [item("first", answers()), *(item(f"i{n}", answers(delay=0.12)) for n in range(9))]

    result = run(flavour, lambda: work_on(items, config))

    codes = [one.error_code for one in result.results]
    assert len(codes) == 10
    assert codes[0] is None
    assert set(codes[5:]) == {"batch_deadline_exceeded"}
    assert (result.termination, result.reason) == ("batch_timeout", "the batch exceeded its 0.25 s timeout")


@both
def test_what_a_cancelled_attempt_was_doing_is_cleaned_up(flavour: Flavour) -> None:
    """The caller's code is awaited, not left behind."""
    ended: list[str] = []

    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        try:
            await nap(20)
        finally:
            ended.append("cleaned up")
        return "never", {}

    result = run(flavour, lambda: work_on([item("a", call)], replace(QUICK, timeout_per_item=0.02)))

    assert ended == ["cleaned up"]
    assert result.failed == 1


def test_a_pause_that_the_provider_asks_for_counts_on_no_timeout() -> None:
    """Else one 429 with a long Retry-After would fail every item that comes meanwhile."""
    config = ProcessorConfig(max_workers=3, timeout_per_item=10.0)
    items = [item("limited", raises(StatusError(429, {"Retry-After": "300"}), None))]
    items += [item(f"i{n}", answers(delay=1)) for n in range(9)]

    async def scenario() -> tuple[Result, float]:
        result = await work_on(items, config)
        return result, trio.current_time()

    result, seconds = run("trio", scenario)

    assert result.succeeded == 10
    assert 300 < seconds < 310
    limited = result.results[0]
    assert (limited.attempts, limited.rate_limits) == (1, 1)
    assert limited.timing.cooldown == 300


def test_pauses_between_an_items_own_attempts_count() -> None:
    """1 s of work, 4 s of pause, 1 s, 8 s: the third attempt would begin after the item's ten seconds."""

    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        await nap(1)
        raise StatusError(500)

    async def scenario() -> Result:
        config = ProcessorConfig(timeout_per_item=10.0, initial_wait=4.0, max_attempts=5)
        processor = ParallelBatchProcessor[None, str, object](config, rng=LongestJitter(0))
        await processor.add_work(item("a", call))
        return await processor.process_all()

    one = run("trio", scenario).results[0]
    assert (one.error_code, one.attempts) == ("item_deadline_exceeded", 2)
    assert (one.timing.executing, one.timing.backoff, one.timing.total) == (2, 12, 14)
