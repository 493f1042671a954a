"""Files of lines are read back one by one, and each line says what it is."""

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.telemetry import ReadLine, continue_file, parse_json_object, parse_line, read_lines
from agent_pipeline.telemetry import reading as reading_module

LINE = "2026-11-20T10:00:00.123Z INFO ROUTED doc=1"


def read(path: Path, content: bytes) -> list[ReadLine[dict[str, object]]]:
    """Write a file and read it back as JSON Lines."""
    path.write_bytes(content)
    return list(read_lines(path, parse_json_object))


def test_lines_come_with_number_offset_and_value(tmp_path: Path) -> None:
    """A report names the place."""
    assert read(tmp_path / "x", '{"a": "é"}\n{"b": 2}\n'.encode()) == [
        ReadLine(1, 0, {"a": "é"}),
        ReadLine(2, 12, {"b": 2}),
    ]
    assert read(tmp_path / "x", b"") == []


def test_run_log_is_read_by_its_own_parser(tmp_path: Path) -> None:
    """One reader for both kinds of files."""
    (tmp_path / "x").write_text(f"{LINE}\nnonsense\n")

    first, second = read_lines(tmp_path / "x", parse_line)

    assert first.value == parse_line(LINE)
    assert (second.number, second.offset, second.value, second.torn) == (2, len(LINE) + 1, None, False)
    assert "not a line of the run log" in str(second.problem)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "Expecting"),
        (b"[1]", "a JSON object is wanted, not list"),
        (b"", "Expecting value"),
        (b'{"a": "\xff"}', "decode"),
        (b'{"a": \0}', "NUL"),
        (b"[" * 200_000, "recursion"),
        (b'{"n": ' + b"1" * 5000 + b"}", "digits"),
    ],
)
def test_broken_line_in_the_middle_stops_nobody(tmp_path: Path, line: bytes, problem: str) -> None:
    """It is no torn one: nothing that a kill leaves looks like this."""
    first, second = read(tmp_path / "x", line + b'\n{"b": 2}\n')

    assert (first.value, first.torn) == (None, False)
    assert problem.lower() in str(first.problem).lower()
    assert second == ReadLine(2, len(line) + 1, {"b": 2})


@pytest.mark.parametrize("end", [b'{"b": 2', b'{"b": 2}', b"x", b"\0\0\0", b"\0\0\n", b'{"b": "\0"}\n'])
def test_torn_last_line_is_told_as_such(tmp_path: Path, end: bytes) -> None:
    """Also where it could be read: only the newline says that it is whole."""
    first, second = read(tmp_path / "x", b'{"a": 1}\n' + end)

    assert first == ReadLine(1, 0, {"a": 1})
    assert (second.number, second.offset, second.value, second.torn) == (2, 9, None, True)
    assert second.problem


json_lines = st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=2).map(
    lambda value: json.dumps(value).encode()
)


@given(lines=st.lists(json_lines, max_size=4), torn=st.binary(max_size=12).map(lambda end: end.replace(b"\n", b"")))
def test_reader_and_who_goes_on_agree_on_what_is_torn(lines: list[bytes], torn: bytes) -> None:
    """What `verify` calls torn is what the next session takes away, no more and no less."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        read_back = read(path, b"".join(line + b"\n" for line in lines) + torn)
        opened = continue_file(path)
        os.close(opened.descriptor)

    assert opened.size == (read_back[-1].offset if torn else sum(len(line) + 1 for line in lines))
    assert [line.torn for line in read_back] == [False] * len(lines) + [True] * bool(torn)
    assert [line.value for line in read_back[: len(lines)]] == [json.loads(line) for line in lines]


@pytest.mark.parametrize(("end", "torn"), [(b"\n", False), (b"", True)])
def test_line_too_long_to_be_one_is_told_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, end: bytes, torn: bool
) -> None:
    """Memory is bounded, also where a file is not what it should be."""
    monkeypatch.setattr(reading_module, "_LONGEST", 100)
    after = b'{"b": 2}\n' if end else b""

    lines = read(tmp_path / "x", b'{"a": 1}\n' + b"x" * 1050 + end + after)

    assert (lines[1].problem, lines[1].torn) == ("the line is longer than 100 bytes", torn)
    assert lines[2:] == ([ReadLine(3, 9 + 1051, {"b": 2})] if end else [])


def test_long_file_needs_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    """A day's log is read line by line."""
    path = tmp_path / "x"
    path.write_bytes((b'{"a": "' + b"0123456789" * 10 + b'"}\n') * 10_000)
    tracemalloc.start()

    try:
        count = sum(1 for line in read_lines(path, parse_json_object) if line.value is not None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 10_000
    assert peak < 100_000


def _link(path: Path) -> None:
    path.symlink_to("target")


@pytest.mark.parametrize(
    ("make", "words"),
    [(_link, "symbolic link"), (os.mkfifo, "not a regular file"), (Path.mkdir, "not a regular file")],
    ids=["link", "pipe", "folder"],
)
def test_what_is_no_regular_file_is_refused(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    """A pipe nobody writes to would be waited for."""
    make(tmp_path / "x")

    with pytest.raises(OSError, match=words):
        list(read_lines(tmp_path / "x", parse_line))
