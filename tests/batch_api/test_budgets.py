"""What a batch may cost is held before it is sent, as the sum of its lines at the discounted price."""

from decimal import Decimal
from pathlib import Path

import pytest
import trio
from tests.batch_api.world import items, job, requests, resumed, simulator
from tests.control.world import make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.batch.batch_api import BatchAPIProcessor
from agent_pipeline.batch.batch_api_opening import Opened
from agent_pipeline.batch.batch_api_state import JobState
from agent_pipeline.config.limits import BudgetConfig
from agent_pipeline.control.budget import BudgetStatistics
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import BudgetExceededError


def state(directory: Path) -> JobState:
    """Return what is on disk."""
    return JobState.model_validate_json((directory / "job.json").read_bytes())


async def held(processor: BatchAPIProcessor[object, object]) -> BudgetStatistics:
    """Return the tokens of a job's budget."""

    async def look(opened: Opened) -> BudgetStatistics:
        await trio.lowlevel.checkpoint()
        return opened.job.endpoint.gate.budget.tokens.statistics()

    return await processor._hosted.run(look)


async def test_worst_case_is_held_until_the_usage_is_known(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It is spent to what the results report."""
    provider = simulator(batch_delay=100)
    async with job(tmp_path, provider) as processor, trio.open_nursery() as nursery:
        await processor.add_all(items(3))
        nursery.start_soon(processor.process_all)
        await trio.sleep(50)
        meanwhile = await held(processor)
        await trio.sleep(100)
        after = await held(processor)
    (part,) = state(tmp_path).parts

    inputs = sum(len(line) for line in (tmp_path / "part-0001.jsonl").read_bytes().splitlines())
    assert 3 * 100 < part.worst_tokens < inputs + 3 * 100
    assert meanwhile == BudgetStatistics(None, 0, part.worst_tokens, 0)
    seen = provider.statistics
    assert after == BudgetStatistics(None, seen.input_tokens + seen.output_tokens, 0, 0)


async def test_a_part_that_fits_no_budget_is_not_sent(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Its items fail; with a larger budget they are sent."""
    provider = simulator()
    async with job(tmp_path, provider, budget=BudgetConfig(tokens=100)) as processor:
        await processor.add_all(items(3))
        result = await processor.process_all()
    assert result.errors == {"budget_exceeded": 3}
    assert provider.statistics.requests == 0

    async with resumed(tmp_path, provider, budget=BudgetConfig(tokens=1000)) as processor:
        assert (await processor.process_all()).succeeded == 3


async def test_a_part_waits_for_what_others_give_back(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Room for one worst case, and what three of them really use."""
    provider = simulator(batch_delay=50)
    async with job(tmp_path, provider, max_requests=1, budget=BudgetConfig(tokens=300)) as processor:
        await processor.add_all(items(3))
        result = await processor.process_all()

    assert result.succeeded == 3
    assert trio.current_time() >= 150
    assert requests(provider, "/v1/batches") == 3


async def test_money_is_held_at_the_discounted_price(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Just enough is enough, and a micro-dollar less is not."""
    async with job(tmp_path / "any", simulator()) as processor:
        await processor.add_all(items(2))
        await processor.process_all()
    full = state(tmp_path / "any").parts[0].worst_micro_usd
    assert full is not None

    for missing, expected in ((1, {"budget_exceeded": 2}), (0, {})):
        budget = BudgetConfig(usd=Decimal(-(-full // 2) - missing) / 1_000_000)
        async with job(tmp_path / f"{missing}", simulator(), budget=budget) as processor:
            await processor.add_all(items(2))
            assert (await processor.process_all()).errors == expected


async def test_requests_about_files_and_batches_reserve_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A budget that the batch itself fills lets them pass."""
    provider = simulator()
    async with job(tmp_path / "any", provider) as processor:
        await processor.add_all(items(2))
        await processor.process_all()
    full = state(tmp_path / "any").parts[0].worst_tokens

    async with job(tmp_path / "tight", provider, budget=BudgetConfig(tokens=full)) as processor:
        await processor.add_all(items(2))
        assert (await processor.process_all()).succeeded == 2


async def test_a_job_that_is_left_is_charged_in_full_as_unknown(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It goes on at the provider."""
    provider = simulator(batch_delay=100)
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(2))
        with trio.move_on_after(50):
            await processor.process_all()
        worst = state(tmp_path).parts[0].worst_tokens
        assert await held(processor) == BudgetStatistics(None, worst, 0, worst)


async def test_a_job_left_before_it_was_sent_is_charged_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Files cost nothing."""
    provider = simulator({"kind": "hang", "match": {"path": "/v1/files"}})
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(2))
        with trio.move_on_after(5):
            await processor.process_all()
        assert await held(processor) == BudgetStatistics(None, 0, 0, 0)


async def test_a_batch_under_way_is_held_whatever_the_budget(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It was sent already: what is not sent yet gets what is left, here nothing."""
    provider = simulator(batch_delay=100, batch_queue=1)
    async with job(tmp_path, provider, max_requests=1, budget=BudgetConfig(tokens=300)) as processor:
        await processor.add_all(items(2))
        with trio.move_on_after(50):
            await processor.process_all()
    assert [part.step for part in state(tmp_path).parts].count("created") == 1

    async with resumed(tmp_path, provider, budget=BudgetConfig(tokens=10)) as processor:
        result = await processor.process_all()

    assert sorted(one.error_code or "" for one in result.results) == ["", "budget_exceeded"]


async def test_what_is_committed_is_waited_for_by_calls_and_the_other_way_round() -> None:
    """One budget, whoever asks: who waits looks again when something is given back."""
    world = make_world(tokens=100)
    gate, budget = world.gate, world.budget
    first = await gate.commit("r", tokens=80, micro_usd=0)
    with pytest.raises(BudgetExceededError):
        await gate.commit("r", tokens=101, micro_usd=0)
    async with trio.open_nursery() as nursery:

        async def second() -> None:
            (await gate.commit("r", tokens=30, micro_usd=0)).forfeit()

        nursery.start_soon(second)
        await wait_all_tasks_blocked()
        assert budget.tokens.statistics().reserved == 80
        first.settle(Usage(10, 5), micro_usd=None, unknown_tokens=5)

    assert budget.tokens.statistics() == BudgetStatistics(100, 50, 0, 35)
    assert gate.statistics().usage == Usage(10, 5)
    assert gate.statistics().unknown_cost
    over = gate.take_over("r", tokens=500, micro_usd=7)
    assert budget.tokens.remaining() == -450
    over.release()
    assert budget.tokens.remaining() == 50


async def test_a_batch_that_was_surely_not_made_is_charged_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The provider refused to make it; whoever resumes asks again, without a look at what there is."""
    provider = simulator({"kind": "status", "status": 400, "script": [1], "match": {"path": "/v1/batches"}})
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()
        assert await held(processor) == BudgetStatistics(None, 0, 0, 0)
    assert result.errors == {"request_rejected": 2}

    async with resumed(tmp_path, provider) as processor:
        assert (await processor.process_all()).succeeded == 2
    assert requests(provider, "/v1/batches") == 1
