"""An agent without a model behind it, for tests and rehearsals: it takes its time, and fails as it is told to."""

import math
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from agent_pipeline.bridge.guests import sleep_where_called
from agent_pipeline.domain.usage import Usage


class MockProviderError(Exception):
    """What a mock agent raises in place of an answer.

    Attributes:
        status_code: 500, or 429.
        retry_after: seconds, None where it names none.
        usage: tokens that were used all the same; None where none were.
    """

    def __init__(
        self, message: str, *, status_code: int, retry_after: float | None = None, usage: Usage | None = None
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.retry_after = retry_after
        self.usage = usage


@dataclass(frozen=True, slots=True)
class MockReply:
    """An answer of a mock agent."""

    output: str
    tokens: Usage = field(default_factory=Usage)

    def usage(self) -> Usage:
        """Return the tokens used."""
        return self.tokens


class MockAgent:
    """Answers every prompt, after a while, with `respond(prompt)`; works under Trio and asyncio.

    The calls count over all items that share the agent, from 1. What fails is drawn from the seed, call by call, so
    the same order of calls gives the same faults.

    Args:
        latency: seconds per call.
        failure_rate: share of calls that end in a server's error (500), from 0 to 1.
        rate_limit_on_call: the call, or calls, that are answered with a 429.
        retry_after: seconds that such a 429 asks for; None asks for none.
        timeout_on_call: the call, or calls, that are never answered.
        tokens_per_call: input tokens of each call; as many output tokens.
        seed: of the faults.
        respond: makes the answer.

    Attributes:
        calls: made so far.

    Raises:
        ValueError: a value makes no sense.
    """

    def __init__(
        self,
        latency: float = 0.0,
        failure_rate: float = 0.0,
        rate_limit_on_call: int | Collection[int] | None = None,
        timeout_on_call: int | Collection[int] | None = None,
        tokens_per_call: int = 10,
        *,
        seed: int = 0,
        retry_after: float | None = None,
        respond: Callable[[str], str] = "Mock response to: {}".format,
    ) -> None:
        if not 0 <= latency < math.inf or not 0 <= failure_rate <= 1 or tokens_per_call < 0:
            msg = (
                "latency and tokens_per_call are numbers from 0, failure_rate one from 0 to 1, not "
                f"{latency!r}, {tokens_per_call!r}, {failure_rate!r}"
            )
            raise ValueError(msg)
        self._latency = latency
        self._failure_rate = failure_rate
        self._limited = _as_set(rate_limit_on_call)
        self._silent = _as_set(timeout_on_call)
        self._tokens = tokens_per_call
        self._rng = random.Random(seed)
        self._retry_after = retry_after
        self._respond = respond
        self.calls = 0

    async def run(self, prompt: str) -> MockReply:
        """Answer a prompt; a checkpoint, unless it is answered with a 429.

        Raises:
            MockProviderError: this call was to fail.
        """
        self.calls += 1
        call, draw = self.calls, self._rng.random()
        if call in self._limited:
            raise MockProviderError(f"call {call}: slow down", status_code=429, retry_after=self._retry_after)
        await sleep_where_called(math.inf if call in self._silent else self._latency)
        usage = Usage(self._tokens, self._tokens)
        if draw < self._failure_rate:
            raise MockProviderError(f"call {call} was to fail", status_code=500, usage=usage)
        return MockReply(self._respond(prompt), usage)


def _as_set(calls: int | Collection[int] | None) -> frozenset[int]:
    if calls is None:
        return frozenset()
    return frozenset({calls} if isinstance(calls, int) else calls)
