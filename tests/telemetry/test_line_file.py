"""Files grow by whole lines, belong to their owner, and say what they lost."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from agent_pipeline.telemetry.line_file import LineFile
from agent_pipeline.telemetry.opening import OpenFile, create_file
from agent_pipeline.telemetry.sink import LinesLostError


def test_file_and_folders_are_private(tmp_path: Path) -> None:
    """Logs may hold what a document says."""
    path = tmp_path / "a" / "b" / "x.log"
    before = os.umask(0)

    try:
        os.close(create_file(path).descriptor)
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o600
    assert [folder.stat().st_mode & 0o777 for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]


def test_existing_file_is_left_alone(tmp_path: Path) -> None:
    """Another run's log, or a link somebody put there, is not ours to write."""
    target = tmp_path / "target"
    target.write_text("theirs")
    (tmp_path / "x.log").symlink_to(target)

    with pytest.raises(FileExistsError):
        create_file(tmp_path / "x.log")
    assert target.read_text() == "theirs"


def test_lines_wait_for_the_flush(tmp_path: Path) -> None:
    """One write for a batch, not one per line."""
    file = LineFile(create_file(tmp_path / "x"))
    file.add("one")
    file.add("zwei é \ud800")
    waiting = (tmp_path / "x").read_bytes()

    file.flush()
    written = (tmp_path / "x").read_text()
    file.add("three")
    file.close()

    assert (waiting, written) == (b"", "one\nzwei é \\ud800\n")
    assert (tmp_path / "x").read_text().splitlines()[-1] == "three"


def test_full_device_loses_the_lines_and_says_how_many() -> None:
    """The run goes on; the loss is shown."""
    file = LineFile(OpenFile(os.open("/dev/full", os.O_WRONLY)))

    for _ in range(2):
        file.add("one")
        file.add("two")
        with pytest.raises(LinesLostError) as caught:
            file.flush()
        assert caught.value.count == 2
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.ENOSPC
    file.close()


def test_file_size_limit_keeps_whole_lines(tmp_path: Path) -> None:
    """A write that fails in the middle of a line takes the line back, and later lines start on their own."""
    script = """
import resource, sys
from pathlib import Path
from agent_pipeline.telemetry.line_file import LineFile
from agent_pipeline.telemetry.opening import create_file
from agent_pipeline.telemetry.sink import LinesLostError
file = LineFile(create_file(Path(sys.argv[1])))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (25, hard))
for _ in range(2):
    for _ in range(3):
        file.add("123456789")
    try:
        file.flush()
    except LinesLostError as error:
        print(error.count)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
file.add("after")
file.close()
"""
    path = tmp_path / "x"

    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["1", "3"]
    assert path.read_text() == "123456789\n123456789\nafter\n"
    assert done.stderr == ""


def test_torn_line_of_a_pipe_ends_before_the_next() -> None:
    """What can't be taken back must at least not swallow the line after it."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    space = os.write(writer, b"x" * resource.getpagesize() * 64)
    os.read(reader, space)
    file = LineFile(OpenFile(writer))
    file.add("a" * (space + 100))
    with pytest.raises(LinesLostError) as caught:
        file.flush()
    torn = os.read(reader, space)

    file.add("next")
    file.close()

    assert caught.value.count == 1
    assert set(torn) == {ord("a")}
    assert os.read(reader, 100) == b"\nnext\n"
    os.close(reader)
