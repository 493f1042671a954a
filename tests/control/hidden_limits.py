"""Providers in memory that refuse what is above a limit they do not tell, and what was made of it."""

import math
import random
from dataclasses import dataclass, field

import trio
from tests.control.world import make_call, make_world

from agent_pipeline.control.call import Attempt
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.events import LimitChanged
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import RateLimitedError

SETTLING = 60.0
"""Seconds before the measuring begins."""

REFUSAL_LATENCY = 0.05


@dataclass
class HiddenLimit:
    """What a provider counts; times are virtual seconds.

    Attributes:
        used: of the time its places were worked in, after settling.
        answered: requests, after settling.
        refused: likewise.
    """

    rng: random.Random
    mean_latency: float
    retry_after: float | None
    used: float = 0.0
    answered: int = 0
    refused: int = 0
    in_flight: int = 0
    early: list[float] = field(default_factory=list)
    _not_before: float = 0.0

    def admits(self) -> bool:
        """Whether one more is let in now."""
        raise NotImplementedError

    async def send(self, attempt: Attempt) -> str:
        """Make one attempt."""
        now = trio.current_time()
        attempt.dispatch()
        if now < self._not_before:
            self.early.append(now)
        if not self.admits():
            self.refused += now >= SETTLING
            await trio.sleep(REFUSAL_LATENCY)
            if self.retry_after is not None:
                self._not_before = max(self._not_before, trio.current_time() + self.retry_after)
            raise RateLimitedError("slow down", retry_after=self.retry_after)
        self.in_flight += 1
        latency = self.rng.uniform(0.5, 1.5) * self.mean_latency
        try:
            await trio.sleep(latency)
        finally:
            self.in_flight -= 1
        self.used += max(0.0, trio.current_time() - max(now, SETTLING))
        self.answered += trio.current_time() >= SETTLING
        attempt.usage = Usage(1, 1)
        return "done"


@dataclass
class HiddenCapacity(HiddenLimit):
    """Refuses whatever is above so many in flight."""

    capacity: int = 1

    def admits(self) -> bool:
        """Count what is in flight."""
        return self.in_flight < self.capacity


@dataclass
class HiddenRate(HiddenLimit):
    """Refuses whatever is above so many per second; what was not used adds up for `burst` seconds."""

    per_second: float = 1.0
    burst: float = 5.0
    _left: float = math.inf
    _at: float = 0.0

    def admits(self) -> bool:
        """Take one out of the bucket."""
        now = trio.current_time()
        self._left = min(self.burst * self.per_second, self._left + (now - self._at) * self.per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


async def press(provider: HiddenLimit, *, workers: int, until: float, seed: int) -> list[tuple[float, LimitChanged]]:
    """Ask a provider for as much as the gate lets through, from so many documents; return how the limit went."""
    changes: list[tuple[float, LimitChanged]] = []
    world = make_world(
        in_flight=(20, 1, 200),
        policy=RetryPolicy(),
        rng=random.Random(seed),
        record=lambda _: None,
        on_limit=lambda change: changes.append((trio.current_time(), change)),
    )

    async def work(number: int) -> None:
        call = make_call(scope=CallScope(document_id=str(number)))
        while True:
            await world.gate.call(call, provider.send)

    async with trio.open_nursery() as nursery:
        for number in range(workers):
            nursery.start_soon(work, number)
        await trio.sleep_until(until)
        nursery.cancel_scope.cancel()
    return changes
