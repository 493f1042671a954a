"""An edit of a file changes how many requests a pool has in flight, while they are."""

import asyncio
import json
from pathlib import Path

import pytest
import trio

from agent_pipeline.testing import SimulatorThread
from agent_pipeline.utils import LLMPool, RuntimeConfig

ASKED = [{"role": "user", "content": "The lake is deep. Say that again."}]


class LivePool:
    """Sixty requests through a pool that follows a config; after the tenth answer somebody edits its file."""

    def __init__(self, path: Path, simulator: SimulatorThread) -> None:
        self.config = RuntimeConfig(path, defaults={"MAX_CONCURRENT_REQUESTS": 2, "LLM_REQUEST_TIMEOUT_SECONDS": 300.0})
        self.path = path
        self.simulator = simulator
        self.answers = 0
        self.before = 0

    def pool(self) -> LLMPool:
        return LLMPool(base_url=self.simulator.base_url, api_key="k", model="m", max_inflight=2)

    def bind(self, pool: LLMPool) -> None:
        self.config.follow("MAX_CONCURRENT_REQUESTS", pool.set_max_inflight)
        self.config.follow("LLM_REQUEST_TIMEOUT_SECONDS", pool.set_timeout)

    async def ask(self, pool: LLMPool) -> None:
        await pool.request(messages=ASKED)
        self.answers += 1
        if self.answers == 10:
            self.before = self.simulator.statistics.max_requests_in_flight
            self.path.write_text(json.dumps({"MAX_CONCURRENT_REQUESTS": 6}), encoding="utf-8")

    async def under_trio(self) -> None:
        async with trio.open_nursery() as nursery, self.pool() as pool:
            self.bind(pool)
            nursery.start_soon(self.config.watch)
            async with trio.open_nursery() as asking:
                for _ in range(60):
                    asking.start_soon(self.ask, pool)
            nursery.cancel_scope.cancel()

    async def under_asyncio(self) -> None:
        async with self.pool() as pool:
            self.bind(pool)
            watch = asyncio.create_task(self.config.watch())
            await asyncio.gather(*(self.ask(pool) for _ in range(60)))
            watch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watch


@pytest.mark.parametrize("flavour", ["trio", "asyncio"])
def test_a_pool_in_use_follows_the_file(tmp_path: Path, flavour: str) -> None:
    with SimulatorThread(latency=0.05) as simulator:
        live = LivePool(tmp_path / "live.json", simulator)

        if flavour == "trio":
            trio.run(live.under_trio)
        else:
            asyncio.run(live.under_asyncio())
        most = simulator.statistics.max_requests_in_flight

    assert live.answers == 60
    assert (live.before, most) == (2, 6)
    assert live.config.subscriber_failures == 0
