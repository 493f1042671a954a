"""Documents over workers: each ends once, whatever becomes of the workers."""

import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest
import trio
from tests.engines.world import AT, TOKENS, Pretence, Run, entries, entry, open_run
from trio.testing import MockClock

from agent_pipeline.domain.document import Artifact, Document, SourceEntry
from agent_pipeline.domain.engine_events import LateReports, WorkerLost, WorkerReady
from agent_pipeline.domain.events import DocumentStarted, Rework, StageStarted
from agent_pipeline.domain.result import DocumentCounts
from agent_pipeline.domain.usage import Spending
from agent_pipeline.engines.driver import DriverStatistics
from agent_pipeline.engines.error_record import ErrorRecord
from agent_pipeline.engines.intake import Intake
from agent_pipeline.engines.messages import (
    Began,
    Ended,
    Fence,
    Happened,
    Lane,
    Rejected,
    Report,
    Resulted,
    ResultKey,
    ShardDocument,
    Take,
)
from agent_pipeline.errors import (
    BudgetExceededError,
    CredentialsRejectedError,
    DiskFullError,
    DocumentInvalidError,
    DocumentRejectedError,
    InputError,
)
from agent_pipeline.pipeline.document_records import LedgerRecords


async def test_every_document_ends_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Without trouble it is what one process would do."""
    async with open_run(tmp_path) as run:
        await run.documents(entries(100))

        assert set(run.outcomes().values()) == {("succeeded", None)}
        assert run.artifacts == [f"{number}.md" for number in range(1, 101)]
        assert run.pretence.calls.total() == 200
        assert run.counts.requests == run.counts.attempts == 200
        assert run.stop.reason is None
        run.assert_accounted()


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 50))])
def test_killed_workers_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    """Three workers killed at any time: no document is lost, none that ended is asked about again."""
    rng = random.Random(seed)
    pretence = Pretence(seconds=lambda one: 0.25 + random.Random(f"{seed} {one}").random(), makes_artifacts=False)
    allowed = 0
    run: Run

    async def kill_some() -> None:
        nonlocal allowed
        for _ in range(3):
            await trio.sleep(rng.uniform(0, 2))
            if alive := run.process.alive:
                worker = rng.choice(alive)
                allowed += len(pretence.in_flight.get(worker.plan.worker, ())) + 25
                worker.crash()

    async def main() -> None:
        nonlocal run
        async with open_run(tmp_path, pretence) as run, trio.open_nursery() as nursery:
            nursery.start_soon(kill_some)
            await run.documents(entries(80))
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert set(run.outcomes().values()) == {("succeeded", None)}
    assert len(run.outcomes()) == 80
    assert pretence.too_late == []
    assert pretence.calls.total() - 160 <= allowed
    run.assert_accounted()


async def test_a_document_that_kills_its_workers_is_given_up_and_nobody_else(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Its shard is halved until it is alone; what was beside it ends well."""
    pretence = Pretence(poison=frozenset({"13"}))
    async with open_run(tmp_path, pretence) as run:
        driver = run.driver(workers=2)

        await run.documents(entries(40), driver)

        outcomes = run.outcomes()
        assert outcomes.pop("13") == ("failed", "poisoned")
        assert set(outcomes.values()) == {("succeeded", None)}
        assert pretence.too_late == []
        # three times its shard, of which ten are left; then as one of five, of three, and twice alone
        assert [one.documents for one in run.named(WorkerLost)] == [10, 10, 10, 5, 3, 1, 1]
        assert driver.statistics().lost == 7
        assert driver.statistics().given_up == 1
        failure = run.tally.shown_failures()[0]
        assert failure.document_id == "13"
        assert "at last twice with nothing else in it" in failure.error
        assert run.stop.reason is None
        run.assert_accounted()


async def test_a_document_that_kills_before_it_is_heard_of_is_given_up_too(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A crash takes along what was queued: then all that the worker had is blamed, not nobody, for ever."""
    pretence = Pretence(instant=frozenset({"3"}))
    async with open_run(tmp_path, pretence) as run:
        await run.documents(entries(10), run.driver(workers=1))

        outcomes = run.outcomes()
        assert outcomes.pop("3") == ("failed", "poisoned")
        assert set(outcomes.values()) == {("succeeded", None)}
        run.assert_accounted()


async def test_what_a_silent_worker_says_late_changes_nothing_but_is_paid(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It was given up, its documents went to another: the fence keeps its rows out, its requests are in the books."""
    async with open_run(tmp_path) as run:
        driver = run.driver(workers=1)

        async def silence() -> None:
            await trio.sleep(0.5)
            run.worker(1).silence()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(silence)
            await run.documents(entries(10), driver)

        assert set(run.outcomes().values()) == {("succeeded", None)}
        lost = run.named(WorkerLost)
        assert [(one.worker, one.reason, one.documents, one.in_flight, one.given_up) for one in lost] == [
            (1, "nothing was heard of it for 5 s", 10, 10, 0)
        ]
        late = run.named(LateReports)
        # both stages of ten documents, and their ends; all twenty requests ended after the last that was heard
        assert [(one.worker, one.reports, one.charged_tokens) for one in late] == [(1, 30, 20 * TOKENS)]
        assert driver.statistics() == DriverStatistics(
            opened=2, lost=1, given_up=0, late_reports=30, duplicate_tokens=20 * TOKENS
        )
        assert run.rows("select count(*), sum(charged_tokens) from attempts") == [(40, 40 * TOKENS)]
        assert run.lending.charged == 40 * TOKENS
        run.assert_accounted()


async def test_a_worker_is_killed_before_its_documents_go_to_another(tmp_path: Path, autojump_clock: MockClock) -> None:
    """One that is only slow to be heard would else work on beside its successor."""
    async with open_run(tmp_path, Pretence(seconds=lambda _: 60.0)) as run:

        async def silence_and_look() -> None:
            await trio.sleep(0.5)
            run.worker(1).silence()
            await trio.sleep(5.6)
            assert run.worker(1).is_over
            assert run.pretence.in_flight == {1: set(), 2: {"1", "2"}}

        async with trio.open_nursery() as nursery:
            nursery.start_soon(silence_and_look)
            await run.documents(entries(2), run.driver(workers=1))

        run.assert_accounted()


async def test_what_a_killed_worker_had_under_way_is_interrupted_and_charged_in_full(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nobody knows how its requests ended: they may be billed."""
    async with open_run(tmp_path) as run:

        async def crash() -> None:
            await trio.sleep(0.5)
            run.worker(1).crash()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash)
            await run.documents(entries(4), run.driver(workers=1))

        interrupted = run.rows("select charged_tokens, outcome from attempts where error_code = 'interrupted'")
        assert interrupted == [(2 * TOKENS, "failed")] * 4
        assert run.counts.attempts == run.counts.requests == 12
        assert sum(run.lending.open.values()) == 4 * 2 * TOKENS  # the lessor finds these by itself, at `revoke`
        run.assert_accounted()


async def test_finished_stages_are_not_paid_for_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    """What a lost worker reported of a document goes along with it to the next."""
    async with open_run(tmp_path) as run:

        async def crash() -> None:
            await trio.sleep(1.5)
            run.worker(1).crash()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash)
            await run.documents(entries(3), run.driver(workers=1))

        assert {run.pretence.calls[str(number), "first"] for number in (1, 2, 3)} == {1}
        assert {run.pretence.calls[str(number), "second"] for number in (1, 2, 3)} == {2}
        take = next(command for command in run.worker(2).commands if isinstance(command, Take))
        assert [(one.again, len(one.results), one.spent) for one in take.shard.documents] == [
            (True, 1, Spending(3 * TOKENS, 2 * TOKENS, 3 * TOKENS))
        ] * 3
        run.assert_accounted()


async def test_a_shard_is_not_lost_with_the_worker_it_was_just_sent_to(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A command to a worker that is gone is lost without a word."""
    async with open_run(tmp_path) as run:
        driver = run.driver(workers=1)

        async def crash_at_first_shard() -> None:
            while not (run.process.workers and run.worker(1).commands):
                await trio.lowlevel.checkpoint()
            run.worker(1).crash()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash_at_first_shard)
            await run.documents(entries(10), driver)

        assert set(run.outcomes().values()) == {("succeeded", None)}
        assert run.pretence.calls.total() == 20
        run.assert_accounted()


async def test_cancelled_it_closes_what_is_under_way_and_leaves_no_worker(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Workers report their ends; one that does not is killed, and its documents are closed here."""
    async with open_run(tmp_path, Pretence(seconds=lambda _: 10.0)) as run:

        async def cancel() -> None:
            await trio.sleep(11)
            run.worker(2).silence()
            run.stop.request("signal:SIGINT", "twice", cancel=True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            await run.documents(entries(100), run.driver(workers=2))

        assert trio.current_time() == 16  # so long it waited for the silent one
        assert run.outcomes() == {str(number): ("cancelled", None) for number in (*range(1, 11), *range(21, 31))}
        assert len(run.rows("select * from stage_results")) == 20
        assert run.tally.taken == 20
        run.assert_accounted()


async def test_stopped_it_lets_what_is_in_flight_go_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A budget or a first signal cancels nobody; what workers have ahead is not begun and not counted."""
    async with open_run(tmp_path) as run:

        async def stop() -> None:
            await trio.sleep(0.5)
            run.stop.request("signal:SIGINT", "once", cancel=False)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await run.documents(entries(100), run.driver(workers=2))

        assert set(run.outcomes().values()) == {("succeeded", None)}
        assert len(run.outcomes()) == 20
        assert trio.current_time() == 2
        run.assert_accounted()


async def test_documents_of_a_worker_lost_while_stopping_are_cancelled(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nobody begins anything any more, so the next session goes on with them."""
    async with open_run(tmp_path) as run:

        async def stop() -> None:
            await trio.sleep(0.5)
            run.stop.request("signal:SIGINT", "once", cancel=False)
            await trio.sleep(0.1)
            run.worker(1).crash()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await run.documents(entries(40), run.driver(workers=2))

        assert sorted(run.outcomes().values()) == [("cancelled", None)] * 10 + [("succeeded", None)] * 10
        assert len(run.process.workers) == 2
        run.assert_accounted()


async def test_an_error_for_all_stops_the_run_as_in_one_process(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A refused key is every document's, whichever worker met it."""
    pretence = Pretence(error=CredentialsRejectedError("refused"))
    async with open_run(tmp_path, pretence) as run:
        await run.documents(entries(100), run.driver(workers=2))

        assert run.stop.reason == "credentials_rejected"
        assert type(run.stop.error) is CredentialsRejectedError
        assert {outcome for outcome, _ in run.outcomes().values()} == {"cancelled"}
        assert len(run.outcomes()) < 100
        run.assert_accounted()


async def test_a_spent_budget_stops_gently(tmp_path: Path, autojump_clock: MockClock) -> None:
    """What was paid for in other documents is not thrown away."""
    seconds = {"1": 0.1}
    pretence = Pretence(seconds=lambda one: seconds.get(one, 1.0))
    async with open_run(tmp_path, pretence) as run:
        pretence.errors["1"] = BudgetExceededError("used up", dimension="tokens")

        await run.documents(entries(100), run.driver(workers=2))

        assert run.stop.reason == "budget:tokens"
        outcomes = run.outcomes()
        assert outcomes.pop("1") == ("cancelled", "budget_exceeded")
        assert set(outcomes.values()) == {("succeeded", None)}
        assert len(outcomes) < 40
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


@pytest.mark.parametrize("second", [2, 35], ids=["both out", "the first has ended"])
async def test_two_documents_of_one_id_end_the_run(tmp_path: Path, second: int, autojump_clock: MockClock) -> None:
    """Neither could be told from the other, whether both are out or one has ended."""
    source = entries(60)
    source[second - 1] = entry(second, id="1")
    async with open_run(tmp_path, Pretence(seconds=lambda _: 0.3)) as run:
        await run.documents(source, run.driver(workers=1))

        assert run.stop.reason == "duplicate_id"
        first = "number 1 (in.md:1)" if second == 35 else "number 1"
        assert str(run.stop.error) == (
            f"two documents have the id '1': {first} and number {second} (in.md:{second}); "
            "ids must be unique within a run"
        )
        assert len(run.rows("select * from documents where document_id = '1'")) == (second == 35)


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


async def test_workers_that_never_get_ready_end_the_run(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The third in a row; no document is blamed, none has a row."""
    async with open_run(tmp_path, Pretence(never_ready=True)) as run:
        await run.documents(entries(10), run.driver(workers=1))

        assert run.stop.reason == "engine_failed"
        assert str(run.stop.error) == (
            "3 workers in a row were lost before they were ready, the last because: the worker is gone; "
            "see whether the machines can run this package, then go on with the run"
        )
        assert len(run.process.workers) == 3
        assert run.outcomes() == {}
        run.assert_accounted()


async def test_a_worker_that_would_do_otherwise_gets_no_document(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Its results would not be those that this run's ledger promises."""
    async with open_run(tmp_path, Pretence(plan_sha256="q" * 64)) as run:
        await run.documents(entries(10), run.driver(workers=1))

        assert run.stop.reason == "worker_mismatch"
        assert str(run.stop.error) == (
            f"worker 1 on here has another stages and code (sha256): {'q' * 64}, not {'p' * 64} as here; "
            "install the same package and the same code of the stages there, then go on"
        )
        assert run.outcomes() == {}
        assert not any(isinstance(one, Take) for one in run.worker(1).commands)
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
            assert driver.lanes() == [Lane("p", "m", 1, 10, 0, 0.0)] * 2

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await run.documents(entries(60), driver)

        assert driver.lanes() == []


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


async def test_what_is_lent_is_taken_back_from_every_worker(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Whether it ended well or was lost."""
    async with open_run(tmp_path) as run:

        async def crash() -> None:
            await trio.sleep(0.5)
            run.worker(1).crash()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash)
            await run.documents(entries(30), run.driver(workers=2))

        assert sorted(run.lending.joined) == [1, 2, 3]
        assert sorted(run.lending.revoked) == [1, 2, 3]


async def test_what_a_document_meets_again_elsewhere_is_told_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    """`verify` counts one beginning and each rework once in a session."""
    async with open_run(tmp_path) as run:
        run.driver()
        await run.ledger.begin_document(
            document_id="1",
            position=1,
            source=None,
            content_sha256=None,
            plan_sha256=None,
            trace_id=None,
            started_at=AT,
        )
        book, fence = run.intake.book, Fence(1, 1)
        book.enter("2", 2)
        book.add([ShardDocument(entry(2))])
        book.deal(1)
        await run.intake.begin([Began(fence, "2", "0" * 64, "trace")])

        for event in 2 * [DocumentStarted("2", 2, None, 1), Rework("2", "b", "a", 1), Rework("2", "b", "a", 2)]:
            run.intake.take_event(Happened(event, AT))
        for event in 2 * [StageStarted("2", "a", 1)]:
            run.intake.take_event(Happened(event, AT))
        run.intake.take_event(Happened(DocumentStarted("1", 1, None, 1), AT))

        assert [event for event, _ in run.events] == [
            DocumentStarted("2", 2, None, 1),
            Rework("2", "b", "a", 1),
            Rework("2", "b", "a", 2),
            StageStarted("2", "a", 1),
            StageStarted("2", "a", 1),
        ]


async def test_a_rejected_text_is_kept_and_one_that_cant_be_is_the_documents_failure(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """As where the document is worked on: the last text, or why there is none."""
    async with open_run(tmp_path) as run:
        run.driver()
        book, fence = run.intake.book, Fence(1, 1)
        for position in (1, 2):
            book.enter(str(position), position)
        book.add([ShardDocument(entry(1)), ShardDocument(entry(2))])
        book.deal(1)
        await run.intake.begin([Began(fence, one, "0" * 64, "trace") for one in "12"])
        told = ErrorRecord.of(DocumentRejectedError("stage b did not approve it"))

        def ended(position: int) -> Ended:
            counts = Counter[str]()
            return Ended(fence, position, str(position), None, "failed", told, "b", counts, counts)

        await run.intake.finish([Rejected(fence, Document("1", "last words")), ended(1)])
        (tmp_path / "rejected").rename(tmp_path / "elsewhere")
        (tmp_path / "rejected").write_text("no folder")
        await run.intake.finish([Rejected(fence, Document("2", "last words")), ended(2)])

        assert [one.read_text() for one in (tmp_path / "elsewhere").iterdir()] == ["last words"]
        assert run.outcomes() == {"1": ("failed", "rejected"), "2": ("failed", "artifact_not_written")}


async def test_late_results_and_beginnings_are_not_written(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Their fence counts no more."""
    async with open_run(tmp_path) as run:
        run.driver()
        book, fence = run.intake.book, Fence(1, 1)
        book.enter("1", 1)
        book.add([ShardDocument(entry(1))])
        book.deal(1)
        book.lose(1, {}, blamed=True)
        book.deal(2)

        await run.intake.begin([Began(fence, "1", "0" * 64, "trace")])
        run.intake.take_result(Resulted(fence, "1", ResultKey("a", 1, "0"), "{}", AT, AT))
        counts = Counter[str]()
        await run.intake.finish([Ended(fence, 1, "1", None, "succeeded", None, None, counts, counts)])

        assert run.rows("select * from documents") == run.rows("select * from stage_results") == run.events == []
        assert run.tally.taken == 0


async def test_a_full_disk_stops_gently_whichever_document_met_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    """What is in flight may still fit, and its calls have been paid for."""

    class Full(LedgerRecords):
        async def publish(self, document: Document) -> Artifact:
            if document.id == "1":
                raise DiskFullError("no room")
            return await self.artifacts.write(document)

    async with open_run(tmp_path) as run:
        run.records = Full(
            run.ledger, run.records.artifacts, rejected=run.records.rejected, emit=run.emit, now=lambda: AT
        )
        await run.documents(entries(100), run.driver(workers=1))

        outcomes = run.outcomes()
        assert run.stop.reason == "disk_full"
        assert outcomes.pop("1") == ("cancelled", "disk_full")
        assert set(outcomes.values()) == {("succeeded", None)}
        assert len(outcomes) < 99
        run.assert_accounted()


async def test_a_ledger_that_fails_ends_the_run_and_nothing_hangs(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Nothing may be called done any more; every document is counted as cancelled."""
    async with open_run(tmp_path, Pretence(seconds=lambda _: 10.0)) as run:

        async def fail() -> None:
            await trio.sleep(5)
            assert run.ledger.close_now(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await run.documents(entries(50), run.driver(workers=2))

        assert run.stop.reason == "ledger_failed"
        assert run.tally.counts() == DocumentCounts(20, 0, 0, 0, 20)
        assert run.process.alive == []
