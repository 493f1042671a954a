"""Scenarios that run under Trio, in virtual time, and under asyncio, in real time and with small numbers."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Literal, TypeVar

import pytest
import trio
import trio.testing

from agent_pipeline.batch import LLMWorkItem, MockAgent, ProcessorConfig
from agent_pipeline.bridge.guests import sleep_where_called

T = TypeVar("T")
Flavour = Literal["trio", "asyncio"]
Item = LLMWorkItem[None, str, object]
DirectCall = Callable[[int, float], Awaitable[tuple[str, Mapping[str, int]]]]

both = pytest.mark.parametrize("flavour", ["trio", "asyncio"])
nap = sleep_where_called

QUICK = ProcessorConfig(initial_wait=0.01, max_wait=0.02)
"""Pauses between attempts that also a test in real time can wait for."""

TOKENS = {"input_tokens": 3, "output_tokens": 2}


def run(flavour: Flavour, scenario: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run a scenario to its end; Trio's clock jumps wherever nothing happens."""
    if flavour == "asyncio":
        return asyncio.run(scenario())
    return trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


def mock_items(count: int, agent: MockAgent | None = None) -> list[Item]:
    """Return items for one agent, with ids `item-0`, `item-1` and so on."""
    shared = agent or MockAgent()
    return [LLMWorkItem(f"item-{number}", agent=shared, prompt=f"text {number}") for number in range(count)]


def item(item_id: str, call: DirectCall, *, context: object = None, lane: str = "default") -> Item:
    """Return an item that makes its attempts itself."""
    return LLMWorkItem(item_id, direct_call=call, context=context, lane=lane)


def answers(output: str = "done", delay: float = 0.0) -> DirectCall:
    """Return a call that succeeds after a while."""

    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        await nap(delay)
        return output, TOKENS

    return call


def raises(*errors: Exception | None) -> DirectCall:
    """Return a call whose attempts raise these, one after the other, the last one for ever; None is an answer."""
    left = list(errors)

    async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
        await nap(0)
        error = left.pop(0) if len(left) > 1 else left[0]
        if error is not None:
            raise error.with_traceback(None)
        return "done", TOKENS

    return call


class StatusError(Exception):
    """An error of no library, with what they all carry."""

    def __init__(
        self, status_code: int, headers: Mapping[str, str] | None = None, usage: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(f"answered {status_code}")
        self.status_code = status_code
        self.headers = headers or {}
        self.usage = usage
