"""Batches over real sockets, against the simulator with faults: the client of another's making, and the hub."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

import trio
from openai import AsyncOpenAI
from tests.batch.flavours import Flavour, both

from agent_pipeline.batch import BatchResult, LLMWorkItem, ParallelBatchProcessor, ProcessorConfig
from agent_pipeline.llmhub import LLMHub, parse_runtime_config
from agent_pipeline.testing import SimulatorThread

T = TypeVar("T")
Result = BatchResult[str | None, int]

QUICK = ProcessorConfig(max_workers=8, timeout_per_item=20.0, initial_wait=0.01, max_wait=0.05, max_attempts=6)


def run_for_real(flavour: Flavour, main: Coroutine[object, object, T]) -> T:
    async def awaited() -> T:
        return await main

    return asyncio.run(awaited()) if flavour == "asyncio" else trio.run(awaited)


def text(number: int) -> str:
    return f"Summarise: this is page {number} of the book. It tells of lakes."


@both
def test_faults_of_a_provider_are_healed_or_told(flavour: Flavour) -> None:
    """Each request that answers is one item's; what is refused is refused once."""
    faults: list[dict[str, object]] = [
        {"kind": "status", "status": 429, "retry_after": 0.05, "script": [5]},
        {"kind": "status", "status": 503, "script": [8, 9, 12, 30]},
        {"kind": "reset_before_body", "script": [18]},
        {"kind": "status", "status": 400, "match": {"contains": "page 13 "}},
    ]

    async def main(base_url: str) -> Result:
        async with AsyncOpenAI(api_key="none", base_url=base_url, max_retries=0) as client:

            def page(number: int) -> LLMWorkItem[None, str | None, int]:
                async def call(_attempt: int, timeout: float) -> tuple[str, object]:
                    answer = await client.responses.create(model="any", input=text(number), timeout=timeout)
                    return answer.output_text, answer.usage

                return LLMWorkItem(f"page-{number}", direct_call=call, context=number)

            processor = ParallelBatchProcessor[None, str | None, int](QUICK)
            return await processor.process_all(page(number) for number in range(40))

    with SimulatorThread(faults=faults) as simulator:
        result = run_for_real(flavour, main(simulator.base_url))
        seen = simulator.statistics

    assert [one.item_id for one in result.results if not one.success] == ["page-13"]
    assert result.errors == {"request_rejected": 1}
    assert all(f"page {one.context} " in (one.output or "") for one in result.results if one.success)
    assert sum(one.rate_limits for one in result.results) == 1
    assert sum(one.attempts for one in result.results) + 1 == seen.requests == 40 + 1 + 4 + 1
    assert (result.total_input_tokens, result.total_output_tokens) == (seen.input_tokens, seen.output_tokens)


@both
def test_calls_through_the_hub_have_their_attempts_there(flavour: Flavour) -> None:
    """What the hub's gate gives up on is not multiplied by the batch's."""
    faults = [{"kind": "status", "status": 503, "match": {"contains": "page 3 "}}]

    async def main(base_url: str) -> Result:
        roles = parse_runtime_config(
            {
                "project": "p",
                "env": "e",
                "providers": {"local": {"base_url": base_url}},
                "roles": {"writer": {"provider": "local", "model": "any"}},
            }
        )
        retry = {"max_attempts": 2, "initial_delay": 0.01, "max_delay": 0.02}
        async with LLMHub(config_obj=roles, limits={"retry": retry}) as hub:

            def page(number: int) -> LLMWorkItem[None, str | None, int]:
                async def call(_attempt: int, _timeout: float) -> tuple[str | None, object]:
                    answer = await hub.acompletion("writer", [{"role": "user", "content": text(number)}])
                    return answer.choices[0].message.content, answer.usage

                return LLMWorkItem(f"page-{number}", direct_call=call, context=number)

            processor = ParallelBatchProcessor[None, str | None, int](QUICK)
            return await processor.process_all([page(number) for number in range(10)])

    with SimulatorThread(faults=faults) as simulator:
        result = run_for_real(flavour, main(simulator.base_url))
        seen = simulator.statistics

    assert (result.succeeded, result.errors) == (9, {"server_error": 1})
    assert (result.results[3].attempts, seen.requests) == (1, 9 + 2)
    assert result.total_input_tokens > 0
