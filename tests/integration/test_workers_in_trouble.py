"""Exactly once, whatever happens to workers and driver, and with whichever engine the run is gone on with."""

import json
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import trio
from tests.engines.in_process import InProcess
from tests.integration.project import IN_THIS_PROCESS, make_project, prose
from tests.integration.spread import Disturb, Provider, local, run_over_workers, with_engine
from tests.integration.test_workers import artifacts, finished, problems, rows

from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.engines.link import OpenWorker
from agent_pipeline.simulator import FaultPlan

DOCUMENTS = 30

SEEDS = [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 100))]


def trouble(rng: random.Random) -> Disturb:
    """Return what crashes workers, silences them for a while that may be too long, and lets them speak again."""

    async def speak_later(process: InProcess, number: int) -> None:
        await trio.sleep(rng.choice([0.5, 5, 29.5, 45]))
        process.workers[number].speak()

    async def disturb(process: InProcess) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(rng.randint(1, 4)):
                await trio.sleep(rng.choice([rng.uniform(0, 3), rng.uniform(0.9, 1.3), 0.2, 1.0]))
                if not process.alive:
                    continue
                worker = rng.choice(process.alive)
                if rng.random() < 0.5:
                    worker.crash()
                else:
                    worker.silence()
                    nursery.start_soon(speak_later, process, process.workers.index(worker))

    return disturb


@pytest.mark.parametrize("seed", SEEDS)
def test_every_document_ends_once_whatever_happens(seed: int, tmp_path: Path) -> None:
    """Trouble with workers, a driver that is cancelled at any moment, then the other engine or the same, in trouble."""
    rng = random.Random(seed)
    project = make_project(tmp_path, prose(DOCUMENTS), stages=IN_THIS_PROCESS, env_key=None)
    with_engine(project, worker_concurrency=rng.choice([1, 4, 10]), shard_size=rng.choice([1, 4, 20]))
    provider = Provider(FaultPlan.from_mapping({"latency": {"min": 0.1, "max": 2}}))
    engine = json.loads(project.config.read_text(encoding="utf-8"))["engine"]

    result = run_over_workers(project, provider, disturb=trouble(rng), cut_off_after=rng.choice([1.2, 3.0, 20.0, 1000]))
    assert problems(project) == []
    while result is None:
        done = artifacts(project)
        if rng.random() < 0.5:
            local(project)
        else:
            with_engine(project, **engine)
        cut_off_after = rng.choice([2.0, 5.0, 1000])
        result = run_over_workers(project, provider, gone_on=True, disturb=trouble(rng), cut_off_after=cut_off_after)
        assert problems(project) == []
        assert artifacts(project).items() >= done.items()

    given_up = rows(project, "SELECT count(*) FROM documents WHERE error_code = 'poisoned'")[0][0]
    assert finished(result).documents.succeeded == DOCUMENTS - given_up == len(artifacts(project))
    charged = rows(project, "SELECT sum(charged_tokens), count(*) FROM attempts WHERE outcome IS NOT NULL")[0]
    assert charged == (result.usage.charged_tokens, result.usage.attempts)


@pytest.mark.parametrize(("timeout", "reason", "at"), [(None, "signal:SIGINT", 1000), (700, "deadline:run", 700)])
def test_a_run_that_stops_while_it_waits_for_a_cluster_waits_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout: int | None, reason: str, at: int
) -> None:
    """A head that accepts and says nothing would keep it for ever; a first signal ends it as one with no documents."""
    project = make_project(tmp_path, prose(3), stages=IN_THIS_PROCESS, limits={"timeouts": {"run": timeout}})
    with_engine(project)
    opened: list[Runtime] = []
    left_at: list[float] = []

    @asynccontextmanager
    async def never(*_given: object) -> AsyncGenerator[OpenWorker]:
        try:
            await trio.Event().wait()
            yield cast("OpenWorker", None)
        finally:
            left_at.append(trio.current_time())

    async def signal(_process: InProcess) -> None:
        await trio.sleep(1000)
        opened[0].stop.request("signal:SIGINT", "asked to stop", cancel=False)
        await trio.sleep(100)
        raise AssertionError("the run goes on")

    monkeypatch.setattr("agent_pipeline.compose.engine._way_to_workers", never)
    result = finished(run_over_workers(project, Provider(), disturb=signal, on_open=opened.append))

    assert left_at == [at]
    assert (result.reason, result.documents.total) == (reason, 0)
    assert problems(project) == []
