"""Several adapters share one budget: a chain, four at once, and one that is written here.

Run it: `uv run python examples/adapters.py`. What answers is the simulator, which is no model.
"""

import trio

from agent_pipeline import Usage
from agent_pipeline.adapters import (
    BudgetTracker,
    GeminiAdapter,
    LLMAdapter,
    LLMAnswer,
    LLMBudgetExceededError,
    OpenAIAdapter,
    OpenRouterAdapter,
    RunConfig,
)
from agent_pipeline.testing import SimulatorThread


class FirstSentence(LLMAdapter):
    """An adapter of one's own: no model at all; every adapter is as synchronous, asynchronous and limited as this."""

    max_tokens = 200

    def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:  # noqa: ARG002
        """Return the first sentence."""
        sentence = prompt.partition(".")[0] + "."
        return LLMAnswer(sentence, Usage(len(prompt.split()), len(sentence.split())), "first-sentence")


def chain(adapters: list[LLMAdapter], prompt: str, config: RunConfig) -> str:
    """Give each adapter the answer of the one before."""
    for adapter in adapters:
        prompt = adapter.execute_prompt(prompt, config).text
    return prompt


async def all_at_once(adapters: list[LLMAdapter], prompt: str, config: RunConfig) -> list[LLMAnswer]:
    """Ask all of them; under asyncio it would be `gather`."""
    answers: list[LLMAnswer] = []

    async def ask(adapter: LLMAdapter) -> None:
        answers.append(await adapter.async_execute_prompt(prompt, config))

    async with trio.open_nursery() as nursery:
        for adapter in adapters:
            nursery.start_soon(ask, adapter)
    return answers


def main() -> None:
    """Use up a budget."""
    prompt = "The lake is deep and cold. Nobody swims in it before July."
    tracker = BudgetTracker(total=1500)
    config = RunConfig(budget_tracker=tracker, timeout=30)
    with (
        SimulatorThread() as server,
        OpenAIAdapter("gpt-5-mini", base_url=server.base_url, max_tokens=100) as openai,
        GeminiAdapter("gemini-2.5-flash", base_url=server.base_url, max_tokens=100) as gemini,
        OpenRouterAdapter("some/model", base_url=server.base_url, max_tokens=100) as openrouter,
    ):
        print("chain:", chain([openai, gemini, openrouter], prompt, config))
        print("spent:", tracker.spent, "left:", tracker.remaining())

        answers = trio.run(all_at_once, [openai, gemini, openrouter, FirstSentence()], prompt, config)
        print("at once:", *(f"{answer.model}: {answer.usage.total_tokens}" for answer in answers if answer.usage))

        calls = 0
        try:
            while True:
                openai.execute_prompt(prompt, config)
                calls += 1
        except LLMBudgetExceededError as exc:
            print(f"after {calls} more:", exc)
        print("openai:", openai.statistics())


if __name__ == "__main__":
    main()
