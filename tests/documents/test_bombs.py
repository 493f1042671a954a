"""Sources made to take all memory, or to wait forever: refused before they are read, or read within bounds."""

import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.documents.reading import errors, read, texts, write

from agent_pipeline.documents import SourceSpec, open_source
from agent_pipeline.documents.entries import MAX_DOCUMENT_BYTES
from agent_pipeline.documents.files import read_document
from agent_pipeline.documents.line_documents import MAX_LINE_BYTES
from agent_pipeline.errors import DocumentInvalidError, InputError

GIGABYTE = 1024**3
LINE = b'{"text": "one of a million", "n": 1}\n'

READER = """
import json, re, sys, trio
from pathlib import Path
from agent_pipeline.documents import SourceSpec, open_source
from agent_pipeline.errors import InputError

def peak():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024

async def ended(source):
    documents, errors = 0, []
    try:
        async for entry in open_source(SourceSpec(path=Path(source))).entries():
            documents += entry.document is not None
            errors += [] if entry.error is None else [str(entry.error)]
    except InputError as error:
        errors.append(str(error))
    return documents, errors

warm, source = sys.argv[1:]
trio.run(ended, warm)
before = peak()
documents, errors = trio.run(ended, source)
print(json.dumps([documents, errors, peak() - before]))
"""


def read_apart(tmp_path: Path, source: str | Path, given: Iterable[bytes] = ()) -> tuple[int, list[str], int]:
    """Read a source in a process of its own: its documents, its errors, and by how many bytes its memory rose."""
    (tmp_path / "warm.jsonl").write_text('{"text": "warm"}\n')
    command = [sys.executable, "-c", READER, str(tmp_path / "warm.jsonl"), str(source)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for block in given:
            process.stdin.write(block)
        process.stdin.close()
        documents, found, rise = json.loads(process.stdout.read())
    return documents, found, rise


def sparse(path: Path, size_bytes: int, *, beginning: bytes = b"") -> Path:
    """Make a file that is as large as that and takes no room."""
    with path.open("wb") as file:
        file.write(beginning)
        file.truncate(size_bytes)
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("huge.md", f"the document has more than {MAX_DOCUMENT_BYTES} bytes"),
        ("huge.json", "are too many for one JSON value"),
    ],
)
def test_a_gigabyte_that_is_one_document_is_refused_unread(tmp_path: Path, name: str, message: str) -> None:
    """Its size is known before its first byte."""
    documents, found, rise = read_apart(tmp_path, sparse(tmp_path / name, GIGABYTE))

    assert documents == 0
    assert len(found) == 1
    assert message in found[0]
    assert rise < 2 * 1024**2


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("in.jsonl", LINE),
        ("in.ndjson", b""),
        ("in.csv", b"text,k\na,b\n"),
        ("in.csv", b'text,k\na,b\n"'),
        ("in.csv", b""),
    ],
)
def test_a_line_without_end_costs_what_a_line_may(tmp_path: Path, name: str, beginning: bytes) -> None:
    """One entry's error, and the documents before it are read; a line is held twice while it is put together."""
    documents, found, rise = read_apart(tmp_path, sparse(tmp_path / name, GIGABYTE // 8, beginning=beginning))

    assert documents == (1 if beginning else 0)
    assert len(found) == 1
    assert rise < 2.5 * MAX_LINE_BYTES


def test_a_line_without_end_on_standard_input_costs_little_more(tmp_path: Path) -> None:
    """Nothing is known of it before; what follows the line is read."""
    block = bytes(1024**2)
    documents, found, rise = read_apart(tmp_path, "-", [LINE, *[block] * 128, b"\n", LINE])

    assert documents == 2
    assert len(found) == 1
    assert f"the line has more than {MAX_LINE_BYTES} bytes" in found[0]
    assert rise < 3 * MAX_LINE_BYTES


@pytest.mark.slow
def test_a_million_lines_cost_no_more_than_a_few(tmp_path: Path) -> None:
    """They are read as they are needed."""
    (tmp_path / "in.jsonl").write_bytes(LINE * 1_000_000)

    documents, found, rise = read_apart(tmp_path, tmp_path / "in.jsonl")

    assert (documents, found) == (1_000_000, [])
    assert rise < 3 * MAX_DOCUMENT_BYTES


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Make a folder of everything that is no regular file, and one document."""
    folder = tmp_path / "odd"
    folder.mkdir()
    write(folder / "good.md", "good")
    os.mkfifo(folder / "pipe.md")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(folder / "socket.md"))
    (folder / "zero.md").symlink_to("/dev/zero")
    (folder / "loop.md").symlink_to("loop.md")
    (folder / "nowhere.md").symlink_to("nothing")
    (folder / "above").symlink_to("..")
    return folder


def test_what_is_no_regular_file_is_never_waited_for(odd: Path) -> None:
    """A pipe nobody writes to, an endless device, a link that leads to itself: each an error, none followed."""
    entries = read(SourceSpec(path=odd))

    assert texts(entries) == [("good.md", "good")]
    problems = [error.removeprefix(f"{odd}/") for error in errors(entries)]
    assert problems == [
        "above: the document can't be read: a symbolic link, which is not followed",
        "loop.md: the document can't be read: a symbolic link, which is not followed",
        "nowhere.md: the document can't be read: a symbolic link, which is not followed",
        "pipe.md: not a regular file (a pipe)",
        "socket.md: the document can't be read: No such device or address",
        "zero.md: the document can't be read: a symbolic link, which is not followed",
    ]


@pytest.mark.parametrize("name", ["pipe.md", "socket.md", "zero.md", "loop.md", "nowhere.md"])
@pytest.mark.parametrize("suffix", ["", ".json", ".jsonl", ".csv"])
def test_named_as_the_source_it_is_refused(odd: Path, name: str, suffix: str) -> None:
    """Whatever its name promises; a link a user named is followed, and its end looked at."""
    path = (odd / name).rename(odd / f"{name}{suffix}") if suffix else odd / name

    with pytest.raises(InputError, match=r"not a regular file|can't be read|does not exist"):
        open_source(SourceSpec(path=path))


def test_a_device_found_by_a_glob_is_an_error(tmp_path: Path) -> None:
    """`/dev/zero` never ends."""
    assert errors(read(SourceSpec(glob="/dev/zer[o]"))) == ["/dev/zero: not a regular file (a device)"]


def test_a_file_of_the_system_that_hides_its_size_is_bounded_too() -> None:
    """It says that it is empty, and holds as much as it likes."""
    assert Path("/proc/self/status").stat().st_size == 0

    with pytest.raises(DocumentInvalidError, match="more than 10 bytes"):
        read_document(Path("/proc/self/status"), 10)


def test_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    """Twenty kilobytes that would become twenty megabytes are a document that is no text."""
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(20 * 1024**2))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "bomb.md").write_bytes((tmp_path / "bomb.zip").read_bytes())

    for name in ("bomb.zip", "bomb.jsonl.gz"):
        (tmp_path / "bomb.zip").rename(tmp_path / name)
        with pytest.raises(InputError, match="unknown format"):
            open_source(SourceSpec(path=tmp_path / name))
        (tmp_path / name).rename(tmp_path / "bomb.zip")
    documents, found, rise = read_apart(tmp_path, tmp_path / "docs")
    assert (documents, len(found)) == (0, 1)
    assert "not UTF-8 text" in found[0]
    assert rise < 2 * 1024**2


@pytest.mark.parametrize(
    ("name", "content", "document"),
    [
        ("in.md", b"a\x00b", "a\x00b"),
        ("in.jsonl", b'{"text": "a\\u0000b"}', "a\x00b"),
        ("in.json", b'[{"text": "a\\u0000b"}]', "a\x00b"),
        ("in.csv", b"text\na\x00b\n", "a\x00b"),
        ("in.jsonl", b'{"text": "a\x00b"}', "not JSON: Invalid control character"),
        ("in.md", b"\xed\xa0\x80", "not UTF-8 text"),
        ("in.md", b"\xc0\x80", "not UTF-8 text"),
        ("in.csv", b"text\n\xc0\x80\n", "not UTF-8 text"),
        ("in.jsonl", b'{"text": "\xed\xa0\x80"}', "not UTF-8 text"),
        ("in.md", "text".encode("utf-16"), "not UTF-8 text"),
    ],
)
def test_odd_bytes_are_text_or_an_error_of_their_own(tmp_path: Path, name: str, content: bytes, document: str) -> None:
    """A NUL is a character like others; half characters and other encodings are told by name."""
    (entry,) = read(write(tmp_path / name, content))

    if entry.document is None:
        assert document in str(entry.error)
    else:
        assert entry.document.text == document
