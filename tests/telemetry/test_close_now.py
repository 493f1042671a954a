"""The emergency exit: what was emitted is on disk within its bound, whoever is stuck."""

import threading
import time
from pathlib import Path

import pytest
import trio
from tests.telemetry.recorders import EVENT, Recorder, Selective
from tests.telemetry.writers import wait_writers_ended

from agent_pipeline.telemetry import RunLogSink, open_telemetry


@pytest.mark.parametrize("threaded", [True, False])
async def test_what_is_queued_is_written_while_trio_is_blocked(tmp_path: Path, *, threaded: bool) -> None:
    """A watchdog calls it because nothing else moves any more."""
    path = tmp_path / "run.log"
    said: list[bool] = []

    async with open_telemetry([RunLogSink(path)], threaded=threaded) as telemetry:
        for _ in range(1000):
            telemetry.emit(EVENT)
        watchdog = threading.Thread(target=lambda: said.append(telemetry.close_now(10)))
        begun = time.monotonic()
        watchdog.start()
        watchdog.join()  # and with it, Trio's thread is blocked
        took = time.monotonic() - begun
        on_disk = path.read_text().count("\n")

    assert (said, on_disk) == ([True], 1000)
    assert took < 9, "it waited longer than there was to do"
    assert telemetry.dropped == {}


@pytest.mark.parametrize("threaded", [True, False])
async def test_sinks_are_closed_once_and_given_back_later(*, threaded: bool) -> None:
    """The usual way out may still follow, and finds nothing left to do but to detach handlers."""
    sink = Selective()

    async with open_telemetry([sink], threaded=threaded) as telemetry:
        telemetry.emit(EVENT)
        assert telemetry.close_now(5)
        between = list(sink.log)
        assert telemetry.close_now(5)

    assert between == ["start", "close"]
    assert sink.log == ["start", "close", "stop"]
    assert (sink.flushed, telemetry.statistics().written) == (1, {"recorder": 1})


@pytest.mark.parametrize("threaded", [True, False])
async def test_nothing_is_taken_afterwards(*, threaded: bool) -> None:
    """What others still emit is counted, never written beside a file that is closed."""
    sink = Recorder()

    async with open_telemetry([sink], threaded=threaded) as telemetry:
        telemetry.emit(EVENT)
        assert telemetry.close_now(5)
        telemetry.emit(EVENT)

    assert len(sink.events) == 1
    assert telemetry.dropped == {"recorder": 1}
    assert not telemetry.close_now(0)


async def test_stuck_sink_costs_the_bound_and_is_told() -> None:
    """A dead network disk does not keep the process; those before it keep what they had."""
    gate = threading.Event()
    before, stuck, behind = Recorder("before"), Recorder("stuck", gate=gate), Recorder("behind")

    async with open_telemetry([before, stuck, behind], flush_timeout=0.05) as telemetry:
        telemetry.emit(EVENT)
        await trio.to_thread.run_sync(stuck.entered.wait)
        telemetry.emit(EVENT)
        begun = time.monotonic()
        whole = telemetry.close_now(0.1)
        took = time.monotonic() - begun
        dropped = telemetry.dropped
    gate.set()
    await wait_writers_ended()

    assert not whole
    assert 0.1 <= took < 5
    assert dropped == telemetry.dropped == {"before": 1, "stuck": 2, "behind": 2}
    assert "not finished 0.1 s" in telemetry.statistics().errors["stuck"]
    assert behind.events == []


async def test_unthreaded_one_that_somebody_drives_is_waited_for_in_vain() -> None:
    """The third Ctrl-C may come in the middle of a write, on the thread that writes."""
    said: list[bool] = []

    class Interrupted(Recorder):
        def handle(self, event: object, at: object) -> None:  # noqa: ARG002 - the protocol gives them
            if not said:
                said.append(telemetry.close_now(0.05))

    async with open_telemetry([Interrupted()], threaded=False) as telemetry:
        telemetry.emit(EVENT)

    assert said == [False]
    assert telemetry.dropped == {"recorder": 1}


async def test_losses_before_count_too() -> None:
    """Nobody may read `True` as a whole log."""
    async with open_telemetry([Recorder(fail={0})]) as telemetry:
        telemetry.emit(EVENT)

        assert not telemetry.close_now(5)

    assert telemetry.dropped == {"recorder": 1}


async def test_emitters_in_a_hurry_lose_only_what_is_counted(tmp_path: Path) -> None:
    """Between the last event taken and the first one refused nothing falls through."""
    path = tmp_path / "run.log"
    begun = threading.Barrier(5)

    def emit_many() -> None:
        begun.wait()
        for _ in range(2000):
            telemetry.emit(EVENT)

    async with open_telemetry([RunLogSink(path)]) as telemetry:
        threads = [threading.Thread(target=emit_many) for _ in range(4)]
        for thread in threads:
            thread.start()
        begun.wait()
        telemetry.close_now(30)
        for thread in threads:
            thread.join()

    statistics = telemetry.statistics()
    written = path.read_text().count("\n")
    assert statistics.emitted == 8000
    assert (statistics.written, statistics.errors) == ({"run_log": written}, {})
    assert statistics.dropped.get("run_log", 0) == 8000 - written
