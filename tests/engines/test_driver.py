"""Documents over workers that are well: each ends once, the source is not outrun, all can be seen."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import trio
from tests.engines.pretended import AT, BEAT, TOKENS, Pretence, entries, entry
from tests.engines.world import open_run
from trio.testing import MockClock

from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.domain.engine_events import WorkerReady
from agent_pipeline.domain.result import DocumentCounts
from agent_pipeline.domain.usage import Spending
from agent_pipeline.engines.driver.intake import Intake
from agent_pipeline.engines.messages import (
    Report,
    Take,
)
from agent_pipeline.errors import (
    DocumentInvalidError,
    InputError,
)


async def test_every_document_ends_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Without trouble it is what one process would do."""
    async with open_run(tmp_path) as run:
        await run.documents(entries(100))

        assert set(run.outcomes().values()) == {("succeeded", None)}
        assert run.artifacts == [f"{number}.md" for number in range(1, 101)]
        assert run.pretence.calls.total() == 200
        assert run.counts.requests == run.counts.attempts == 200
        assert run.attempted_at == [AT] * 400  # as the worker's clock says: as it leaves, and at its end
        assert run.stop.reason is None
        run.assert_accounted()


async def test_the_source_is_asked_for_what_workers_want_and_no_more(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A shard under way and one ahead for each worker, and one entry read ahead: memory does not grow with it."""
    async with open_run(tmp_path, Pretence(makes_artifacts=False)) as run:
        most = 0

        async def look() -> None:
            nonlocal most
            while True:
                most = max(most, run.pulled - len(run.finished))
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await run.documents(entries(300), run.driver(workers=2, concurrency=10))
            nursery.cancel_scope.cancel()

        assert most <= 2 * (10 + 20) + 1
        assert run.pretence.most == 10


async def test_a_slow_disk_slows_the_workers_reports_down(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A batch is asked for when the one before it is written, so that they never pile up here."""
    async with open_run(tmp_path, Pretence(seconds=lambda _: 0.1, makes_artifacts=False)) as run:
        under_way = most = 0
        finish = Intake.finish

        class Slow(Intake):
            async def finish(self, batch: Sequence[Report]) -> None:
                nonlocal under_way, most
                under_way += len(batch)
                most = max(most, under_way)
                await trio.sleep(1)
                await finish(self, batch)
                under_way -= len(batch)

        run.intake_kind = Slow

        await run.documents(entries(200), run.driver(workers=2))

        assert set(run.outcomes().values()) == {("succeeded", None)}
        assert most < 2 * 300  # a batch of each worker: 25 ends, and what goes before them
        run.assert_accounted()


async def test_documents_of_a_slow_source_are_not_held_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A shard waits 0.2 s for company, not until it is full."""

    async def drip() -> AsyncGenerator[SourceEntry]:
        for one in entries(3):
            yield one
            await trio.sleep(100)

    async with open_run(tmp_path) as run:
        await run.documents(drip(), run.driver(workers=1))

        shards = [len(one.shard.documents) for one in run.worker(1).commands if isinstance(one, Take)]
        assert shards == [1, 1, 1]
        run.assert_accounted()


async def test_what_comes_before_a_broken_place_in_the_source_is_worked_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """As in one process, where the documents before it are under way already."""

    async def broken() -> AsyncGenerator[SourceEntry]:
        for one in entries(30):
            yield one
        raise InputError("line 31 is no JSON")

    async with open_run(tmp_path) as run:
        await run.documents(broken())

        assert run.stop.reason == "input_invalid"
        assert set(run.outcomes().values()) == {("succeeded", None)}
        assert len(run.outcomes()) == 30
        run.assert_accounted()


async def test_skipped_and_unusable_entries_have_one_row_each(tmp_path: Path, autojump_clock: MockClock) -> None:
    """They end as they begin, and no stage sees them."""
    source = [
        entry(1),
        entry(2, document=None, skipped="no text"),
        entry(3, document=None, error=DocumentInvalidError("too large")),
    ]
    async with open_run(tmp_path) as run:
        await run.documents(source)

        assert run.outcomes() == {
            "1": ("succeeded", None),
            "2": ("skipped", None),
            "3": ("failed", "document_invalid"),
        }
        assert run.rows("select error from documents where position > 1 order by position") == [
            ("no text",),
            ("too large",),
        ]
        assert run.tally.counts() == DocumentCounts(3, 1, 1, 1, 0)


async def test_no_documents_no_harm(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Workers are told to finish as soon as the source is known to be empty."""
    async with open_run(tmp_path) as run:
        await run.documents([])

        assert run.tally.taken == 0
        run.assert_accounted()


async def test_documents_in_flight_change_while_the_run_goes_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The number is for all workers together; one that is opened later hears of it, too."""
    async with open_run(tmp_path, Pretence(makes_artifacts=False)) as run:
        driver = run.driver(workers=2, concurrency=10)

        async def change() -> None:
            await trio.sleep(0.5)
            driver.set_in_flight(4)
            run.worker(1).crash()
            await trio.sleep(3)
            assert {number: len(one) for number, one in run.pretence.in_flight.items()} == {1: 0, 2: 2, 3: 2}

        async with trio.open_nursery() as nursery:
            nursery.start_soon(change)
            await run.documents(entries(60), driver)

        run.assert_accounted()


async def test_what_workers_have_in_flight_can_be_seen(tmp_path: Path, autojump_clock: MockClock) -> None:
    """As each said with its last beat."""
    async with open_run(tmp_path) as run:
        driver = run.driver(workers=2)

        async def look() -> None:
            await trio.sleep(1.5)
            assert driver.elsewhere() == [BEAT.under_way] * 2

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await run.documents(entries(60), driver)

        assert driver.elsewhere() == []


async def test_events_have_the_workers_time(tmp_path: Path, autojump_clock: MockClock) -> None:
    """They come in batches: the time of their arrival would say nothing."""
    async with open_run(tmp_path) as run:
        await run.documents(entries(1))

        told = [(type(event).__name__, at) for event, at in run.events if not isinstance(event, WorkerReady)]
        assert told == [("DocumentStarted", AT), ("DocumentFinished", None)]


async def test_a_later_session_sends_along_what_earlier_ones_paid_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A run begun anywhere may be gone on with over workers: results and spending come from the ledger."""
    async with open_run(tmp_path, Pretence(seconds=lambda _: 10.0)) as first:

        async def stop() -> None:
            await trio.sleep(15)
            first.stop.request("signal:SIGINT", "twice", cancel=True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await first.documents(entries(5), first.driver(workers=1))
        await first.ledger.finish_run(outcome="incomplete", reason="signal:SIGINT", ended_at=AT)
    async with open_run(tmp_path, Pretence("second session ")) as run:
        run.records.begun_before.update(dict.fromkeys("12345"))

        await run.documents(entries(6), run.driver(workers=1))

        assert (run.stop.reason, set(run.outcomes().values())) == (None, {("succeeded", None)})
        assert run.pretence.calls == {**{(one, "second"): 1 for one in "12345"}, ("6", "first"): 1, ("6", "second"): 1}
        take = next(one for one in run.worker(1).commands if isinstance(one, Take))
        assert [(one.again, len(one.results)) for one in take.shard.documents] == [(False, 1)] * 5 + [(False, 0)]
        assert take.shard.documents[0].spent == Spending(2 * TOKENS, TOKENS, 2 * TOKENS)


async def test_an_artifact_that_cant_be_written_is_the_documents_failure(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The worker thought that all was well; the ending says otherwise, once."""
    async with open_run(tmp_path) as run:
        (tmp_path / "artifacts").write_text("no folder")

        await run.documents(entries(3))

        assert set(run.outcomes().values()) == {("failed", "artifact_not_written")}
        assert run.rows("select distinct failed_stage from documents") == [("second",)]
        run.assert_accounted()
