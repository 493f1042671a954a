"""The driver cancelled at every scheduler step, while workers come, are lost and are followed by others."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from tests.engines.pretended import entries
from tests.engines.world import open_run

from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.engines.link import DriverEnd
from agent_pipeline.engines.messages import WorkerPlan
from agent_pipeline.testing import cancel_at_every_step

DOCUMENTS = 7


async def _drip(closed: Counter[str]) -> AsyncGenerator[SourceEntry]:
    try:
        for one in entries(DOCUMENTS):
            await trio.sleep(0.4)
            yield one
    finally:
        closed["source"] += 1


@pytest.mark.parametrize("stride", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_driver_cancelled_at_every_step(tmp_path_factory: pytest.TempPathFactory, *, stride: int) -> None:
    """What was begun has one end on record, an artifact is there for each that succeeded, and nobody is left."""
    begun: Counter[int] = Counter()

    async def operation(scope: trio.CancelScope) -> None:
        closed: Counter[str] = Counter()
        async with open_run(tmp_path_factory.mktemp("run")) as run:

            @asynccontextmanager
            async def open_one_after_the_other(plan: WorkerPlan) -> AsyncGenerator[DriverEnd]:
                await trio.sleep(plan.worker - 1)
                async with run.process.open(plan) as end:
                    yield end

            driver = run.driver(workers=3, concurrency=2, shard_size=2, open_worker=open_one_after_the_other)
            with scope:
                await run.documents(_drip(closed), driver, beside=run.crash_after(2.3))

            run.assert_accounted()
            outcomes = run.outcomes()
            succeeded = sum(outcome == "succeeded" for outcome, _ in outcomes.values())
        assert len([*(run.path / "artifacts").glob("*")]) == len(run.artifacts) == succeeded
        assert closed["source"] <= 1
        begun[len(outcomes)] += 1

    assert cancel_at_every_step(operation, stride=stride) > 10
    assert {0, DOCUMENTS} < set(begun)
