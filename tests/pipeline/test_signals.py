"""Signals become a stop of the run in steps; in virtual time, since the steps are told by name."""

import math
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio
from tests.pipeline.world import Run, entries, open_run, plan
from trio.testing import MockClock

from agent_pipeline.domain.document import Document, SourceEntry
from agent_pipeline.domain.events import Event, RunCancelling, RunStopping
from agent_pipeline.errors import BudgetExceededError, DiskFullError
from agent_pipeline.pipeline.admission import Stop
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.signals import EXIT_CODES, stop_on_signals

WORK = 8.0
"""Seconds a document takes."""


async def work(document: Document, context: StageContext) -> Document:
    """Take a while."""
    del context
    await trio.sleep(WORK)
    return document


async def run_with(
    run: Run, signals: Sequence[tuple[float, str]], *, grace: float | None = 10.0, documents: int = 6
) -> None:
    """Run documents, two at once, and send signals at these moments."""
    send, received = trio.open_memory_channel[str](math.inf)

    async def press() -> None:
        for moment, name in signals:
            await trio.sleep_until(moment)
            send.send_nowait(name)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(stop_on_signals, run.stop, received, grace=grace))
        nursery.start_soon(press)
        await run.documents(entries(documents), in_flight=2)
        nursery.cancel_scope.cancel()


def outcomes(run: Run) -> list[str | None]:
    """Return how each document that was admitted ended."""
    return [outcome for outcome, _ in run.outcomes().values()]


async def test_first_signal_lets_documents_in_flight_finish(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What is paid for is kept; nothing new is begun."""
    async with open_run(tmp_path, plan(work)) as run:
        await run_with(run, [(9, "SIGINT")])

        assert trio.current_time() == 2 * WORK
        assert outcomes(run) == ["succeeded"] * 4
        assert run.stop.reason == "signal:SIGINT"
        assert run.events(RunCancelling) == []
        run.assert_accounted()


async def test_grace_that_is_over_cancels_documents_in_flight(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Each gets its one terminal record, exactly when the grace ends."""
    async with open_run(tmp_path, plan(work)) as run:
        await run_with(run, [(9, "SIGTERM")], grace=5)

        assert trio.current_time() == 9 + 5
        assert outcomes(run) == ["succeeded", "succeeded", "cancelled", "cancelled"]
        assert run.events(RunCancelling) == [RunCancelling("deadline:grace")]
        assert run.stop.reason == "signal:SIGTERM"
        run.assert_accounted()


async def test_no_grace_cancels_at_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Zero is what a run without a first step is called."""
    async with open_run(tmp_path, plan(work)) as run:
        await run_with(run, [(9, "SIGTERM")], grace=0)

        assert trio.current_time() == 9
        assert outcomes(run)[2:] == ["cancelled", "cancelled"]


@pytest.mark.parametrize("grace", [5.0, None])
async def test_second_signal_cancels_documents_in_flight(
    autojump_clock: MockClock, tmp_path: Path, grace: float | None
) -> None:
    """However long the grace is; the first signal stays the reason, the second says why now."""
    async with open_run(tmp_path, plan(work)) as run:
        await run_with(run, [(1, "SIGINT"), (3, "SIGTERM")], grace=grace)

        assert trio.current_time() == 3
        assert outcomes(run) == ["cancelled"] * 2
        assert run.stop.reason == "signal:SIGINT"
        assert run.events(RunCancelling) == [RunCancelling("signal:SIGTERM")]
        run.assert_accounted()


async def test_unbounded_grace_waits_for_the_documents(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Null is no bound, as with every timeout."""
    async with open_run(tmp_path, plan(work)) as run:
        await run_with(run, [(0.5, "SIGINT")], grace=None)

        assert trio.current_time() == WORK
        assert outcomes(run) == ["succeeded"] * 2


async def test_signals_that_came_before_anybody_listened_count(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A run that was stopped while its files were opened begins no document."""
    async with open_run(tmp_path, plan(work)) as run:
        send, received = trio.open_memory_channel[str](math.inf)
        send.send_nowait("SIGHUP")
        send.send_nowait("SIGTERM")
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(stop_on_signals, run.stop, received, grace=10))
            await run.documents(entries(3))

        assert (run.tally.taken, run.stop.reason) == (0, "signal:SIGHUP")
        assert trio.current_time() == 0


def _words(events: Sequence[Event]) -> list[tuple[str, str | None]]:
    return [(event.detail, event.further) for event in events if isinstance(event, RunStopping)]


@pytest.mark.parametrize(
    ("name", "grace", "words"),
    [
        ("SIGINT", 10, ("those in flight may finish within 10 s", "Ctrl-C again cancels")),
        ("SIGTERM", 0.5, ("those in flight may finish within 0.5 s", "another signal cancels")),
        ("SIGHUP", None, ("those in flight may finish", "another signal cancels")),
    ],
)
async def test_first_signal_says_what_the_next_will_do(
    autojump_clock: MockClock, tmp_path: Path, name: str, grace: float | None, words: tuple[str, str]
) -> None:
    """Whoever presses Ctrl-C and sees nothing happen presses it again."""
    async with open_run(tmp_path, plan(work)) as run:
        await run_with(run, [(1, name)], grace=grace)

        detail, again = words
        assert _words(run.world.events) == [
            (f"{name} received; no new documents, {detail}", f"{again} them, a third leaves at once")
        ]


async def test_signal_is_answered_where_the_run_was_stopping_already(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The budget stays the reason and the exit code; the drain gets its bound, and the user an answer."""
    async with open_run(tmp_path, plan(work)) as run:
        run.stop.request_for(BudgetExceededError("spent", dimension="tokens"))
        await trio.lowlevel.checkpoint()
        send, received = trio.open_memory_channel[str](math.inf)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(stop_on_signals, run.stop, received, grace=5))
            send.send_nowait("SIGINT")

        assert trio.current_time() == 5
        assert run.stop.reason == "budget:tokens"
        assert [event.reason for event in run.events(RunStopping)] == ["budget:tokens", "signal:SIGINT"]
        assert run.stop.cancelling.is_set()


async def test_signal_while_documents_are_being_cancelled_says_so(autojump_clock: MockClock) -> None:
    """There is nothing to wait for any more; only the third leaves."""
    events: list[Event] = []
    stop = Stop(events.append, trio.CancelScope())
    stop.request("ledger_failed", "disk full", cancel=True)
    send, received = trio.open_memory_channel[str](math.inf)
    send.send_nowait("SIGINT")

    await stop_on_signals(stop, received, grace=5)

    assert _words(events)[-1] == (
        "SIGINT received; documents in flight are being cancelled",
        "a third signal leaves at once",
    )
    assert len([event for event in events if isinstance(event, RunCancelling)]) == 1


async def test_run_timeout_is_told_when_it_runs_out(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Not when all has ended: until then nobody would know that anything was cancelled."""
    told: list[float] = []

    async def stubborn(document: Document, context: StageContext) -> Document:
        del context
        try:
            await trio.sleep(1000)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(20)
                told.append(len(run.events(RunCancelling)))
        return document

    async with open_run(tmp_path, plan(stubborn)) as run:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.stop.watch_limit)
            run.stop.limit(4)
            await run.documents(entries(1))

        assert trio.current_time() == 24
        assert told == [1]
        (stopping,) = run.events(RunStopping)
        assert (stopping.reason, stopping.detail) == ("deadline:run", "the run's timeout of 4 s ran out")
        assert run.events(RunCancelling) == [RunCancelling("deadline:run")]
        run.assert_accounted()


async def test_full_disk_cancels_nobody(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What is in flight has been paid for, and may still be kept in the ledger."""
    async with open_run(tmp_path, plan(work)) as run:
        run.stop.request_for(DiskFullError("no room"))

        assert (run.stop.reason, run.stop.cancelling.is_set()) == ("disk_full", False)


async def test_source_that_says_nothing_does_not_delay_the_drain(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Standard input may stay silent for hours."""

    async def source() -> AsyncGenerator[SourceEntry]:
        for one in entries(1):
            yield one
        await trio.sleep_forever()

    async with open_run(tmp_path, plan(work)) as run:
        send, received = trio.open_memory_channel[str](math.inf)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(stop_on_signals, run.stop, received, grace=None))
            send.send_nowait("SIGINT")
            await run.documents(source())
            nursery.cancel_scope.cancel()

        assert trio.current_time() <= WORK


def test_exit_codes_are_those_of_the_shell() -> None:
    """128 and the signal's number."""
    assert EXIT_CODES == {"signal:SIGHUP": 129, "signal:SIGINT": 130, "signal:SIGTERM": 143}
