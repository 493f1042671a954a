"""One item of work: what is asked, and of whom."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from agent_pipeline.batch.given import check_callable, told
from agent_pipeline.bridge.guests import guest_kind

TInput = TypeVar("TInput")
TOutput = TypeVar("TOutput")
TContext = TypeVar("TContext")

DirectCall = Callable[[int, float], Awaitable[tuple[TOutput, object]]]
"""Takes the attempt's number, from 1, and the seconds it may take; returns the output and its usage."""


@dataclass(frozen=True, eq=False)  # slots and generic: Python 3.11 can't make those by `Name[...](...)`
class LLMWorkItem(Generic[TInput, TOutput, TContext]):
    """One item of a batch: an id, and exactly one of `agent`, `direct_call` and `agent_factory`.

    Attributes:
        item_id: not empty; once per batch.
        agent: an agent of the Agents SDK, or anything whose `await agent.run(prompt)` has an `output` and a `usage`
            (a PydanticAI agent, a `MockAgent`).
        direct_call: makes one attempt by itself: `await direct_call(attempt, timeout)` returns the output and its
            usage, a mapping with `input_tokens` and `output_tokens` or a client's own object. It has `timeout` seconds
            (inf: no limit), then it is cancelled.
        agent_factory: makes a new agent for each attempt: `agent_factory(attempt)`. A 429 raises no attempt's number.
        prompt: for the agent.
        input_data: what the item is about; for middleware and whoever reads the results.
        context: handed to the result as it is, the same object.
        lane: items of one lane share pauses and limits; items of a provider that has limits of its own get a lane of
            their own. The model of an agent makes a lane within it.

    Raises:
        ValueError: there is no id, or not exactly one of the three.
        TypeError: an attribute is not what it says above.

    >>> LLMWorkItem("a", prompt="Hi")
    Traceback (most recent call last):
    ValueError: item 'a' needs exactly one of agent, direct_call and agent_factory, not none of them
    """

    item_id: str
    agent: object | None = None
    direct_call: DirectCall[TOutput] | None = None
    agent_factory: Callable[[int], object] | None = None
    prompt: str = ""
    input_data: TInput | None = None
    context: TContext | None = None
    lane: str = "default"

    def __post_init__(self) -> None:
        item_id: object = self.item_id  # whoever has no type checker may give anything
        if not isinstance(item_id, str) or not item_id.strip():
            msg = f"item_id is a text that is not empty, not {item_id!r}"
            raise ValueError(msg)
        self._check_who_works()
        for name in ("prompt", "lane"):
            if not isinstance(getattr(self, name), str):
                msg = f"item {item_id!r}: {name} is a text, not {told(getattr(self, name))}"
                raise TypeError(msg)

    def _check_who_works(self) -> None:
        given = [name for name in ("agent", "direct_call", "agent_factory") if getattr(self, name) is not None]
        if len(given) != 1:
            msg = (
                f"item {self.item_id!r} needs exactly one of agent, direct_call and agent_factory, "
                f"not {' and '.join(given) or 'none of them'}"
            )
            raise ValueError(msg)
        where = f"item {self.item_id!r}: "
        if self.agent is not None:
            check_agent(self.agent, where)
        call: object = self.direct_call
        if inspect.isawaitable(call) or inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
            kind = "what a call of it returned" if inspect.isawaitable(call) else "one that yields"
            msg = f"{where}direct_call is an async function, not {kind}"
            raise TypeError(msg)
        check_callable(f"{where}direct_call", call)
        check_callable(f"{where}agent_factory", self.agent_factory)


def check_agent(agent: object, where: str) -> None:
    """Refuse what can't be run; `where` begins the message.

    Raises:
        TypeError: it is a class, or has no `run(prompt)` and is no agent of the Agents SDK.
    """
    if isinstance(agent, type):
        msg = f"{where}agent is an agent, not {told(agent)}; make one: {agent.__name__}(...)"
        raise TypeError(msg)
    if not callable(getattr(agent, "run", None)) and guest_kind(agent) is None:
        msg = f"{where}agent is an agent, or anything with `async def run(self, prompt)`, not {told(agent)}"
        raise TypeError(msg)
