"""A cap over workers that are killed at the worst instant, as the provider sees it: what it received, it bills."""

import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import trio
from tests.engines.in_process import InProcess, InProcessWorker
from tests.integration.project import IN_THIS_PROCESS, make_project, prose
from tests.integration.spread import Provider, run_over_workers, with_engine
from tests.integration.test_workers import finished, problems, rows

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.engines.messages import Attempted
from agent_pipeline.gateway.inprocess import SimulatorTransport
from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.simulator import FaultPlan

CAP = 60_000
LONGEST_ANSWER = 60

SEEDS = [*range(1), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 24))]


@dataclass
class Biller(Provider):
    """A provider that keeps a bill: for each request what its answer cost; for one cut off the most it may have cost.

    Attributes:
        bill: tokens, in the order in which requests arrived.
        largest: the most that any of them may have cost.
    """

    bill: list[int] = field(default_factory=list)
    largest: int = 0

    def pool(self) -> ConnectionPool:
        """Return connections to it."""
        provider = self

        class Billed(SimulatorTransport):
            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                worst = len(await request.aread()) + LONGEST_ANSWER
                trace = request.extensions["trace"]
                place = -1

                async def leave(name: str, info: object) -> None:
                    nonlocal place
                    await trace(name, info)  # it may still be held back here
                    place = len(provider.bill)
                    provider.bill.append(worst)
                    provider.largest = max(provider.largest, worst)

                request.extensions = {**request.extensions, "trace": leave}
                response = await super().handle_async_request(request)
                content = b"".join([chunk async for chunk in response.aiter_raw()])
                provider.bill[place] = json.loads(content)["usage"]["total_tokens"]
                await response.aclose()
                return httpx2.Response(response.status_code, headers=response.headers, content=content)

        return ConnectionPool(lambda: Billed(self.simulator))


def unheard(worker: InProcessWorker) -> int:
    """Return how many requests have left of which nothing has left the worker yet."""
    return sum(isinstance(one, Attempted) and one.record.outcome is None for one in worker.queued)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_provider_bills_is_within_the_cap_whoever_is_killed_when(seed: int, tmp_path: Path) -> None:
    """Three workers killed just after many requests of theirs left, before any was told; little is stranded."""
    rng = random.Random(seed)
    limits: dict[str, JsonValue] = {"documents_in_flight": 16, "budget": {"tokens": CAP}}
    project = make_project(
        tmp_path,
        prose(800),
        stages=IN_THIS_PROCESS,
        env_key=None,
        limits=limits,
        params={"max_tokens": LONGEST_ANSWER},
    )
    with_engine(project, workers=rng.choice([2, 3]))
    provider = Biller(FaultPlan.from_mapping({"latency": {"min": 0.05, "max": 1.5}}))
    killed: list[int] = []

    async def disturb(process: InProcess) -> None:
        for _ in range(3):
            await trio.sleep(rng.uniform(0.5, 6))
            enough = rng.choice([1, 3, 6])
            with trio.move_on_after(3):
                while max(map(unheard, process.alive), default=0) < enough:  # noqa: ASYNC110 - nobody rings for it
                    await trio.sleep(0.001)
            if process.alive:
                worker = max(process.alive, key=unheard)
                killed.append(unheard(worker))
                worker.crash()

    result = finished(run_over_workers(project, provider, disturb=disturb))

    assert (result.outcome, result.reason) == ("incomplete", "budget:tokens")
    assert sum(provider.bill) <= CAP, (sum(provider.bill), killed)
    (charged,) = rows(project, "SELECT sum(charged_tokens) FROM attempts")[0]
    assert charged == result.usage.charged_tokens
    assert result.workers is not None
    assert 0 < result.workers.withheld_tokens <= min(CAP - charged, 3 * max(CAP // 128, provider.largest))
    (log,) = project.runs()[0].glob("*.log")
    withheld = re.findall(r" BUDGET_WITHHELD worker=\d+ owner=run tokens=(\d+) ", log.read_text(encoding="utf-8"))
    assert result.workers is not None
    assert result.workers.withheld_tokens == sum(map(int, withheld))
    assert len(withheld) <= result.workers.lost
    assert CAP - charged <= 0.03 * CAP + provider.largest, (CAP - charged, killed)
    assert problems(project) == []
