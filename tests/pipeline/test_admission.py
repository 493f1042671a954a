"""Documents into the nursery: places, the source, and what stops a run."""

import gc
import weakref
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pipeline.world import Run, StageFunction, entries, entry, open_run, plan
from trio.testing import MockClock

from agent_pipeline.domain.document import Document, SourceEntry
from agent_pipeline.domain.events import DocumentFinished, DocumentStarted, Event, RunCancelling, RunStopping
from agent_pipeline.errors import (
    AgentPipelineError,
    BudgetExceededError,
    CredentialsRejectedError,
    InputError,
)
from agent_pipeline.pipeline.admission import SHOWN_FAILURES, Stop, Tally
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.ending import Ending
from agent_pipeline.testing import cancel_at_every_step


async def work(document: Document, context: StageContext) -> Document:
    """Take a second."""
    await trio.sleep(1)
    return document


async def fail(document: Document, context: StageContext) -> Document:
    """Fail after a second."""
    await trio.sleep(1)
    msg = f"document {document.id}"
    raise ValueError(msg)


@given(
    in_flight=st.integers(1, 6),
    delays=st.lists(st.sampled_from([0.0, 0.1, 1.0, 5.0]), min_size=1, max_size=15),
)
@settings(max_examples=15)
def test_never_more_than_in_flight_and_no_entry_too_early(
    tmp_path_factory: pytest.TempPathFactory, in_flight: int, delays: list[float]
) -> None:
    """However long each takes: the source is asked for one only when there is a place for it."""
    active, most = 0, 0

    async def stage(document: Document, context: StageContext) -> Document:
        nonlocal active, most
        active += 1
        most = max(most, active)
        assert run.pulled <= len(run.events(DocumentFinished)) + in_flight
        await trio.sleep(delays[int(document.id) - 1])
        active -= 1
        return document

    run: Run

    async def main() -> None:
        nonlocal run
        async with open_run(tmp_path_factory.mktemp("run"), plan(stage)) as run:
            await run.documents(entries(len(delays)), in_flight=in_flight)
            assert [event.document_id for event in run.events(DocumentStarted)] == [
                str(number) for number in range(1, len(delays) + 1)
            ]
            run.assert_accounted()

    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert most <= in_flight


async def test_documents_run_at_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Ten places, ten seconds of work, one second."""
    async with open_run(tmp_path, plan(work)) as run:
        await run.documents(entries(10), in_flight=10)

        assert trio.current_time() == 1
        assert run.tally.counts().succeeded == 10


async def test_failing_documents_stop_nobody(autojump_clock: MockClock, tmp_path: Path) -> None:
    """All are worked on, all are counted, in source order."""
    async with open_run(tmp_path, plan(fail)) as run:
        await run.documents(entries(5), in_flight=2)

        assert run.tally.counts().failed == 5
        assert run.tally.failure_codes == {"stage_failed": 5}
        assert [failure.document_id for failure in run.tally.shown_failures()] == list("12345")
        assert (run.stop.reason, run.stop.error) == (None, None)
        run.assert_accounted()


def test_tally_shows_the_last_failures_only() -> None:
    """The ledger has them all; a result must not grow with the number of documents."""
    tally = Tally()
    for position in range(SHOWN_FAILURES + 50, 0, -1):
        ending = Ending(position, str(position), None, outcome="failed", error=AgentPipelineError("x"))
        tally.count(ending)

    shown = [int(failure.document_id) for failure in tally.shown_failures()]
    assert shown == list(range(1, SHOWN_FAILURES + 1))
    assert tally.counts().failed == SHOWN_FAILURES + 50


# --- stopping ----------------------------------------------------------------------------------------------------


def _failing_at(number: int, error: Exception) -> StageFunction:
    async def stage(document: Document, context: StageContext) -> Document:
        await trio.sleep(1)
        if document.id == str(number):
            raise error
        await trio.sleep(1)
        return document

    return stage


async def test_budget_stop_cancels_nobody_and_admits_nobody(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What is in flight may still fit."""
    error = BudgetExceededError("spent", dimension="tokens")
    async with open_run(tmp_path, plan(_failing_at(2, error))) as run:
        await run.documents(entries(50), in_flight=4)

        outcomes = [outcome for outcome, _ in run.outcomes().values()]
        assert outcomes == ["succeeded", "cancelled", "succeeded", "succeeded"]
        assert (run.stop.reason, run.stop.error) == ("budget:tokens", error)
        assert run.pulled == 4
        assert not run.stop.scope.cancelled_caught
        run.assert_accounted()


async def test_error_of_every_document_cancels_those_in_flight(autojump_clock: MockClock, tmp_path: Path) -> None:
    """With a rejected key the rest would fail alike, and cost time."""
    error = CredentialsRejectedError("the key is wrong", status_code=401)
    async with open_run(tmp_path, plan(_failing_at(2, error))) as run:
        await run.documents(entries(50), in_flight=4)

        assert trio.current_time() == 1
        codes = run.outcomes()
        assert [outcome for outcome, _ in codes.values()] == ["cancelled"] * 4
        assert codes["2"] == ("cancelled", "credentials_rejected")
        assert (run.stop.reason, run.stop.error) == ("credentials_rejected", error)
        assert run.stop.scope.cancelled_caught
        run.assert_accounted()


async def test_first_reason_stays_and_is_told_once(autojump_clock: MockClock) -> None:
    """What follows is a consequence; a later, harder stop still cancels."""
    events: list[Event] = []
    stop = Stop(events.append, trio.CancelScope())
    with stop.scope:
        stop.request_for(BudgetExceededError("spent", dimension="usd"))
        await trio.lowlevel.checkpoint()
        stop.request("signal:SIGINT", "SIGINT received", cancel=True)
        await trio.sleep_forever()

    assert stop.reason == "budget:usd"
    assert events == [RunStopping("budget:usd", "spent"), RunCancelling("signal:SIGINT")]
    assert stop.scope.cancelled_caught


async def test_budget_stop_does_not_wait_for_the_source(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A pipe that says nothing more must not keep the run open."""
    error = BudgetExceededError("spent", dimension="tokens")

    async def source() -> AsyncGenerator[SourceEntry]:
        try:
            yield entry(1)
            await trio.sleep(10_000)
        finally:
            closed.append(trio.current_time())

    closed: list[float] = []
    async with open_run(tmp_path, plan(_failing_at(1, error))) as run:
        await run.documents(source())

        assert closed == [1]
        assert run.stop.reason == "budget:tokens"
        run.assert_accounted()


async def test_entry_that_comes_with_the_stop_is_not_admitted(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Neither worked on nor counted: a resumed run takes it."""

    async def source() -> AsyncGenerator[SourceEntry]:
        yield entry(1)
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        yield entry(2)

    error = BudgetExceededError("spent", dimension="tokens")
    async with open_run(tmp_path, plan(_failing_at(1, error))) as run:
        await run.documents(source())

        assert list(run.outcomes()) == ["1"]
        run.assert_accounted()


async def test_source_that_breaks_lets_the_admitted_go_on(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What was read before was fine."""

    def broken() -> Iterator[SourceEntry]:
        yield from entries(3)
        msg = "in.jsonl: row 4 has the id of row 2"
        raise InputError(msg)

    async with open_run(tmp_path, plan(work)) as run:
        await run.documents(broken())

        assert run.tally.counts().succeeded == 3
        assert run.stop.reason == "input_invalid"
        run.assert_accounted()


async def test_source_with_a_bug_ends_the_run_in_order(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It gets out as it is, after every admitted document has its record."""

    def broken() -> Iterator[SourceEntry]:
        yield from entries(3)
        raise KeyError("x")

    async with open_run(tmp_path, plan(work)) as run:
        with pytest.raises(BaseExceptionGroup) as caught:
            await run.documents(broken(), in_flight=10)

        assert caught.group_contains(KeyError)
        run.assert_accounted()


async def test_duplicate_id_stops_the_run(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Ids are what ledger and artifacts go by: with two alike neither could be told from the other."""
    async with open_run(tmp_path, plan(work)) as run:
        await run.documents([entry(1), entry(2, id="1"), entry(3)], in_flight=1)

        assert run.stop.reason == "duplicate_id"
        assert run.outcomes() == {"1": ("succeeded", None)}


@pytest.mark.parametrize("pages", [20, 30, 45])
async def test_ledger_that_fails_stops_the_run(autojump_clock: MockClock, tmp_path: Path, pages: int) -> None:
    """Nothing more may be called done: no artifact after it, no document goes on."""
    async with open_run(tmp_path, plan(work), pages=pages) as run:
        await run.documents(entries(500), in_flight=5)

        assert run.stop.reason == "ledger_failed"
        assert run.pulled < 500
        counts = run.tally.counts()
        assert counts.total == counts.succeeded + counts.cancelled
        done = run.rows("select count(*) from documents where outcome = 'succeeded'")
        assert done == [(counts.succeeded,)]
        run.world.assert_idle()


# --- cancellation ------------------------------------------------------------------------------------------------


def _cancel_at_steps(factory: pytest.TempPathFactory, lane: str, documents: int, stride: int) -> int:
    async def stage(document: Document, context: StageContext) -> Document:
        if lane == "agent":
            return document.with_text(await context.run_agent("writer", document.text))
        return document.with_text(await context.ask(document.text, role="writer"))

    async def work(scope: trio.CancelScope) -> None:
        async with open_run(factory.mktemp("run"), plan(stage), latency=1) as run:
            run.stop.scope = scope
            await run.documents(entries(documents), in_flight=2)
            run.assert_accounted()
            rows = run.rows("select outcome, artifact_path from documents")
            assert all((outcome == "succeeded") == (path is not None) for outcome, path in rows)
            assert len(run.artifacts) == sum(outcome == "succeeded" for outcome, _ in rows)

    return cancel_at_every_step(work, stride=stride)


@pytest.mark.parametrize("lane", ["agent", "ask"])
def test_run_cancelled_at_many_steps(tmp_path_factory: pytest.TempPathFactory, lane: str) -> None:
    """One terminal record for every document begun, one artifact for every one that succeeded."""
    assert _cancel_at_steps(tmp_path_factory, lane, documents=3, stride=8) > 3


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["agent", "ask"])
def test_run_cancelled_at_every_step(tmp_path_factory: pytest.TempPathFactory, lane: str) -> None:
    """The same without leaving one out."""
    assert _cancel_at_steps(tmp_path_factory, lane, documents=4, stride=1) > 40


async def test_run_cancelled_while_nothing_was_admitted(autojump_clock: MockClock, tmp_path: Path) -> None:
    """No place is lost, no row is written."""
    async with open_run(tmp_path, plan(work)) as run:
        run.stop.scope.cancel()
        await run.documents(entries(3))

        assert (run.outcomes(), run.tally.taken) == ({}, 0)


async def test_failure_during_cancellation_does_not_crash_the_run(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A stage whose cleanup fails while the run is being cancelled: a cancelled document, not a bug of ours."""

    async def clumsy(document: Document, context: StageContext) -> Document:
        async def child() -> None:
            try:
                await trio.sleep(100)
            finally:
                msg = "while cleaning up"
                raise ValueError(msg)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(trio.sleep_forever)
        return document

    async with open_run(tmp_path, plan(clumsy)) as run:
        run.stop.scope.deadline = 10
        await run.documents(entries(3))

        assert {outcome for outcome, _ in run.outcomes().values()} == {"cancelled"}
        run.assert_accounted()


# --- size --------------------------------------------------------------------------------------------------------


async def _most_alive(path: Path, count: int, in_flight: int) -> int:
    alive: weakref.WeakSet[str] = weakref.WeakSet()
    most = 0

    class Text(str):
        """A text that can be counted."""

        __slots__ = ("__weakref__",)

    def source() -> Iterator[SourceEntry]:
        for number in range(1, count + 1):
            text = Text(f"text {number}")
            alive.add(text)
            yield entry(number, text)

    async def stage(document: Document, context: StageContext) -> Document:
        nonlocal most
        await trio.sleep(1)
        if int(document.id) % (count // 4) == 0:
            gc.collect()
            most = max(most, len(alive))
        return document.with_text("short")

    async with open_run(path, plan(stage)) as run:
        await run.documents(source(), in_flight=in_flight)
        assert run.tally.counts().succeeded == count
        run.world.events.clear()
    return most


async def test_documents_do_not_pile_up(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Of a long source only what is in flight is in memory."""
    assert await _most_alive(tmp_path, 200, 5) <= 5 + 2


@pytest.mark.slow
async def test_ten_thousand_documents_do_not_pile_up(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The same at the size that was asked for."""
    assert await _most_alive(tmp_path, 10_000, 50) <= 50 + 2
