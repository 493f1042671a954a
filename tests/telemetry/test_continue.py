"""A file is gone on with where its last whole line ends, and what was cut off is told."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.domain.events import DocumentSizeWarning, Event, FileRepaired
from agent_pipeline.telemetry import (
    EventsSink,
    HttpLogSink,
    LinesLostError,
    OpenFile,
    ReviewsSink,
    RunLogSink,
    SdkLogCapture,
    SdkTraceSink,
    Sink,
    continue_file,
    open_telemetry,
    parse_line,
)
from agent_pipeline.telemetry import opening as opening_module
from agent_pipeline.telemetry.line_file import LineFile


def continued(path: Path, *lines: str) -> OpenFile:
    """Open a file, add lines to it and close it."""
    opened = continue_file(path)
    file = LineFile(opened)
    for line in lines:
        file.add(line)
    file.close()
    return opened


def descriptors() -> set[Path]:
    """Return what this process has open."""
    return set(Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (b"", b""),
        (b"one\n", b"one\n"),
        (b"one\ntwo\n", b"one\ntwo\n"),
        (b"one\ntw", b"one\n"),
        (b"\n", b"\n"),
        (b"no newline at all", b""),
        (b"one\n\0\0\0\0", b"one\n"),
        (b"one\n\0\0\0\n", b"one\n"),
        (b"one\n\0\0two\n", b"one\n"),
        (b"one\n\0\0\n\0two\nhalf", b"one\n"),
        (b"\0\0\0\0", b""),
        (b"\0\n", b""),
        (b"\0\nlast\n", b"\0\nlast\n"),
    ],
)
def test_torn_end_is_cut_off(tmp_path: Path, before: bytes, kept: bytes) -> None:
    """What is added must stand on a line of its own; what a power loss leaves is no line."""
    path = tmp_path / "x.log"
    path.write_bytes(before)

    opened = continued(path, "next")

    assert (opened.size, opened.removed_bytes) == (len(kept), len(before) - len(kept))
    assert path.read_bytes() == kept + b"next\n"


@given(
    lines=st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"").replace(b"\0", b"")), max_size=6),
    torn=st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")),
    block=st.integers(1, 12),
)
def test_every_whole_line_stays_however_it_is_read(lines: list[bytes], torn: bytes, block: int) -> None:
    """Lines and blocks end where they like."""
    descriptor = os.memfd_create("log")
    whole = b"".join(line + b"\n" for line in lines)
    os.write(descriptor, whole + torn)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening_module, "_BLOCK", block)
        found = opening_module._end_of_last_line(descriptor, len(whole + torn))
    os.close(descriptor)

    assert found == len(whole)


def test_only_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run must not read gigabytes of log first."""
    path = tmp_path / "x.log"
    path.write_bytes(b"a line\n" * 1_000_000 + b"half a l")
    read: list[int] = []
    pread = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        read.append(size)
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", counted)

    assert continued(path).removed_bytes == 8
    assert sum(read) < 300_000


def test_cut_is_on_disk_before_anything_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the next power loss, the torn line must not be back in front of whole ones."""
    calls: list[str] = []

    def noted(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object) -> object:
            calls.append(name)
            return real(*given)

        return call

    for name in ("ftruncate", "fsync", "write"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    (tmp_path / "x").write_bytes(b"torn")

    continued(tmp_path / "x", "next")

    assert calls == ["ftruncate", "fsync", "write"]


def test_missing_file_is_made_private(tmp_path: Path) -> None:
    """A run may have been killed before its last sink was started."""
    path = tmp_path / "a" / "b" / "x.log"
    before = os.umask(0)

    try:
        opened = continued(path, "one")
    finally:
        os.umask(before)

    assert opened[1:] == (0, 0)
    assert path.read_text() == "one\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]


def _link(path: Path) -> None:
    (path.parent / "target").write_text("theirs")
    path.symlink_to("target")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_link, "a symbolic link, not a regular file"),
        (os.mkfifo, "not a regular file"),
        (Path.mkdir, "Is a directory"),
    ],
    ids=["link", "pipe", "folder"],
)
def test_what_is_no_regular_file_is_refused(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    """Nothing somebody put there is written to, or waited for."""
    path = tmp_path / "x.log"
    make(path)
    open_before = descriptors()

    with pytest.raises(OSError, match=words) as caught:
        continue_file(path)

    assert str(path) in str(caught.value)
    assert descriptors() == open_before
    assert [one.read_text() for one in tmp_path.glob("target")] in ([], ["theirs"])


def test_file_that_can_not_be_cut_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run does not begin, and holds nothing."""

    def refuse(_descriptor: int, _size: int) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "ftruncate", refuse)
    (tmp_path / "x").write_text("half")
    open_before = descriptors()

    with pytest.raises(OSError, match="not permitted"):
        continue_file(tmp_path / "x")

    assert descriptors() == open_before


def test_lines_taken_back_are_only_the_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the second session must not cost lines of the first."""
    path = tmp_path / "x"
    path.write_text("of the first\n")
    file = LineFile(continue_file(path))
    write = os.write

    def fill_up(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", full)
        return write(descriptor, bytes(data)[:9])

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", fill_up)
    file.add("whole")
    file.add("torn")
    with pytest.raises(LinesLostError):
        file.flush()
    monkeypatch.setattr(os, "write", write)
    file.add("after")
    file.close()

    assert path.read_text() == "of the first\nwhole\nafter\n"


def test_stream_that_others_write_to_is_never_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error may be a file with a day's lines of other programs in it."""
    path = tmp_path / "x"
    path.write_text("theirs\n")
    file = LineFile(OpenFile(os.open(path, os.O_WRONLY | os.O_APPEND), size=None))
    write, calls = os.write, iter([3])

    def fill_up(descriptor: int, data: bytes) -> int:
        for size in calls:
            return write(descriptor, bytes(data)[:size])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", fill_up)
    file.add("torn")
    with pytest.raises(LinesLostError):
        file.flush()
    monkeypatch.setattr(os, "write", write)
    file.add("after")
    file.close()

    assert path.read_text() == "theirs\ntor\nafter\n"


def _sinks(folder: Path) -> list[Sink]:
    return [
        RunLogSink(folder / "run.log", open_with=continue_file),
        EventsSink(folder / "events.jsonl", open_with=continue_file),
        ReviewsSink(folder / "reviews.jsonl", open_with=continue_file),
        SdkTraceSink(folder / "sdk" / "traces.jsonl", open_with=continue_file),
        SdkLogCapture(folder / "sdk" / "sdk.log", open_with=continue_file),
        HttpLogSink(),
    ]


@pytest.mark.parametrize("threaded", [True, False])
async def test_each_repair_is_told_to_every_sink(tmp_path: Path, *, threaded: bool) -> None:
    """Also of the file of a sink that is opened after the log it is told in, or before it."""
    (tmp_path / "sdk").mkdir()
    for name in ("run.log", "reviews.jsonl", "sdk/sdk.log"):
        (tmp_path / name).write_text("torn")

    async with open_telemetry(_sinks(tmp_path), threaded=threaded) as telemetry:
        telemetry.emit(DocumentSizeWarning("1", 2))

    assert telemetry.dropped == {}
    log = [parse_line(line) for line in (tmp_path / "run.log").read_text().splitlines()]
    told = {line.fields["path"]: line.fields["removed_bytes"] for line in log[:-1]}
    assert told == {str(tmp_path / name): "4" for name in ("run.log", "reviews.jsonl", "sdk/sdk.log")}
    assert [line.event for line in log] == ["FILE_REPAIRED"] * 3 + ["DOC_SIZE_WARNING"]
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == [line.event for line in log]


async def test_sessions_add_up_in_every_file(tmp_path: Path) -> None:
    """What the first wrote is there when the third has ended; nothing was torn, so nothing is told."""
    for number in range(3):
        async with open_telemetry(_sinks(tmp_path), threaded=False) as telemetry:
            telemetry.emit(DocumentSizeWarning(str(number), 2))

    log = [parse_line(line) for line in (tmp_path / "run.log").read_text().splitlines()]
    assert [(line.event, line.fields["doc"]) for line in log] == [("DOC_SIZE_WARNING", str(n)) for n in range(3)]


async def test_sink_that_can_not_go_on_stops_those_before_it(tmp_path: Path) -> None:
    """What they emitted meanwhile is lost with them; nobody drives a sink that is closed."""
    (tmp_path / "run.log").write_text("torn")
    (tmp_path / "events.jsonl").mkdir()
    seen: list[Event] = []

    class First(HttpLogSink):
        name = "first"

        def accepts(self, kind: type[Event]) -> bool:
            return kind is FileRepaired

        def handle(self, event: Event, at: object) -> None:  # noqa: ARG002 - the protocol gives it
            seen.append(event)

    with pytest.raises(OSError, match="Is a directory"):
        async with open_telemetry([First(), *_sinks(tmp_path)], threaded=False):
            pytest.fail("must not be entered")

    assert seen == []
    assert (tmp_path / "run.log").read_text() == ""
