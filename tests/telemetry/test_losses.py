"""A full disk costs lines, never the run; and what telemetry opens, it gives back."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from tests.telemetry.attempts import ATTEMPT, MOMENT

from agent_pipeline.domain.events import AttemptFinished, Event, Review, SdkLogRecord, SdkTraceItem
from agent_pipeline.telemetry import (
    EventsSink,
    HttpLogSink,
    OpenFile,
    ReviewsSink,
    RunLogSink,
    SdkLogCapture,
    SdkTraceSink,
    Sink,
    continue_file,
    create_file,
    open_telemetry,
)

EVENTS: tuple[Event, ...] = (
    AttemptFinished(ATTEMPT),
    Review("1", "review", 1, approved=True, issues="", suggestions=""),
    SdkTraceItem("{}"),
    SdkLogRecord(MOMENT.timestamp(), "DEBUG", "openai.agents", "x"),
)


def file_sinks(folder: Path, open_with: Callable[[Path], OpenFile]) -> list[Sink]:
    """Return every sink that has a file."""
    return [
        RunLogSink(folder / "run.log", open_with=open_with),
        EventsSink(folder / "events.jsonl", open_with=open_with),
        ReviewsSink(folder / "reviews.jsonl", open_with=open_with),
        SdkTraceSink(folder / "traces.jsonl", open_with=open_with),
        SdkLogCapture(folder / "sdk.log", open_with=open_with),
    ]


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize("full", ["run.log", "events.jsonl", "reviews.jsonl", "traces.jsonl", "sdk.log"])
async def test_full_disk_under_one_sink_harms_that_one_alone(tmp_path: Path, full: str, *, threaded: bool) -> None:
    """Each event it should have got is counted, and the others have theirs."""

    def open_with(path: Path) -> OpenFile:
        return OpenFile(os.open("/dev/full", os.O_WRONLY)) if path.name == full else create_file(path)

    sinks = file_sinks(tmp_path, open_with)
    async with open_telemetry(sinks, threaded=threaded) as telemetry:
        for _ in range(100):
            for event in EVENTS:
                telemetry.emit(event)

    wanted = {"run_log": 200, "events": 200, "reviews": 100, "sdk_trace": 100, "sdk_log": 100}
    hit = dict(zip(["run.log", "events.jsonl", "reviews.jsonl", "traces.jsonl", "sdk.log"], wanted, strict=True))[full]
    statistics = telemetry.statistics()
    assert statistics.dropped == {hit: wanted[hit]}
    assert statistics.written == {**wanted, hit: 0}
    assert "No space left on device" in statistics.errors[hit]
    assert _lines(tmp_path) == sorted(count for name, count in wanted.items() if name != hit)


def _lines(folder: Path) -> list[int]:
    return sorted(path.read_text().count("\n") for path in folder.iterdir())


def _held() -> tuple[int, int, list[list[logging.Handler]]]:
    """Return threads, descriptors, and the handlers of the loggers that sinks touch."""
    loggers = [logging.getLogger(name) for name in (None, "openai.agents", "openai.agents.http")]
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), [list(one.handlers) for one in loggers]


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_hundred_sessions_leave_nothing_behind(tmp_path: Path, *, threaded: bool) -> None:
    """Threads, descriptors and handlers stay as they were, however a session ended."""
    before = _held()

    for number in range(100):
        sinks = [*file_sinks(tmp_path, continue_file), HttpLogSink()]
        with trio.CancelScope() as scope:
            async with open_telemetry(sinks, threaded=threaded) as telemetry:
                for event in EVENTS:
                    telemetry.emit(event)
                if number % 4 == 1:
                    assert telemetry.close_now(10)
                if number % 4 == 2:
                    scope.cancel()
                    await trio.lowlevel.checkpoint()

    assert _held() == before
    assert (tmp_path / "events.jsonl").read_text().count("\n") == 200
