"""One item of work: what is asked, and of whom."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

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
        given = [name for name in ("agent", "direct_call", "agent_factory") if getattr(self, name) is not None]
        if len(given) != 1:
            msg = (
                f"item {self.item_id!r} needs exactly one of agent, direct_call and agent_factory, "
                f"not {' and '.join(given) or 'none of them'}"
            )
            raise ValueError(msg)
