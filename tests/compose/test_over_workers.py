"""The real driver and real workers in one process and in virtual time: kills lose and double nothing."""

import random
from functools import partial
from pathlib import Path

import pytest
import trio
from tests.compose.test_worker import a_plan
from tests.engines.in_process import InProcess
from tests.engines.world import Run, open_run
from tests.integration.project import IN_THIS_PROCESS, Project, make_project, prose
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.compose.worker import work
from agent_pipeline.documents import SourceSpec, open_source
from agent_pipeline.gateway.inprocess import SimulatorTransport
from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.pipeline.identity import plan_identity, stage_identity
from agent_pipeline.simulator import FaultPlan, Simulator


def over_workers(run: Run, project: Project, simulator: Simulator) -> None:
    """Let real workers do this run's documents, asked of this simulator."""
    pipeline = Pipeline.from_config(project.config)
    identities = {one.stage.name: stage_identity(one, pipeline.config.runtime) for one in pipeline.stages}
    options = RunOptions(make_pool=lambda: ConnectionPool(lambda: SimulatorTransport(simulator)), virtual=True)
    run.process = InProcess(partial(work, options=options))
    run.plan = a_plan(project, plan_sha256=plan_identity(pipeline.stages, identities))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_killed_workers_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    """By the code that works in Ray's processes, but for what carries its reports."""
    rng = random.Random(seed)
    run: Run

    async def kill_some() -> None:
        for _ in range(3):
            await trio.sleep(rng.uniform(0.2, 0.9))
            if alive := run.process.alive:
                rng.choice(alive).crash()

    async def main() -> None:
        nonlocal run
        project = make_project(tmp_path, prose(30), stages=IN_THIS_PROCESS, env_key=None)
        simulator = Simulator(seed=1, faults=FaultPlan.from_mapping({"latency": 1}))
        async with open_run(tmp_path / "run") as run:
            over_workers(run, project, simulator)
            spec = SourceSpec(path=project.documents, glob=None, stdin=False, root=project.root)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kill_some)
                await run.documents(
                    open_source(spec, threaded=False).entries(),
                    run.driver(workers=3, concurrency=5, shard_size=10),
                )
                nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert run.stop.reason is None
    assert len(run.outcomes()) == 30
    assert set(run.outcomes().values()) == {("succeeded", None)}
    assert len(run.rows("select * from stage_results")) == 30
    assert len(run.artifacts) == 30
    assert len(run.process.workers) > 3
    assert run.rows("select count(*) from attempts where outcome = 'succeeded'") == [(30,)]
    run.assert_accounted()
