"""The gate's limits hold for batches: pauses, rates, budgets, refusals; in virtual time, so to the second."""

from collections.abc import Mapping

import trio
from tests.batch.flavours import StatusError, answers, item, mock_items, nap, raises, run
from tests.control.world import LongestJitter

from agent_pipeline.batch import BatchResult, LLMWorkItem, MockAgent, ParallelBatchProcessor, ProcessorConfig
from agent_pipeline.errors import ServerError

Processor = ParallelBatchProcessor[None, str, object]
Result = BatchResult[str, object]


async def timed(processor: Processor) -> tuple[Result, float]:
    result = await processor.process_all()
    return result, trio.current_time()


def test_a_429_uses_no_attempt_up_and_stops_everybody() -> None:
    """Four in a row with one attempt allowed; whoever has not begun waits as well."""
    limit = StatusError(429, {"retry-after": "90"})
    sent: list[float] = []

    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        sent.append(trio.current_time())
        return "done", {}

    async def scenario() -> tuple[Result, float]:
        processor = Processor(ProcessorConfig(max_workers=1, max_attempts=1))
        await processor.add_work(item("limited", raises(limit, limit, limit, limit, None)))
        await processor.add_work(item("other", call))
        return await timed(processor)

    result, seconds = run("trio", scenario)
    assert (result.succeeded, seconds) == (2, 360)
    assert (result.results[0].rate_limits, result.results[0].attempts) == (4, 1)
    assert sent == [360]


def test_too_many_429s_in_a_row_end_the_item() -> None:
    async def scenario() -> tuple[Result, float]:
        processor = Processor(ProcessorConfig(max_rate_limits=2), rng=LongestJitter(0))
        await processor.add_work(item("a", raises(StatusError(429, {"retry-after": "10"}))))
        return await timed(processor)

    result, seconds = run("trio", scenario)
    one = result.results[0]
    assert (one.error_code, one.attempts, one.rate_limits, seconds) == ("rate_limited", 0, 3, 20)


def test_pauses_between_attempts_double() -> None:
    sent: list[float] = []

    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        sent.append(trio.current_time())
        raise StatusError(500)

    async def scenario() -> tuple[Result, float]:
        config = ProcessorConfig(max_attempts=5, initial_wait=1.0, max_wait=4.0)
        processor = Processor(config, rng=LongestJitter(0))
        await processor.add_work(item("a", call))
        return await timed(processor)

    result, _ = run("trio", scenario)
    assert sent == [0, 1, 3, 7, 11]
    assert (result.results[0].attempts, result.results[0].error_code) == (5, "server_error")


def test_requests_per_minute_hold() -> None:
    sent: list[float] = []

    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        sent.append(trio.current_time())
        return "done", {}

    async def scenario() -> tuple[Result, float]:
        processor = Processor(ProcessorConfig(max_workers=50, requests_per_minute=10))
        for n in range(25):
            await processor.add_work(item(f"i{n}", call))
        return await timed(processor)

    result, _ = run("trio", scenario)
    assert result.succeeded == 25
    assert all(sum(begin <= one < begin + 60 for one in sent) <= 10 for begin in sent)


def test_tokens_per_minute_hold_from_the_prompts_size() -> None:
    """It makes no more tokens than bytes; what was really used counts as soon as it is told."""

    async def scenario() -> tuple[Result, float]:
        processor = Processor(ProcessorConfig(max_workers=5, tokens_per_minute=100))
        agent = MockAgent(latency=1, tokens_per_call=5)
        for n in range(3):
            await processor.add_work(LLMWorkItem(f"i{n}", agent=agent, prompt="x" * 60))
        return await timed(processor)

    result, seconds = run("trio", scenario)
    assert (result.succeeded, seconds) == (3, 3)


def test_a_budget_is_never_passed() -> None:
    """Three of 30 tokens fit at once; what is left over is too little for another."""

    async def scenario() -> Result:
        config = ProcessorConfig(max_workers=10, budget_tokens=100, tokens_per_attempt=30)
        processor = Processor(config)
        for one in mock_items(10, MockAgent(latency=1, tokens_per_call=15)):
            await processor.add_work(one)
        return await processor.process_all()

    result = run("trio", scenario)
    assert (result.succeeded, result.errors) == (3, {"budget_exceeded": 7})
    assert result.total_tokens == 90


def test_what_never_told_its_usage_is_charged_in_full() -> None:
    async def scenario() -> Result:
        config = ProcessorConfig(timeout_per_item=5.0, budget_tokens=100, tokens_per_attempt=30)
        processor = Processor(config)
        await processor.add_work(item("a", answers(delay=60)))
        return await processor.process_all()

    result = run("trio", scenario)
    assert (result.unknown_tokens, result.total_tokens) == (30, 0)


def test_one_refused_key_is_one_items_mistake() -> None:
    """Items may have clients of their own; the others are worked on."""

    async def scenario() -> Result:
        processor = Processor(ProcessorConfig(max_workers=1))
        for n in range(6):
            await processor.add_work(item(f"i{n}", raises(StatusError(401)) if n % 3 < 2 else answers()))
        return await processor.process_all()

    codes = [one.error_code for one in run("trio", scenario).results]
    assert codes == ["credentials_rejected", "credentials_rejected", None] * 2


def test_a_key_that_is_always_refused_is_not_asked_for_ever() -> None:
    """Three in a row without an answer; items of another lane go on."""
    sent = 0

    async def refused(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        nonlocal sent
        sent += 1
        await nap(0)
        raise StatusError(401)

    async def scenario() -> Result:
        processor = Processor(ProcessorConfig(max_workers=1))
        for n in range(20):
            await processor.add_work(item(f"i{n}", refused, lane="one"))
        await processor.add_work(item("other", answers(), lane="two"))
        return await processor.process_all()

    result = run("trio", scenario)
    assert sent == 3
    assert (result.errors, result.succeeded) == ({"credentials_rejected": 20}, 1)


def test_a_provider_that_fails_for_all_is_left_alone() -> None:
    """1,000 items against a dead one: few requests, an end for each item, and not in hours."""
    agent = MockAgent(failure_rate=1.0)

    async def scenario() -> tuple[Result, float]:
        processor = Processor(ProcessorConfig(max_workers=10))
        for one in mock_items(1000, agent):
            await processor.add_work(one)
        return await timed(processor)

    result, seconds = run("trio", scenario)
    assert result.failed == 1000
    assert result.errors["provider_down"] > 900
    assert agent.calls < 60
    assert seconds < 60


def test_an_error_of_another_gate_is_not_tried_again() -> None:
    """A call through `LLMHub`, `LLMPool` or an adapter has had its attempts; more here would multiply them."""
    error = ServerError("gave up after 5 attempts", status_code=500)

    async def scenario() -> Result:
        processor = Processor(ProcessorConfig())
        await processor.add_work(item("a", raises(error)))
        return await processor.process_all()

    one = run("trio", scenario).results[0]
    assert (one.attempts, one.error_code, one.error) == (1, "server_error", "gave up after 5 attempts")
