"""A provider that is down at times, and documents that ask it."""

import math
from collections import Counter

import trio
from tests.control.world import World, make_call, make_world

from agent_pipeline.control.call import Attempt
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.scope import CallScope
from agent_pipeline.errors import AgentPipelineError, ProviderError, ProviderUnreachableError, ServerError
from agent_pipeline.testing import ScriptedProvider

UNAVAILABLE = ServerError("the provider answered 503", status_code=503)


class Provider:
    """Answers after a second, but fails while it is down, at once, each attempt in its own error.

    Attributes:
        at: when each attempt came.
    """

    def __init__(self, *outages: tuple[float, float], error: ProviderError = UNAVAILABLE) -> None:
        self.at: list[float] = []
        self._outages = outages
        self._error = error

    async def send(self, attempt: Attempt) -> str:
        """Make one attempt."""
        now = trio.current_time()
        self.at.append(now)
        await trio.lowlevel.checkpoint()
        if not isinstance(self._error, ProviderUnreachableError):
            attempt.dispatch()
        if any(begin <= now < end for begin, end in self._outages):
            again = type(self._error).__new__(type(self._error), *self._error.args)
            vars(again).update(vars(self._error))
            raise again
        await trio.sleep(1)
        return "done"


class Documents:
    """Calls of documents, one each, and how they ended: the error's code, or "done"; with its time."""

    def __init__(self, world: World, provider: Provider | ScriptedProvider) -> None:
        self.world, self.provider = world, provider
        self.ends: list[tuple[str, float]] = []
        self.errors: list[AgentPipelineError] = []

    async def ask(self, document_id: str, *, deadline: float = math.inf, model: str = "tiny") -> None:
        """Make one document's call to its end."""
        end = "done"
        call = make_call(scope=CallScope(document_id=document_id, deadline=deadline), model=model)
        try:
            await self.world.gate.call(call, self.provider.send)
        except AgentPipelineError as exc:
            end = exc.code
            self.errors.append(exc)
        self.ends.append((end, trio.current_time()))

    async def ask_for(self, count: int) -> Counter[str]:
        """Make the calls of so many documents at once; return how they ended."""
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(self.ask, f"d{number}")
        return Counter(end for end, _ in self.ends)


def watched_world(in_flight: int = 10, policy: RetryPolicy | None = None) -> tuple[World, list[tuple[str, float]]]:
    """Return a world, and the changes of its breakers."""
    changes: list[tuple[str, float]] = []

    def note(provider: str, model: str, state: str, reason: str) -> None:
        assert (provider, bool(reason)) == ("openai", True)
        changes.append((f"{model} {state}" if model != "tiny" else state, trio.current_time()))

    return make_world(in_flight=in_flight, policy=policy, on_breaker=note), changes
