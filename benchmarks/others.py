"""What others do with the same work; runs in environments that hold them and nothing of ours.

Their versions are pinned here, so that figures of two days can be compared. Neither keeps a record of what it did.
"""

import asyncio
import importlib
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

BATCH = "async-batch-llm"
BATCH_PACKAGES = ("async-batch-llm==0.28.0", "pydantic-ai-slim[openai]==2.68.0")
LITELLM = "litellm"
LITELLM_PACKAGES = ("litellm==1.106.2",)
WARM_UP = 60


def text(number: int) -> str:
    """Return the prompt of one document; the same as everywhere."""
    return f"Document {number}. The quick brown fox jumps over the lazy dog. " * 4


async def batch(url: str, documents: int, in_flight: int) -> float:
    """Work on documents with pydantic-ai's agents in async-batch-llm; return CPU milliseconds per document."""
    import httpx2  # noqa: PLC0415 - each environment has its own clients
    from openai import AsyncOpenAI  # noqa: PLC0415 - as above

    # By name, since the environment in which types are checked holds none of these.
    batches: Any = importlib.import_module("async_batch_llm")
    pydantic_ai: Any = importlib.import_module("pydantic_ai")
    models: Any = importlib.import_module("pydantic_ai.models.openai")
    providers: Any = importlib.import_module("pydantic_ai.providers.openai")
    limits = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    http = httpx2.AsyncClient(limits=limits, trust_env=False, timeout=None)
    client = AsyncOpenAI(api_key="none", base_url=url, http_client=http, max_retries=0, timeout=None)
    model = models.OpenAIResponsesModel("gpt-5-mini", provider=providers.OpenAIProvider(openai_client=client))
    agent = pydantic_ai.Agent(model, instructions="Answer briefly.", model_settings={"max_tokens": 200})
    config = batches.ProcessorConfig(max_workers=in_flight, attempt_timeout=600.0)

    async def work_on(count: int) -> None:
        async with batches.ParallelBatchProcessor(config=config) as processor:
            for number in range(count):
                strategy = batches.PydanticAIStrategy(agent)
                item = batches.LLMWorkItem(item_id=str(number), strategy=strategy, prompt=text(number))
                await processor.add_work(item)
            result = await processor.process_all()
        if result.succeeded != count:
            raise SystemExit(f"only {result.succeeded} of {count} succeeded: {result.results[:1]}")

    spent = await measured(work_on, documents)
    await client.close()
    return spent


async def litellm(url: str, calls: int, in_flight: int) -> float:
    """Ask through litellm's `acompletion`; return CPU milliseconds per call."""
    library: Any = importlib.import_module("litellm")

    async def ask(count: int) -> None:
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                conversation = [{"role": "user", "content": text(number)}]
                params: dict[str, Any] = {"temperature": 0.2, "max_tokens": 200, "num_retries": 0}
                await library.acompletion("openai/m", conversation, api_base=url, api_key="none", **params)

        await asyncio.gather(*(work() for _ in range(in_flight)))

    return await measured(ask, calls)


async def measured(work_on: Callable[[int], Awaitable[None]], count: int) -> float:
    """Work after a warm-up; return CPU milliseconds for each."""
    await work_on(WARM_UP)
    begun = time.process_time()
    await work_on(count)
    return (time.process_time() - begun) / count * 1000


def main() -> None:
    """Make the measurement that the command line names."""
    name, url, count, in_flight = sys.argv[1:]
    one = {BATCH: batch, LITELLM: litellm}[name]
    print(asyncio.run(one(url, int(count), int(in_flight))))


if __name__ == "__main__":
    main()
