"""Telemetry cancelled at every scheduler step: each event is written or counted as dropped, by every sink."""

import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
import trio

from agent_pipeline.domain.events import DocumentSizeWarning, Event
from agent_pipeline.telemetry import EventsSink, Redactor, RunLogSink, Sink, Telemetry, open_telemetry, parse_line
from agent_pipeline.testing import cancel_at_every_step

EVENTS = 12


@dataclass
class Failing:
    """A sink that loses every third event, takes its time to flush, and counts how often it is closed."""

    name: str = "failing"
    seen: list[Event] = field(default_factory=list)
    flushed: int = 0
    closed: int = 0

    def handle(self, event: Event, at: datetime) -> None:
        """Lose every third."""
        del at
        self.seen.append(event)
        if len(self.seen) % 3 == 0:
            raise OSError("full")

    def flush(self) -> None:
        """Take a moment."""
        time.sleep(0.001)
        self.flushed = len(self.seen)

    def close(self) -> None:
        """Count."""
        self.closed += 1


async def _emit(telemetry: Telemetry, emitted: list[int], begin: int) -> None:
    for number in range(begin, begin + EVENTS // 2):
        telemetry.emit(DocumentSizeWarning("1", number))
        emitted.append(number)
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("threaded", [False, True])
def test_flush_cancelled_at_every_step(tmp_path_factory: pytest.TempPathFactory, *, threaded: bool) -> None:
    """Whenever the run is cut off, the way out is whole: what was handed in is on disk or in the count of losses."""
    complete: list[bool] = []

    async def operation(scope: trio.CancelScope) -> None:
        folder = tmp_path_factory.mktemp("run")
        log, events, failing = folder / "run.log", folder / "events.jsonl", Failing()
        sinks: list[Sink] = [RunLogSink(log, redactor=Redactor()), EventsSink(events, redactor=Redactor()), failing]
        emitted: list[int] = []
        telemetry: Telemetry | None = None
        with scope:
            async with open_telemetry(sinks, threaded=threaded) as telemetry, trio.open_nursery() as nursery:
                nursery.start_soon(_emit, telemetry, emitted, 0)
                nursery.start_soon(_emit, telemetry, emitted, EVENTS)

        assert telemetry is not None
        telemetry.emit(DocumentSizeWarning("1", -1))  # too late: counted, not written
        counts = telemetry.statistics()
        assert counts.emitted == len(emitted) + 1
        for sink in sinks:
            assert counts.written[sink.name] + counts.dropped.get(sink.name, 0) == counts.emitted
        assert _numbers(log) == emitted
        assert len(_lines(events)) == counts.written["events"] == len(emitted)
        assert counts.dropped["failing"] == len(emitted) // 3 + 1
        assert (failing.flushed, failing.closed) == (len(emitted), 1)
        assert "telemetry" not in {thread.name for thread in threading.enumerate()}
        complete.append(len(emitted) == EVENTS)

    assert cancel_at_every_step(operation, clock=None) > EVENTS
    assert set(complete) == {True, False}


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _numbers(path: Path) -> list[int]:
    return [int(parse_line(line).fields["size_bytes"]) for line in _lines(path)]
