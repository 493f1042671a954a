"""A run over workers that stops early: gently, at once, or because all would fail alike."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from tests.engines.pretended import AT, PLAN, Pretence, entries, entry
from tests.engines.world import open_run
from trio.testing import MockClock

from agent_pipeline.control.deadline import on_ladder
from agent_pipeline.domain.document import Artifact, Document, SourceEntry
from agent_pipeline.domain.engine_events import WorkerLost
from agent_pipeline.domain.result import DocumentCounts
from agent_pipeline.engines.driver.intake import Intake
from agent_pipeline.engines.link import WorkerEnd
from agent_pipeline.engines.messages import (
    Ended,
    Report,
    StopTaking,
    Take,
    WorkerPlan,
)
from agent_pipeline.errors import (
    ArtifactError,
    BudgetExceededError,
    CredentialsRejectedError,
    DiskFullError,
    LedgerError,
)
from agent_pipeline.pipeline.document_records import LedgerRecords


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
            await run.documents(entries(30), run.driver(workers=2, shard_size=15))

        assert sorted(run.outcomes().values()) == [("cancelled", None)] * 10 + [("succeeded", None)] * 10
        assert len(run.process.workers) == 2
        assert isinstance(run.worker(2).commands[-1], StopTaking)
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


async def test_a_worker_that_would_do_otherwise_gets_no_document(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Its results would not be those that this run's ledger promises."""
    pretence = Pretence(plan_sha256="q" * 64, fingerprints={"first": "f", "second": "other"})
    async with open_run(tmp_path, pretence) as run:
        run.plan = replace(PLAN, fingerprints={"first": "f", "second": "s"})
        await run.documents(entries(10), run.driver(workers=1))

        assert run.stop.reason == "worker_mismatch"
        assert str(run.stop.error) == (
            "worker 1 on here finds other code, options or roles of second than the driver; "
            "install the same code of the stages there, then go on"
        )
        assert run.outcomes() == {}
        assert not any(isinstance(one, Take) for one in run.worker(1).commands)
        run.assert_accounted()


@pytest.mark.parametrize("reason", ["worker_mismatch", "engine_failed"])
async def test_workers_that_cant_be_used_take_nothing_from_the_one_that_works(
    tmp_path: Path, reason: str, autojump_clock: MockClock
) -> None:
    """What it has in flight is what the run wants, and has been paid for."""

    class OnlyTheFirstIsGood(Pretence):
        async def main(self, plan: WorkerPlan, link: WorkerEnd) -> None:
            if plan.worker > 1:
                await trio.sleep(3)
                self.plan_sha256 = "q" * 64
                self.never_ready = reason == "engine_failed"
            await super().main(plan, link)

    async with open_run(tmp_path, OnlyTheFirstIsGood(seconds=lambda _: 10.0)) as run:
        await run.documents(entries(100), run.driver(workers=2))

        assert run.stop.reason == reason
        assert set(run.outcomes().values()) == {("succeeded", None)}
        assert not run.stop.cancelling.is_set()
        run.assert_accounted()


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


async def test_a_worker_that_says_what_ends_the_run_is_not_replaced(tmp_path: Path, autojump_clock: MockClock) -> None:
    """It was not lost, it ended; another one would end alike."""
    async with open_run(tmp_path, Pretence(last_error=CredentialsRejectedError("refused"))) as run:
        await run.documents(entries(10), run.driver(workers=1))

        assert (run.stop.reason, str(run.stop.error)) == ("credentials_rejected", "refused")
        assert run.named(WorkerLost) == []
        assert len(run.process.workers) == 1


async def test_a_batch_that_is_being_written_is_written_also_when_cancelled(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Its documents have ended, and nobody would report them again."""
    finish = Intake.finish

    class Slow(Intake):
        async def finish(self, batch: Sequence[Report]) -> None:
            await trio.sleep(1 if any(isinstance(one, Ended) for one in batch) else 0)
            await finish(self, batch)

    async with open_run(tmp_path) as run:
        run.intake_kind = Slow

        async def cancel() -> None:
            await trio.sleep(2.5)
            run.stop.request("signal:SIGINT", "twice", cancel=True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            await run.documents(entries(10), run.driver(workers=1))

        assert set(run.outcomes().values()) == {("succeeded", None)}
        run.assert_accounted()


async def test_what_the_runs_own_timeout_cuts_off_says_so(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Whether a worker reports the end or its document is closed here."""
    async with open_run(tmp_path, Pretence(seconds=lambda _: 10.0)) as run:
        run.stop.limit(5)

        async def silence() -> None:
            await trio.sleep(1)
            run.worker(1).silence()

        with on_ladder("run", 5, deadline=5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(silence)
                await run.documents(entries(40), run.driver(workers=2))

        assert len(run.outcomes()) == 20
        assert set(run.outcomes().values()) == {("cancelled", "deadline_exceeded")}
        run.assert_accounted()


async def test_a_document_that_cant_be_begun_is_not_worked_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The artifact it had can't be removed, say: as in one process it counts as cancelled, the others go on."""

    class Stuck(LedgerRecords):
        async def begin(self, entry: SourceEntry, digest: str, *, plan_sha256: str | None, trace_id: str) -> None:
            if entry.id == "2":
                raise ArtifactError("it can't be removed")
            await LedgerRecords.begin(self, entry, digest, plan_sha256=plan_sha256, trace_id=trace_id)

    async with open_run(tmp_path) as run:
        run.records = Stuck(
            run.ledger, run.records.artifacts, rejected=run.records.rejected, emit=run.emit, now=lambda: AT
        )
        await run.documents(entries(3), run.driver(workers=1))

        assert run.outcomes() == {"1": ("succeeded", None), "3": ("succeeded", None)}
        assert run.tally.counts() == DocumentCounts(3, 2, 0, 0, 1)
        assert run.rows("select * from stage_results where document_id = '2'") == []


async def test_nothing_is_called_done_once_the_ledger_has_failed(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A result of it may be lost; what its worker says after that makes no artifact."""
    async with open_run(tmp_path) as run:
        run.stop.error = LedgerError("a result could not be kept")
        await run.documents(entries(1))

        assert run.outcomes() == {"1": ("cancelled", LedgerError.code)}
        assert run.artifacts == []
        run.assert_accounted()
