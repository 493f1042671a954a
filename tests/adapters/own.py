"""Adapters as users write them."""

import threading
import time
from collections.abc import Callable
from typing import Self

import trio

from agent_pipeline.adapters import BudgetTracker, LLMAdapter, LLMAnswer, RunConfig
from agent_pipeline.bridge import current_flavour
from agent_pipeline.domain.usage import Usage

USED = Usage(7, 3)


class SyncOnly(LLMAdapter):
    """Only what every adapter has to have; its worst case is 30 more than the prompt's bytes and the cap of 16.

    Args:
        usage: reported with each answer; None reports nothing.
        work: called inside each call.
        error: raised instead of an answer.

    Attributes:
        configs: what the calls got.
        prompts: likewise.
    """

    def __init__(
        self,
        *,
        usage: Usage | None = USED,
        work: Callable[[], object] | None = None,
        error: BaseException | None = None,
        max_tokens: int | None = 30,
    ) -> None:
        self.max_tokens = max_tokens
        self.configs: list[RunConfig | None] = []
        self.prompts: list[str] = []
        self._usage = usage
        self._work = work
        self._error = error

    def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
        """Answer with the prompt."""
        self.prompts.append(prompt)
        self.configs.append(config)
        if self._work is not None:
            self._work()
        if self._error is not None:
            raise self._error
        return LLMAnswer(prompt.upper(), self._usage, "own")


class NativeAsync(SyncOnly):
    """Sleeps in its own way where it is awaited, without a thread; made for Trio, and for asyncio by `sleep`."""

    def __init__(self, *, delay: float = 0.0, usage: Usage | None = USED) -> None:
        super().__init__(usage=usage)
        self.delay = delay
        self.threads: set[int] = set()

    async def async_execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
        """Answer with the prompt, after a while."""
        self.threads.add(threading.get_ident())
        self.configs.append(config)
        if current_flavour() == "trio":
            await trio.sleep(self.delay)
        else:
            import asyncio  # noqa: PLC0415 - only there

            await asyncio.sleep(self.delay)
        return LLMAnswer(prompt.upper(), self._usage, "own")


class Delegating(LLMAdapter):
    """Makes a call of its own, and hands its answer on to the next.

    Args:
        ask: makes the own call.
        following: the next; None ends the chain.
    """

    def __init__(self, ask: LLMAdapter, following: LLMAdapter | None) -> None:
        self._ask = ask
        self._following = following

    def worst_case_tokens(self, prompt: str, config: RunConfig) -> int:  # noqa: ARG002
        """It uses nothing itself: those it asks do."""
        return 0

    def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
        """Ask the own one, then the next."""
        answer = self._ask.execute_prompt(prompt, config)
        return answer if self._following is None else self._following.execute_prompt(answer.text, config)


class Sampler:
    """Looks at a tracker all the time, from a thread of its own, and remembers the most there ever was."""

    def __init__(self, tracker: BudgetTracker) -> None:
        self.most = 0
        self.samples = 0
        self._tracker = tracker
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def look(self) -> None:
        """Look once."""
        now = self._tracker.statistics()
        self.most = max(self.most, now.spent + now.reserved)
        self.samples += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self.look()

    def _look(self) -> None:
        while not self._stopped.is_set():
            self.look()
            time.sleep(0.0005)
