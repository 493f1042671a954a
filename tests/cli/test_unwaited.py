"""A terminal that stops reading holds nothing but its own thread."""

import io
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TextIO, cast

import pytest
from rich.console import Console

from agent_pipeline.cli.display import unwaited
from agent_pipeline.cli.display.full import FullDisplay
from agent_pipeline.cli.display.log import LogDisplay
from agent_pipeline.cli.display.plain import PlainDisplay
from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.cli.display.unwaited import Unwaited
from agent_pipeline.cli.output import Channel
from agent_pipeline.domain.events import DocumentFinished, PipelineStarted
from agent_pipeline.telemetry import Redactor

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)


def threads() -> list[threading.Thread]:
    """Return those that write for a display."""
    return [thread for thread in threading.enumerate() if thread.name == "display writer"]


@contextmanager
def stopped_reader() -> Generator[tuple[Channel, int]]:
    """Give a channel into a pipe that is full already, and the end that somebody may read one day."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"." * 4096)
    os.set_blocking(writing, True)
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        yield Channel(stream), reading
    with os.fdopen(reading, "rb") as rest:  # the thread goes on, and ends
        rest.read()
    for thread in threads():
        thread.join(5)
    assert threads() == []


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end need not wait long for a reader of whom it is known that he does not read."""
    monkeypatch.setattr(unwaited, "PATIENCE", 0.05)


def display_of(kind: str, channel: Unwaited) -> PlainDisplay | LogDisplay | FullDisplay:
    """Return a display that writes there."""
    if kind == "plain":
        return PlainDisplay(Progress(), channel, Redactor())
    if kind == "log":
        return LogDisplay(Progress(), channel, Redactor())
    console = Console(file=cast(TextIO, channel), force_terminal=True, width=100)  # it has all that rich uses
    return FullDisplay(Progress(), console, Redactor(), end=channel.end)


@pytest.mark.parametrize("kind", ["plain", "log", "full"])
def test_a_display_goes_on_and_ends_though_nobody_reads(kind: str) -> None:
    """The thread that hands it its events writes the run's files too, and the run ends with it."""
    with stopped_reader() as (channel, _):
        display = display_of(kind, Unwaited(channel))
        display.start(lambda _: None)
        display.handle(PipelineStarted("r", "t", "/run", "1", ["s"], 1, 1, simulator=True, documents=99), AT)
        for number in range(50):
            display.handle(DocumentFinished(str(number), "succeeded", 0, None, None, 1.0), AT)
            display.flush()

        display.close()
        display.stop()

        assert len(threads()) == 1


def test_what_is_read_is_whole_and_in_order() -> None:
    """It is a thread more, and nothing else."""
    stream = io.StringIO()
    channel = Unwaited(Channel(stream))

    for number in range(1000):
        channel.write(f"{number}\n")
        channel.write("")
    channel.end()

    assert stream.getvalue() == "".join(f"{number}\n" for number in range(1000))
    assert threads() == []
    assert channel.write("late") == 4
    assert not stream.closed


def test_of_too_much_the_oldest_is_left_out_and_that_is_said() -> None:
    """Memory has a bound; the newest tells how things stand."""
    with stopped_reader() as (channel, reading):
        slow = Unwaited(channel, mention=lambda count: f"{count} left out\n")
        slow.write("first\n")
        while slow._waiting:  # until the thread has it in hand
            time.sleep(0.001)
        for number in range(3000):
            slow.write(f"{number:999}\n")
        slow.end()
        read = b""
        while not read.endswith(b"2999\n"):
            read += os.read(reading, 65536)

    lines = read.decode().lstrip(".").split("\n")
    assert lines[:2] == ["first", "2000 left out"]
    assert [int(line) for line in lines[2:-1]] == list(range(2000, 3000))


def test_the_stream_of_others_is_left_alone() -> None:
    """A thread that hangs in the interpreter's own stderr would hang its end too; it has a descriptor of its own."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="ascii") as stream:
        channel = Unwaited(Channel(stream))
        channel.write("é\ud800\n")
        channel.end()
        assert not stream.closed
        stream.write("after\n")
    with os.fdopen(reading, "rb") as read:
        assert read.read() == b"\\xe9\\ud800\nafter\n"


def test_a_reader_that_has_gone_is_no_error() -> None:
    """`| head` is no reason to stop a run."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", encoding="utf-8")
    channel = Unwaited(Channel(stream))

    for _ in range(3):
        channel.write("x\n")
    channel.end()

    assert threads() == []
    stream.close()
