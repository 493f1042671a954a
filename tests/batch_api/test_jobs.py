"""A job from its items to its results, on virtual time: who is asked what, how often, and what it costs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from pydantic import BaseModel
from tests.batch_api.world import PRICE, inputs, items, job, options, requests, runtime, simulator
from tests.gateway.bodies import APIS, Api
from trio.testing import MockClock

from agent_pipeline.batch import BatchAPIProcessor, BatchProgress, BatchRequest
from agent_pipeline.batch.results import WorkItemResult
from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import BatchClosedError, BatchJobError, ConfigError, DuplicateItemError
from agent_pipeline.gateway import open_gateway


@pytest.mark.parametrize("api", APIS)
async def test_every_item_has_its_answer_in_the_order_of_adding(
    autojump_clock: MockClock, tmp_path: Path, api: Api
) -> None:
    """Two minutes at the provider: looked at after 10, 30, 70 and 130 seconds."""
    provider = simulator(batch_delay=120)
    async with job(tmp_path / "job", provider, api=api) as processor:
        await processor.add_all(items(5))
        result = await processor.process_all()

    assert [(one.item_id, one.success, one.context, one.position) for one in result.results] == [
        (f"item {n}", True, n, n) for n in range(5)
    ]
    assert [one.output for one in result.results] == [f"Apple {n} lies on a table." for n in range(5)]
    assert (result.total_items, result.succeeded, result.failed, result.errors) == (5, 5, 0, {})
    assert result.termination == "completed"
    assert trio.current_time() == 130
    assert requests(provider, "/v1/batches/{id}") == 5
    assert requests(provider, "/v1/files") == requests(provider, "/v1/files/{id}/content") == 1
    seen = provider.statistics
    assert (result.total_input_tokens, result.total_output_tokens) == (seen.input_tokens, seen.output_tokens)


async def test_what_a_batch_costs_is_the_price_less_the_discount(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Two and ten micro-dollars a token, and a quarter off."""
    provider = simulator()
    async with job(tmp_path, provider, discount=0.25) as processor:
        await processor.add_all(items(3))
        result = await processor.process_all()
        charge = processor.charge

    full = sum(
        PRICE.cost_micro_usd(Usage(one.token_usage["input_tokens"], one.token_usage["output_tokens"]))
        for one in result.results
    )
    assert charge is not None
    assert charge.micro_usd == -(-full * 3 // 4)
    assert (charge.unknown_tokens, charge.unknown_micro_usd) == (0, 0)


class Fruit(BaseModel):
    """What is asked for."""

    title: str


@pytest.mark.parametrize("api", APIS)
async def test_an_output_type_is_asked_for_and_held_to(autojump_clock: MockClock, tmp_path: Path, api: Api) -> None:
    """As in a plain call."""
    async with job(tmp_path, simulator(), api=api, output_type=Fruit) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()

    assert all(isinstance(one.output, Fruit) for one in result.results)


async def test_embeddings_are_vectors(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Their endpoint is another one, and dimensions go by the API's own name."""
    config = runtime(mode="embedding", params={"embedding_dim": 4})
    async with job(tmp_path, simulator(), config=config) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()

    assert [len(one.output or ()) for one in result.results] == [4, 4]


async def test_an_embedding_is_asked_for_without_an_output_cap(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Defaults may bring one; the API knows no such field, and its answers have no output to hold budget for."""
    config = runtime(mode="embedding", params={"max_tokens": 100})
    async with job(tmp_path, simulator(), config=config) as processor:
        await processor.add_all(items(1))
        await processor.process_all()

    (path,) = inputs(tmp_path)
    assert json.loads(path.read_text())["body"] == {"model": "m", "input": "Apple 0 lies on a table."}


async def test_what_is_made_of_an_answer_may_be_ones_own(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What it raises fails its item and no other."""

    def read(body: Mapping[str, Any]) -> str:
        if "Apple 1" in json.dumps(body):
            raise KeyError("no such thing")
        return str(body["model"])

    async with job(tmp_path, simulator(), read_answer=read) as processor:
        await processor.add_all(items(2))
        first, second = (await processor.process_all()).results

    assert first.output == "m-simulator"
    assert (second.success, second.error_code) == (False, "call_failed")
    assert second.token_usage["total_tokens"] > 0


async def test_a_post_processor_sees_each_success_and_may_fail(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own error is logged."""
    seen: list[str] = []

    async def post(result: WorkItemResult[Any, Any]) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(result.item_id)
        if result.item_id == "item 0":
            raise ValueError("no room")

    provider = simulator({"kind": "status", "status": 500, "match": {"contains": "Apple 1"}})
    async with job(tmp_path, provider, post_processor=post) as processor:
        await processor.add_all(items(3))
        result = await processor.process_all()

    assert seen == ["item 0", "item 2"]
    assert [one.success for one in result.results] == [True, False, True]
    assert "the post-processor failed after item 'item 0'" in caplog.text


async def test_a_post_processor_may_be_a_plain_function(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As that of any other batch."""
    seen: list[WorkItemResult[Any, Any]] = []
    async with job(tmp_path, simulator(), post_processor=seen.append) as processor:
        await processor.add_all(items(2))
        await processor.process_all()

    assert [one.item_id for one in seen] == ["item 0", "item 1"]
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


async def test_input_is_split_where_a_provider_takes_no_more(autojump_clock: MockClock, tmp_path: Path) -> None:
    """By lines or by bytes, whichever comes first; results are in one order all the same."""
    provider = simulator()
    async with job(tmp_path, provider, max_requests=2) as processor:
        await processor.add_all(items(5))
        result = await processor.process_all()
    sizes = [path.stat().st_size for path in inputs(tmp_path)]

    assert [one.item_id for one in result.results] == [f"item {n}" for n in range(5)]
    assert result.succeeded == 5
    assert requests(provider, "/v1/batches") == 3
    assert [path.read_bytes().count(b"\n") for path in inputs(tmp_path)] == [2, 2, 1]

    async with job(tmp_path / "bytes", provider, max_bytes=sizes[0]) as processor:
        await processor.add_all(items(5))
        result = await processor.process_all()
    assert result.succeeded == 5
    assert max(path.stat().st_size for path in inputs(tmp_path / "bytes")) == sizes[0]


async def test_an_id_is_there_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The second of two was not taken, and the first is as good as any."""
    async with job(tmp_path, simulator()) as processor:
        await processor.add_work(BatchRequest("a", "One."))
        with pytest.raises(DuplicateItemError):
            await processor.add_work(BatchRequest("a", "Two."))
        with pytest.raises(ConfigError, match="temperature"):
            await processor.add_work(BatchRequest("b", "Two.", params={"temperature": 7}))
        await processor.add_work(BatchRequest("b", "Two.", params={"temperature": 0.5}))
        result = await processor.process_all()

    assert [(one.item_id, one.output) for one in result.results] == [("a", "One."), ("b", "Two.")]


async def test_a_job_takes_no_work_once_it_is_sent(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Nor is its directory begun anew; asked again it gives the same results, from disk."""
    provider = simulator()
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(2))
        first = await processor.process_all()
        asked = provider.statistics.requests
        with pytest.raises(BatchClosedError):
            await processor.add_work(BatchRequest("late", "Late."))
        second = await processor.process_all()

    assert first.results == second.results
    assert provider.statistics.requests == asked
    with pytest.raises(BatchJobError, match="resume"):
        async with job(tmp_path, provider):
            pass


async def test_messages_go_as_they_are(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Behind the role's own instructions."""
    messages = [{"role": "user", "content": "One apple."}, {"role": "user", "content": "Two pears."}]
    async with job(tmp_path, simulator(), api="chat") as processor:
        await processor.add_work(BatchRequest("a", messages=messages))
        result = await processor.process_all()
    sent = json.loads((tmp_path / "part-0001.jsonl").read_text())

    assert sent["body"]["messages"] == [{"role": "system", "content": "Be brief."}, *messages]
    assert sent["body"]["max_tokens"] == 100
    assert result.succeeded == 1


async def test_each_look_at_a_batch_is_told(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten seconds a line: looked at after 0, 10, 30 and 70. Whoever listens may fail."""
    seen: list[tuple[str, int, int]] = []

    def tell(look: BatchProgress) -> None:
        seen.append((look.status, look.completed, look.total))
        if len(seen) == 1:
            raise ValueError("no room")

    provider = simulator(batch_delay=0, batch_line_delay=10)
    async with job(tmp_path, provider, on_progress=tell) as processor:
        await processor.add_all(items(5))
        await processor.process_all()

    assert seen == [("in_progress", 0, 5), ("in_progress", 1, 5), ("in_progress", 3, 5), ("completed", 5, 5)]
    assert "on_progress failed" in caplog.text


async def test_an_open_gateway_is_used_as_it_is(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Its budget is that of other calls, too; what is asked for again is not charged again."""
    provider = simulator()
    given = options(provider)
    limits = LimitsConfig.model_validate({"budget": {"tokens": 1000}})
    endpoints = given["endpoints"]
    assert endpoints is not None
    async with open_gateway(runtime(), endpoints, limits, make_pool=given["make_pool"]) as gateway:
        assert await gateway.role("writer").ask("One pear.")
        asked = gateway.gate.budget.tokens.statistics().spent
        async with BatchAPIProcessor[str, int](
            role="writer", directory=tmp_path, gateway=gateway, threaded=False
        ) as processor:
            await processor.add_all(items(2))
            first = await processor.process_all()
            second = await processor.process_all()
            assert processor.charge is not None
            batched = processor.charge.usage.total_tokens
        spent = gateway.gate.budget.tokens.statistics().spent

    assert first.results == second.results
    assert asked > 0
    assert spent == asked + batched
    assert processor.charge.micro_usd is None


async def test_an_open_gateway_is_used_in_its_own_run_only(tmp_path: Path) -> None:
    """Without `async with` the job would be opened in a thread, where its connections are of no use."""
    given = options(simulator())
    endpoints = given["endpoints"]
    assert endpoints is not None
    async with open_gateway(runtime(), endpoints, LimitsConfig(), make_pool=given["make_pool"]) as gateway:
        processor = BatchAPIProcessor[str, int](role="writer", directory=tmp_path, gateway=gateway)
        with pytest.raises(RuntimeError, match="async with"):
            await processor.process_all()
        await processor.aclose()


async def test_an_item_longer_than_any_file_is_refused(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It was not taken; the others are."""
    async with job(tmp_path, simulator(), max_bytes=1000) as processor:
        with pytest.raises(ValueError, match="more than a file of a batch may have"):
            await processor.add_work(BatchRequest("long", "x" * 1000))
        await processor.add_work(BatchRequest("short", "One apple."))
        result = await processor.process_all()

    assert [one.item_id for one in result.results] == ["short"]


async def test_a_job_is_worked_on_once_at_a_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A second `process_all` beside the first would poll, and charge, everything twice."""
    async with job(tmp_path, simulator(batch_delay=50)) as processor, trio.open_nursery() as nursery:
        await processor.add_all(items(1))
        nursery.start_soon(processor.process_all)
        await trio.sleep(20)
        with pytest.raises(RuntimeError, match="running already"):
            await processor.process_all()
