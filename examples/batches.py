"""A batch under asyncio: calls of the simulator over HTTP, some of them faulty, beside agents without a model.

Run it: `uv run python examples/batches.py`. It needs neither a key nor a network; the simulator is no model.
"""

import asyncio
from collections.abc import Mapping

from openai import AsyncOpenAI

from agent_pipeline.batch import (
    BatchEvent,
    LLMWorkItem,
    MockAgent,
    ParallelBatchProcessor,
    ProcessorConfig,
    ProcessorObserver,
    WorkItemResult,
)
from agent_pipeline.testing import SimulatorThread

FAULTS = [
    {"kind": "status", "status": 429, "retry_after": 0.2, "script": [7]},
    {"kind": "status", "status": 503, "rate": 0.1},
    {"kind": "status", "status": 400, "match": {"contains": "page 13 "}},
]


class Progress(ProcessorObserver):
    """Prints what does not go as usual."""

    def on_event(self, event: BatchEvent) -> None:
        """Take an event."""
        if event.name in {"cooldown_started", "cooldown_ended", "item_failed"}:
            print(event)


async def main() -> None:
    """Summarise thirty pages, and have ten more answered by a mock agent."""
    config = ProcessorConfig(max_workers=8, timeout_per_item=30.0, initial_wait=0.05, preserve_order=True)
    with SimulatorThread(faults=FAULTS) as simulator:
        # Retries belong to the batch: its pauses hold for all items.
        client = AsyncOpenAI(api_key="none", base_url=simulator.base_url, max_retries=0)

        def page(number: int) -> LLMWorkItem[None, str, int]:
            async def summarise(_attempt: int, timeout: float) -> tuple[str, Mapping[str, object]]:
                text = f"This is page {number} of the book. It tells of lakes. It has no end."
                answer = await client.responses.create(model="any", input=f"Summarise: {text}", timeout=timeout)
                return answer.output_text, answer.usage.to_dict() if answer.usage else {}

            return LLMWorkItem(f"page-{number}", direct_call=summarise, context=number)

        mock = MockAgent(latency=0.01, respond=lambda prompt: f"(nobody thought about {prompt!r})")
        processor = ParallelBatchProcessor[None, str, int](config, observers=[Progress()])
        results: list[WorkItemResult[str, int]] = []
        async with client, processor:
            for number in range(30):
                await processor.add_work(page(number))
            for number in range(30, 40):
                await processor.add_work(LLMWorkItem(f"mock-{number}", agent=mock, prompt=f"{number}", context=number))
            async for result in processor.results():
                results.append(result)  # noqa: PERF401 - here one would work on it
        summary = processor.partial_result()

    print(results[0].item_id, "->", results[0].output)
    print(summary.summary())
    if [result.context for result in results] != list(range(40)) or summary.errors != {"request_rejected": 1}:
        raise SystemExit(1)


if __name__ == "__main__":
    asyncio.run(main())
