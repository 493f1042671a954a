"""Asks models by role from ordinary code, asyncio and Trio; one hub serves them all.

Run it: `uv run python examples/roles_in_a_program.py`. The provider is the simulator, which is no model.
"""

import asyncio
from pathlib import Path

import trio

from agent_pipeline.llmhub import CallResult, LLMHub, load_runtime_config
from agent_pipeline.testing import SimulatorThread

ASKED = [{"role": "user", "content": "The lake is deep and cold. Say in one sentence what it is like."}]


def told(result: CallResult) -> None:
    """Stand for a log or a metric."""
    print(
        f"  {result.role}: {result.model} in {result.duration_ms:.0f} ms, {'well' if result.success else result.error}"
    )


async def with_asyncio(hub: LLMHub) -> None:
    """Two calls at once, in a program that runs asyncio."""
    answers = await asyncio.gather(
        hub.acompletion("llm.inference", ASKED), hub.aembedding("llm.embedding", "deep and cold")
    )
    print("asyncio:", answers[0].choices[0].message.content, len(answers[1].data[0].embedding), "dimensions")


async def with_trio(hub: LLMHub) -> None:
    """A streamed answer, closed by its block whatever happens."""
    async with hub.astream_completion("llm.inference", ASKED) as chunks:
        words = [choice.delta.content or "" async for chunk in chunks for choice in chunk.choices]
    print("trio:", len(words), "chunks:", "".join(words))


def main() -> None:
    """Ask in three ways."""
    with SimulatorThread() as provider:
        config = load_runtime_config(Path(__file__).with_name("llmhub.yaml"))
        local = config.providers["local"].model_copy(update={"base_url": provider.base_url})
        config = config.model_copy(update={"providers": {"local": local}})
        with LLMHub(config_obj=config, on_after_call=told, limits={"budget": {"tokens": 5000}}) as hub:
            answer = hub.completion("llm.inference", ASKED, {"temperature": 0})
            print("ordinary code:", answer.choices[0].message.content)
            asyncio.run(with_asyncio(hub))
            trio.run(with_trio, hub)


if __name__ == "__main__":
    main()
