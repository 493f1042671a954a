"""What becomes of documents whose worker is lost, silent, or killed by one of them."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from tests.engines.pretended import TOKENS, Pretence, entries
from tests.engines.world import Run, open_run
from trio.testing import MockClock

from agent_pipeline.domain.engine_events import LateReports, WorkerLost
from agent_pipeline.domain.result import DocumentCounts, WorkerTotals
from agent_pipeline.domain.usage import Spending
from agent_pipeline.engines.link import DriverEnd, WorkerLostError
from agent_pipeline.engines.messages import (
    Take,
    WorkerPlan,
)


@pytest.fixture
async def run(tmp_path: Path) -> AsyncGenerator[Run]:
    """A run over workers that pretend to work; tests change the pretence, and bring the clock, which no fixture can."""
    async with open_run(tmp_path) as opened:
        yield opened


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
    run: Run, autojump_clock: MockClock
) -> None:
    """Its shard is halved until it is alone; what was beside it ends well."""
    run.pretence.poison = frozenset({"13"})
    driver = run.driver(workers=2)

    await run.documents(entries(40), driver)

    outcomes = run.outcomes()
    assert outcomes.pop("13") == ("failed", "poisoned")
    assert set(outcomes.values()) == {("succeeded", None)}
    assert run.pretence.too_late == []
    # three times its shard, of which ten are left; then as one of five, of three, and twice alone
    assert [one.documents for one in run.named(WorkerLost)] == [10, 10, 10, 5, 3, 1, 1]
    assert driver.statistics().lost == 7
    assert driver.statistics().given_up == 1
    failure = run.tally.shown_failures()[0]
    assert failure.document_id == "13"
    assert "at last twice with nothing else in it" in failure.error
    assert run.stop.reason is None
    run.assert_accounted()


async def test_a_document_that_kills_before_it_is_heard_of_is_given_up_too(run: Run, autojump_clock: MockClock) -> None:
    """A crash takes along what was queued: then all that the worker had is blamed, not nobody, for ever."""
    run.pretence.instant = frozenset({"3"})

    await run.documents(entries(10), run.driver(workers=1))

    outcomes = run.outcomes()
    assert outcomes.pop("3") == ("failed", "poisoned")
    assert set(outcomes.values()) == {("succeeded", None)}
    run.assert_accounted()


async def test_what_a_silent_worker_says_late_changes_nothing_but_is_paid(run: Run, autojump_clock: MockClock) -> None:
    """It was given up, its documents went to another: the fence keeps its rows out, its requests are in the books."""
    driver = run.driver(workers=1)

    async def silence() -> None:
        await trio.sleep(0.5)
        run.worker(1).silence()

    await run.documents(entries(10), driver, beside=silence)

    assert set(run.outcomes().values()) == {("succeeded", None)}
    lost = run.named(WorkerLost)
    assert [(one.worker, one.reason, one.documents, one.in_flight, one.given_up) for one in lost] == [
        (1, "nothing was heard of it for 5 s", 10, 10, 0)
    ]
    late = run.named(LateReports)
    # both stages of ten documents, and their ends; all twenty requests ended after the last that was heard
    assert [(one.worker, one.reports, one.charged_tokens) for one in late] == [(1, 30, 20 * TOKENS)]
    assert driver.statistics() == WorkerTotals(
        opened=2, lost=1, given_up=0, late_reports=30, duplicate_tokens=20 * TOKENS
    )
    assert run.rows("select count(*), sum(charged_tokens) from attempts") == [(40, 40 * TOKENS)]
    assert run.lending.charged == 40 * TOKENS
    run.assert_accounted()


async def test_a_worker_that_could_not_be_killed_and_speaks_on_holds_no_run_up(
    run: Run, autojump_clock: MockClock
) -> None:
    """Cut off, it is never told that the run ends; it beats, and would be heard for as long as it does."""
    driver = run.driver(workers=1)

    async def cut_off_for_a_while() -> None:
        await trio.sleep(0.5)
        run.worker(1).is_out_of_reach = True
        run.worker(1).silence()
        await trio.sleep(5.5)
        run.worker(1).speak()

    with trio.fail_after(60):
        await run.documents(entries(10), driver, beside=cut_off_for_a_while)

    assert set(run.outcomes().values()) == {("succeeded", None)}
    assert [(one.worker, one.reports, one.charged_tokens) for one in run.named(LateReports)] == [(1, 30, 20 * TOKENS)]
    assert not run.process.alive


async def test_a_worker_is_killed_before_its_documents_go_to_another(run: Run, autojump_clock: MockClock) -> None:
    """One that is only slow to be heard would else work on beside its successor."""
    run.pretence.seconds = lambda _: 60.0

    async def silence_and_look() -> None:
        await trio.sleep(0.5)
        run.worker(1).silence()
        await trio.sleep(5.6)
        assert run.worker(1).is_over
        assert run.pretence.in_flight == {1: set(), 2: {"1", "2"}}

    await run.documents(entries(2), run.driver(workers=1), beside=silence_and_look)

    run.assert_accounted()


async def test_what_a_killed_worker_had_under_way_is_interrupted_and_charged_in_full(
    run: Run, autojump_clock: MockClock
) -> None:
    """Nobody knows how its requests ended: they may be billed."""
    await run.documents(entries(4), run.driver(workers=1), beside=run.crash_after(0.5))

    interrupted = run.rows("select charged_tokens, outcome from attempts where error_code = 'interrupted'")
    assert interrupted == [(2 * TOKENS, "failed")] * 4
    assert run.counts.attempts == run.counts.requests == 12
    assert sum(run.lending.open.values()) == 4 * 2 * TOKENS  # the lessor finds these by itself, at `revoke`
    run.assert_accounted()


async def test_finished_stages_are_not_paid_for_again(run: Run, autojump_clock: MockClock) -> None:
    """What a lost worker reported of a document goes along with it to the next."""
    await run.documents(entries(3), run.driver(workers=1), beside=run.crash_after(1.5))

    assert {run.pretence.calls[str(number), "first"] for number in (1, 2, 3)} == {1}
    assert {run.pretence.calls[str(number), "second"] for number in (1, 2, 3)} == {2}
    take = next(command for command in run.worker(2).commands if isinstance(command, Take))
    assert [(one.again, len(one.results), one.spent) for one in take.shard.documents] == [
        (True, 1, Spending(3 * TOKENS, 2 * TOKENS, 3 * TOKENS))
    ] * 3
    run.assert_accounted()


async def test_a_shard_is_not_lost_with_the_worker_it_was_just_sent_to(run: Run, autojump_clock: MockClock) -> None:
    """A command to a worker that is gone is lost without a word."""
    driver = run.driver(workers=1)

    async def crash_at_first_shard() -> None:
        while not (run.process.workers and run.worker(1).commands):
            await trio.lowlevel.checkpoint()
        run.worker(1).crash()

    await run.documents(entries(10), driver, beside=crash_at_first_shard)

    assert set(run.outcomes().values()) == {("succeeded", None)}
    assert run.pretence.calls.total() == 20
    run.assert_accounted()


async def test_workers_that_never_get_ready_end_the_run(run: Run, autojump_clock: MockClock) -> None:
    """The third in a row; no document is blamed, none has a row."""
    run.pretence.never_ready = True

    await run.documents(entries(10), run.driver(workers=1))

    assert run.stop.reason == "engine_failed"
    assert str(run.stop.error) == (
        "3 workers in a row were lost before they were ready, the last because: the worker is gone; "
        "see whether the machines can run this package, then go on with the run"
    )
    assert [worker.opened_at for worker in run.process.workers] == [0, 0, 1]
    assert run.outcomes() == {}
    run.assert_accounted()


async def test_what_is_lent_is_taken_back_from_every_worker(run: Run, autojump_clock: MockClock) -> None:
    """Whether it ended well or was lost."""
    await run.documents(entries(30), run.driver(workers=2), beside=run.crash_after(0.5))

    assert sorted(run.lending.joined) == [1, 2, 3]
    assert sorted(run.lending.revoked) == [1, 2, 3]


async def test_a_worker_that_hangs_as_it_starts_counts_as_lost(run: Run, autojump_clock: MockClock) -> None:
    """It has longer than one that is silent later: it may have to load much."""
    run.pretence.hangs = True

    await run.documents(entries(10), run.driver(workers=1))

    assert {one.reason for one in run.named(WorkerLost)} == {"it was not ready 10 s after it was started"}
    assert (run.stop.reason, trio.current_time()) == ("engine_failed", 31)
    run.assert_accounted()


async def test_who_achieved_something_is_replaced_at_once(run: Run, autojump_clock: MockClock) -> None:
    """Only workers in a row that ended no document are opened ever more seldom."""
    crashed: list[float] = []
    run.pretence.seconds = lambda _: 0.4

    async def crash() -> None:
        for number in range(1, 5):
            await trio.sleep(1.3)
            crashed.append(trio.current_time())
            run.worker(number).crash()

    await run.documents(entries(60), run.driver(workers=1), beside=crash)

    assert [worker.opened_at for worker in run.process.workers] == [0, *crashed]
    run.assert_accounted()


async def test_a_way_that_breaks_while_it_is_closed_is_one_loss(run: Run, autojump_clock: MockClock) -> None:
    """Whoever carries the reports may find out only then that the worker is gone."""
    opened = run.process.open

    @asynccontextmanager
    async def open_and_break(plan: WorkerPlan) -> AsyncGenerator[DriverEnd]:
        async with opened(plan) as end:
            yield end
        if plan.worker == 1:
            raise WorkerLostError("gone")

    run.process.open = open_and_break  # type: ignore[method-assign]

    await run.documents(entries(10), run.driver(workers=1), beside=run.crash_after(0.5))

    assert len(run.named(WorkerLost)) == 1
    assert len(run.process.workers) == 2
    run.assert_accounted()


async def test_a_worker_that_cant_be_opened_is_lost_before_it_is_ready(run: Run, autojump_clock: MockClock) -> None:
    """The cluster says no: three times in a row, and the run ends with its words."""

    @asynccontextmanager
    async def refuse(plan: WorkerPlan) -> AsyncGenerator[DriverEnd]:
        if plan.worker:
            raise WorkerLostError("no room")
        yield run.worker(1)

    run.process.open = refuse  # type: ignore[method-assign]
    await run.documents(entries(10), run.driver(workers=1))

    assert run.stop.reason == "engine_failed"
    assert [(one.reason, one.documents) for one in run.named(WorkerLost)] == [("no room", 0)] * 3
    run.assert_accounted()


async def test_a_worker_that_ends_though_there_is_more_to_do_is_lost(run: Run, autojump_clock: MockClock) -> None:
    """Whatever made it end, its documents go to another."""
    run.pretence.gives_up_after = 1

    await run.documents(entries(10), run.driver(workers=1))

    assert [one.reason for one in run.named(WorkerLost)] == ["it ended although there was more to do"]
    assert set(run.outcomes().values()) == {("succeeded", None)}
    run.assert_accounted()


async def test_a_ledger_that_fails_when_a_worker_is_lost_ends_the_run(run: Run, autojump_clock: MockClock) -> None:
    """What there is of its documents can't be read."""

    async def crash() -> None:
        await trio.sleep(0.5)
        assert run.ledger.close_now(1)
        run.worker(1).crash()

    await run.documents(entries(10), run.driver(workers=1), beside=crash)

    assert run.stop.reason == "ledger_failed"
    assert run.tally.counts() == DocumentCounts(10, 0, 0, 0, 10)
    assert run.process.alive == []
