"""Events reach every sink in order, losses are counted exactly, and the way out is bounded."""

import itertools
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from tests.telemetry.recorders import EVENT, Recorder, Selective
from tests.telemetry.writers import wait_writers_ended

from agent_pipeline.domain.events import DocumentSizeWarning, Event, Rework, StageStarted
from agent_pipeline.domain.ports import Emit
from agent_pipeline.telemetry import RunLogSink, open_telemetry, parse_line


async def test_events_arrive_in_order_with_the_time_of_the_emit() -> None:
    """The log is the run as it happened."""
    sinks = [Recorder("a"), Recorder("b")]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ticks = itertools.count()
    events = [DocumentSizeWarning("1", number) for number in range(1000)]

    async with open_telemetry(sinks, clock=lambda: start + timedelta(seconds=next(ticks))) as telemetry:
        for event in events:
            telemetry.emit(event)

    expected = [(event, start + timedelta(seconds=number)) for number, event in enumerate(events)]
    assert sinks[0].events == sinks[1].events == expected
    assert sinks[0].threads == sinks[1].threads != {threading.get_ident()}
    statistics = telemetry.statistics()
    assert (statistics.emitted, statistics.written) == (1000, {"a": 1000, "b": 1000})
    assert (statistics.dropped, statistics.errors) == ({}, {})


async def test_an_event_may_have_happened_at_another_time() -> None:
    """In another process, which knows when: `events.jsonl` tells that, not when it was heard of."""
    sink = Recorder()
    now, before = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)

    async with open_telemetry([sink], clock=lambda: now, threaded=False) as telemetry:
        telemetry.emit_at(EVENT, before)
        telemetry.emit_at(EVENT, None)

    assert sink.events == [(EVENT, before), (EVENT, now)]


async def test_files_are_current_while_the_run_goes_on() -> None:
    """Who follows the log sees what happens, not what happened."""
    sink = Recorder()

    async with open_telemetry([sink]) as telemetry:
        telemetry.emit(EVENT)
        assert await trio.to_thread.run_sync(sink.has_flushed.wait, 5)
        assert sink.flushed == 1


async def test_nothing_is_lost_by_emitting_from_many_threads() -> None:
    """Hooks and handlers run wherever their library likes."""
    sink = Recorder()

    def emit_many(number: int) -> None:
        for position in range(500):
            telemetry.emit(Rework(str(number), "review", "transform", position))

    async with open_telemetry([sink]) as telemetry, trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(trio.to_thread.run_sync, emit_many, number)

    assert telemetry.dropped == {}
    assert len(sink.events) == 4000
    for number in range(8):
        own = [
            event.cycle for event, _ in sink.events if isinstance(event, Rework) and event.document_id == str(number)
        ]
        assert own == list(range(500))


async def test_full_queue_counts_exactly_what_it_loses() -> None:
    """`dropped` is what `verify` compares with; it may be neither more nor less."""
    gate = threading.Event()
    blocked, choosy = Recorder("blocked", gate=gate), Selective("choosy")

    async with open_telemetry([blocked, choosy], capacity=10) as telemetry:
        telemetry.emit(EVENT)
        await trio.to_thread.run_sync(blocked.entered.wait)
        for _ in range(15):
            telemetry.emit(EVENT)
        for _ in range(3):
            telemetry.emit(Rework("1", "a", "b", 1))
        during = telemetry.dropped
        gate.set()

    assert during == {"blocked": 8, "choosy": 5}
    assert telemetry.dropped == during
    assert len(blocked.events) == len(choosy.events) == 11
    assert telemetry.statistics().emitted == 19


@pytest.mark.parametrize("threaded", [True, False])
async def test_failing_sink_loses_its_own_event_only(*, threaded: bool) -> None:
    """The others know nothing of it, and the run neither."""
    bad, good = Recorder("bad", fail={1, 3}), Recorder("good")

    async with open_telemetry([bad, good], threaded=threaded) as telemetry:
        for _ in range(6):
            telemetry.emit(EVENT)

    assert (len(bad.events), len(good.events)) == (4, 6)
    assert telemetry.dropped == {"bad": 2}
    assert telemetry.statistics().written == {"bad": 4, "good": 6}
    assert telemetry.statistics().errors == {"bad": "RuntimeError: no"}


async def test_failing_flush_loses_what_it_says_or_everything() -> None:
    """A disk that is full takes part of a batch; of any other failure nothing is known."""
    partly, wholly = Recorder("partly", lose=2), Recorder("wholly", flush_error=OSError("gone"))

    async with open_telemetry([partly, wholly]) as telemetry:
        for _ in range(5):
            telemetry.emit(EVENT)

    assert telemetry.dropped == {"partly": 2, "wholly": 5}
    assert telemetry.statistics().written == {"partly": 3, "wholly": 0}


async def test_failing_clock_is_counted() -> None:
    """`emit` never raises, whatever it is built of."""
    sink = Recorder()

    def broken() -> datetime:
        raise OSError

    async with open_telemetry([sink], clock=broken) as telemetry:
        telemetry.emit(EVENT)

    assert telemetry.dropped == {"recorder": 1}


async def test_stuck_sink_does_not_hold_the_exit() -> None:
    """A dead network disk costs the flush timeout and is told; the sinks before it keep what they had."""
    gate = threading.Event()
    before, stuck, behind = Recorder("before"), Recorder("stuck", gate=gate), Selective("behind")

    with trio.fail_after(5):
        async with open_telemetry([before, stuck, behind], flush_timeout=0.1) as telemetry:
            for _ in range(7):
                telemetry.emit(EVENT)
            await trio.to_thread.run_sync(stuck.entered.wait)
            telemetry.emit(EVENT)
    dropped = telemetry.dropped
    gate.set()

    assert dropped == {"before": 8 - before.flushed, "stuck": 8, "behind": 8}
    assert before.flushed > 0
    assert behind.log == ["start", "stop"]
    assert "not finished" in telemetry.statistics().errors["stuck"]
    await wait_writers_ended()
    assert telemetry.dropped == dropped
    assert behind.events == []


@pytest.mark.parametrize("threaded", [True, False])
async def test_cancelled_run_is_flushed_and_closed(*, threaded: bool) -> None:
    """Ctrl-C must not cost the last lines."""
    sink = Selective()

    with trio.CancelScope() as scope:
        async with open_telemetry([sink], threaded=threaded) as telemetry:
            scope.cancel()
            telemetry.emit(EVENT)
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert (sink.flushed, sink.log) == (1, ["start", "close", "stop"])


async def test_error_passes_through_and_everything_is_written() -> None:
    """The error is what the run is about, not the log."""
    sink = Selective()

    async def fail() -> None:
        async with open_telemetry([sink]) as telemetry:
            telemetry.emit(EVENT)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()

    assert (sink.flushed, sink.log) == (1, ["start", "close", "stop"])


async def test_sink_that_can_not_start_stops_those_before_it() -> None:
    """A run without its log is refused before it begins, and leaves nothing behind."""

    class Unable(Selective):
        def start(self, _emit: Emit, /) -> None:
            raise PermissionError("read-only")

    first, last = Selective("first"), Selective("last")

    with pytest.raises(PermissionError):
        async with open_telemetry([first, Unable("unable"), last]):
            pytest.fail("must not be entered")

    assert (first.log, last.log) == (["start", "stop", "close"], [])


async def test_two_sinks_of_one_name_are_refused() -> None:
    """Their drops could not be told apart."""
    with pytest.raises(ValueError, match="different names"):
        async with open_telemetry([Recorder(), Recorder()]):
            pytest.fail("must not be entered")


async def test_others_can_not_hold_the_exit_by_emitting() -> None:
    """Once the run leaves, what threads that outlive it emit is counted, not written."""

    class Answered(Recorder):
        def handle(self, event: Event, at: datetime) -> None:
            super().handle(event, at)
            other = threading.Thread(target=telemetry.emit, args=(EVENT,))
            other.start()
            other.join()

    sink = Answered()

    with trio.fail_after(5):
        async with open_telemetry([sink], flush_timeout=4) as telemetry:
            telemetry.emit(EVENT)

    statistics = telemetry.statistics()
    assert statistics.errors == {}
    assert statistics.written["recorder"] + 1 == statistics.emitted
    assert statistics.dropped == {"recorder": 1}


@pytest.mark.parametrize("threaded", [True, False])
async def test_late_event_is_counted(*, threaded: bool) -> None:
    """A thread that outlives the run must not crash, and nothing may vanish."""
    sink = Recorder()
    async with open_telemetry([sink], threaded=threaded) as telemetry:
        pass

    telemetry.emit(EVENT)

    assert telemetry.dropped == {"recorder": 1}
    assert telemetry.statistics().emitted == 1


async def test_second_run_starts_clean() -> None:
    """Notebooks run many pipelines in one process."""
    before = set(threading.enumerate())
    for _ in range(3):
        sink = Recorder()
        async with open_telemetry([sink]) as telemetry:
            telemetry.emit(EVENT)
        assert telemetry.statistics().written == {"recorder": 1}

    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("threaded", [True, False])
async def test_sink_may_emit_itself(*, threaded: bool) -> None:
    """The HTTP log's records come back through the queue, on the writer's own thread, also during the last flush."""

    class Echo(Recorder):
        def handle(self, event: Event, at: datetime) -> None:
            super().handle(event, at)
            if isinstance(event, DocumentSizeWarning):
                telemetry.emit(Rework(event.document_id, "a", "b", 1))

    sink = Echo()

    async with open_telemetry([sink], threaded=threaded) as telemetry:
        for _ in range(300):
            telemetry.emit(EVENT)

    assert len(sink.events) == 600
    assert telemetry.dropped == {}


async def test_virtual_time_writes_at_once(tmp_path: Path) -> None:
    """A thread would be outrun by an autojumping clock."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    path = tmp_path / "run.log"
    seen: list[int] = []

    def now() -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=trio.current_time())

    async def main() -> None:
        async with open_telemetry([RunLogSink(path)], threaded=False, clock=now) as telemetry:
            for cycle in range(3):
                await trio.sleep(60)
                telemetry.emit(StageStarted("1", "route", cycle))
                seen.append(len(path.read_text().splitlines()))

    threads = threading.active_count()
    await trio.to_thread.run_sync(lambda: trio.run(main, clock=clock))

    assert seen == [1, 2, 3]
    assert [parse_line(line).at.minute for line in path.read_text().splitlines()] == [1, 2, 3]
    assert threading.active_count() <= threads + 1


async def test_inline_from_many_threads_loses_nothing() -> None:
    """Without a thread of its own, whoever emits drives the sinks, one at a time."""
    sink = Recorder()

    def emit_many() -> None:
        for _ in range(200):
            telemetry.emit(EVENT)

    async with open_telemetry([sink], threaded=False) as telemetry, trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(trio.to_thread.run_sync, emit_many)

    assert len(sink.events) == 1600
    assert sink.flushed == 1600
