"""A provider in memory: each attempt takes the next step of a script, and its time on Trio's clock."""

from dataclasses import dataclass

import trio

from agent_pipeline.control.allowance import RateHeaders
from agent_pipeline.control.call import Attempt
from agent_pipeline.domain.usage import Usage


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one attempt.

    Attributes:
        answer: what it returns, where `error` is None.
        error: what it raises instead.
        usage: tokens reported, also by an answer that ends in an error.
        latency: seconds from sending to the last byte.
        connecting: seconds before the first byte leaves.
        status_code: of the answer; None where there is none.
        reaches: False where no byte ever leaves.
        rate_headers: what the answer says about limits per minute.
    """

    answer: str = "done"
    error: BaseException | None = None
    usage: Usage | None = None
    latency: float = 0.0
    connecting: float = 0.0
    status_code: int | None = 200
    reaches: bool = True
    rate_headers: RateHeaders | None = None


class ScriptedProvider:
    """Makes attempts for a gate: `await gate.call(call, provider.send)`.

    Args:
        steps: one per attempt in order of arrival; the last is repeated for ever.

    Attributes:
        attempts: number and arrival time of every attempt.
        in_flight: attempts under way.
        most_in_flight: the most there ever were at once.
    """

    def __init__(self, *steps: Step) -> None:
        self._steps = steps or (Step(),)
        self.attempts: list[tuple[int, float]] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def send(self, attempt: Attempt) -> str:
        """Make one attempt; always a checkpoint."""
        step = self._steps[min(len(self.attempts), len(self._steps) - 1)]
        self.attempts.append((attempt.number, trio.current_time()))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await trio.sleep(step.connecting)
            if step.reaches:
                attempt.dispatch()
            await trio.sleep(step.latency)
        finally:
            self.in_flight -= 1
        attempt.status_code, attempt.usage = step.status_code, step.usage
        attempt.rate_headers = step.rate_headers
        if step.error is not None:
            raise step.error.with_traceback(None)
        return step.answer
