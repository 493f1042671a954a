"""How many workers are opened, and when: a worker costs seconds of a core before it has done anything."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from tests.engines.pretended import Pretence, entries
from tests.engines.world import Run, open_run
from trio.testing import MockClock

from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.engines.link import DriverEnd, OpenWorker, WorkerLostError
from agent_pipeline.engines.messages import Finish, Take, WorkerPlan


def opened_at(run: Run) -> list[float]:
    """Return when each worker was opened."""
    return [worker.opened_at for worker in run.process.workers]


def slow_to_open(run: Run, *seconds: float) -> OpenWorker:
    """Return a way to workers, each of which takes so long to be there, the last of these and all after it alike."""
    delays = [*seconds]

    @asynccontextmanager
    async def open_worker(plan: WorkerPlan) -> AsyncGenerator[DriverEnd]:
        await trio.sleep(delays.pop(0) if len(delays) > 1 else delays[0])
        async with run.process.open(plan) as end:
            yield end

    return open_worker


def shards(run: Run, number: int) -> list[int]:
    """Return the sizes of what a worker was given."""
    return [len(one.shard.documents) for one in run.worker(number).commands if isinstance(one, Take)]


@pytest.mark.parametrize(
    ("documents", "workers"), [(1, [0.0]), (5, [0.0]), (20, [0.0]), (21, [0.0] * 2), (60, [0.0] * 3), (900, [0.0] * 8)]
)
async def test_there_is_a_worker_for_each_shard_and_no_more(
    tmp_path: Path, autojump_clock: MockClock, documents: int, workers: list[float]
) -> None:
    """All at once, and none waits for another: eight are allowed, with shards of 20."""
    async with open_run(tmp_path, Pretence(makes_artifacts=False)) as run:
        await run.documents(entries(documents), run.driver(workers=8))

        assert opened_at(run) == workers
        assert all(shards(run, worker.plan.worker) for worker in run.process.workers)
        run.assert_accounted()


async def test_a_source_with_nothing_opens_nobody(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Nor waits for anybody."""
    async with open_run(tmp_path) as run:
        await run.documents([], run.driver(workers=8))

        assert (run.process.workers, trio.current_time()) == ([], 0)


async def test_what_comes_while_a_worker_starts_is_one_shard(tmp_path: Path, autojump_clock: MockClock) -> None:
    """On a cluster it starts for half a minute: a document a second is no reason for thirty workers."""

    async def drip() -> AsyncGenerator[SourceEntry]:
        for one in entries(8):
            yield one
            await trio.sleep(1)

    async with open_run(tmp_path) as run:
        await run.documents(drip(), run.driver(workers=8, open_worker=slow_to_open(run, 4.5)))

        assert opened_at(run) == [4.5]
        assert shards(run, 1) == [5, 1, 1, 1]
        run.assert_accounted()


async def test_documents_that_would_wait_open_another_worker(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The first has two in flight for 100 s; the third document is work that nobody has."""

    async def drip() -> AsyncGenerator[SourceEntry]:
        for one in entries(5):
            yield one
            await trio.sleep(10)

    async with open_run(tmp_path, Pretence(seconds=lambda _: 50.0)) as run:
        await run.documents(drip(), run.driver(workers=8, concurrency=2))

        assert opened_at(run) == [0, 20, 40]
        assert [shards(run, number) for number in (1, 2, 3)] == [[1, 1], [1, 1], [1]]
        assert 140 < trio.current_time() < 141
        run.assert_accounted()


async def test_the_last_shard_is_for_the_worker_that_is_coming(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The other one, ready sooner, would have it wait behind its own."""
    async with open_run(tmp_path) as run:
        await run.documents(entries(40), run.driver(workers=2, open_worker=slow_to_open(run, 0, 2.5)))

        assert [shards(run, number) for number in (1, 2)] == [[20], [20]]
        run.assert_accounted()


async def test_a_worker_has_the_next_shard_before_it_is_through_where_all_are_there(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What it says takes up to 0.2 s to the driver: its place would stand empty at each shard's end."""
    async with open_run(tmp_path) as run:
        await run.documents(entries(20), run.driver(workers=1, concurrency=1, shard_size=2))

        assert shards(run, 1) == [2] * 10
        assert 40 < trio.current_time() < 41
        run.assert_accounted()


async def test_a_worker_that_never_comes_leaves_its_documents_to_others(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A cluster may have no place for it."""
    async with open_run(tmp_path) as run:
        await run.documents(entries(60), run.driver(workers=2, open_worker=slow_to_open(run, 0, 100)))

        assert len(run.process.workers) == 1
        assert (shards(run, 1), run.worker(1).commands[-1]) == ([20, 20, 20], Finish())
        run.assert_accounted()


async def test_a_worker_that_is_coming_is_told_what_changed_meanwhile(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It would have as many documents in flight as when it was wanted, however long ago that was."""
    async with open_run(tmp_path) as run:
        driver = run.driver(workers=2, concurrency=10, open_worker=slow_to_open(run, 5))

        async def change() -> None:
            await trio.sleep(1)
            driver.set_in_flight(4)

        await run.documents(entries(40), driver, beside=change)

        assert run.pretence.most == 2
        run.assert_accounted()


async def test_a_worker_gets_as_many_as_it_may_have_by_now_while_another_is_coming(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """One document at a time would be 40 s."""
    async with open_run(tmp_path) as run:
        driver = run.driver(workers=2, concurrency=1, shard_size=1, open_worker=slow_to_open(run, 0, 100))

        async def change() -> None:
            await trio.sleep(0.5)
            driver.set_in_flight(20)

        await run.documents(entries(20), driver, beside=change)

        assert run.pretence.most == 10
        assert trio.current_time() < 8
        run.assert_accounted()


async def test_a_worker_has_its_time_to_be_ready_from_when_it_has_a_place(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It may wait for a place longer than it may take to start."""
    async with open_run(tmp_path) as run:
        driver = run.driver(workers=2, open_worker=slow_to_open(run, 100))

        await run.documents(entries(5), driver)

        assert (opened_at(run), driver.statistics().lost) == ([100], 0)
        run.assert_accounted()


async def test_nobody_follows_a_lost_worker_when_all_is_done(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Nobody would tell him that it is, and the run would wait for him."""
    wanted: list[int] = []

    @asynccontextmanager
    async def only_the_first(plan: WorkerPlan) -> AsyncGenerator[DriverEnd]:
        wanted.append(plan.worker)
        if plan.worker > 1:
            raise WorkerLostError("no room")
        async with run.process.open(plan) as end:
            yield end

    async with open_run(tmp_path, Pretence(seconds=lambda _: 0.1)) as run:
        with trio.fail_after(60):
            await run.documents(entries(40), run.driver(workers=2, concurrency=20, open_worker=only_the_first))

        assert (wanted, run.stop.reason) == ([1, 2, 3], None)
        assert len(run.outcomes()) == 40
        run.assert_accounted()


async def test_a_lost_worker_is_replaced_also_where_it_was_the_only_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """In its own place: nobody else is opened for what it had."""
    async with open_run(tmp_path) as run:
        await run.documents(entries(5), run.driver(workers=8), beside=run.crash_after(0.5))

        assert opened_at(run) == [0, 0.5]
        run.assert_accounted()


async def test_what_waits_for_a_worker_of_its_own_gets_one_where_there_is_a_place(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Of the worker that lost it last the follower comes later: those before it achieved nothing, either."""
    async with open_run(tmp_path, Pretence(poison=frozenset({"3"}))) as run:
        await run.documents(entries(10), run.driver(workers=8))

        outcomes = run.outcomes()
        assert [document for document, (outcome, _) in outcomes.items() if outcome == "failed"] == ["3"]
        assert len(outcomes) == 10
        assert opened_at(run)[:4] == pytest.approx([0, 1.3, 2.6, 2.9])
        assert [shards(run, number) for number in (1, 2, 3, 4)] == [[10], [10], [10], [5]]
        run.assert_accounted()


async def test_nothing_is_read_for_a_worker_that_may_have_nothing_more(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It is hungry, but has a document that lost others their workers: what is read would only be kept."""
    ahead: list[int] = []

    async def watch(run: Run) -> None:
        while True:
            ahead.append(run.pulled - len(run.finished))
            await trio.sleep(0.1)

    async with open_run(tmp_path, Pretence(poison=frozenset({"3"}), makes_artifacts=False)) as run:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, run)
            await run.documents(entries(400), run.driver(workers=1, concurrency=4, shard_size=8))
            nursery.cancel_scope.cancel()

        assert [document for document, (outcome, _) in run.outcomes().items() if outcome == "failed"] == ["3"]
        assert max(ahead) <= 3 * 8 + 1
        run.assert_accounted()
