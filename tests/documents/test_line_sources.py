"""Lists, JSON Lines and CSV: fields, bad lines, bounded memory, round trips."""

import csv
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.documents.reading import errors, read, texts, write

from agent_pipeline.documents import SourceSpec, open_source
from agent_pipeline.documents.files import ReadLine, UnbufferedLines
from agent_pipeline.documents.line_documents import read_csv, read_json_lines
from agent_pipeline.domain.document import JsonValue, SourceEntry
from agent_pipeline.errors import InputError

IN_TMP = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

TEXT = st.text(max_size=20)
WORDS = TEXT.filter(lambda text: bool(text.strip()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RESERVED = {"id", "text", "markdown", "content", "metadata", "meta", "url", "source_url", "link"}
METADATA = st.dictionaries(TEXT.filter(lambda key: key not in RESERVED), JSON, max_size=4)


def test_the_fields_of_a_listed_entry(tmp_path: Path) -> None:
    """Id and text are taken out, an object under metadata is opened, the rest is metadata."""
    spec = write(
        tmp_path / "docs.json",
        [
            {"id": 7, "content": "c", "markdown": "m", "lang": "en", "metadata": {"lang": "de", "k": 1}},
            {"text": "", "content": "c", "url": "u"},
            {"id": None, "title": "no text"},
        ],
    )

    entries = read(spec)

    documents = [entry.document for entry in entries if entry.document]
    assert [(d.id, d.text, d.source, dict(d.metadata)) for d in documents] == [
        ("7", "m", f"{tmp_path}/docs.json: [0]", {"content": "c", "lang": "en", "k": 1}),
        ("2", "c", "u", {"text": "", "url": "u"}),
    ]
    assert [(entry.id, entry.skipped) for entry in entries if entry.skipped] == [
        ("3", "no text (text, markdown or content)")
    ]


def test_bad_lines_are_errors_of_their_own(tmp_path: Path) -> None:
    """One bad line never stops the others, and each names file and line."""
    lines = [
        b'\xef\xbb\xbf{"text": "first"}',
        b"",
        b"{oops",
        b'{"text": "\xff"}',
        b"[1]",
        b'{"text": "a", "x": NaN}',
        b'{"text": "a", "x": 1e999}',
        b'{"text": "a", "id": ""}',
        b"[" * 200_000,
        b'{"text": "a", "x": ' + b"1" * 5000 + b"}",
        b'{"text": "last", "id": "z"}',
    ]
    spec = write(tmp_path / "docs.jsonl", b"\r\n".join(lines))

    entries = read(spec)

    assert texts(entries) == [("1", "first"), ("z", "last")]
    assert [entry.position for entry in entries] == list(range(1, 11))
    found = [error.removeprefix(f"{tmp_path}/docs.jsonl:") for error in errors(entries)]
    assert [error.split(": ")[0] for error in found] == ["3", "4", "5", "6", "7", "8", "9", "10"]
    expected = ["not JSON", "not UTF-8", "object", "metadata", "metadata", "id is empty", "too deeply", "not usable"]
    assert all(word in error for word, error in zip(expected, found, strict=True))


def test_a_line_that_is_too_long_is_skipped_unread(tmp_path: Path) -> None:
    """Memory is bounded by the line limit, not by what somebody wrote into one line."""
    path = tmp_path / "docs.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "a"}\n"')
        file.truncate(40 * 1024 * 1024)
        file.seek(0, os.SEEK_END)
        file.write(b'"\n{"text": "b"}')

    entries = read(SourceSpec(path=path))

    assert texts(entries) == [("1", "a"), ("3", "b")]
    assert "docs.jsonl:2: the line has more than" in errors(entries)[0]


@pytest.mark.parametrize("name", ["docs.jsonl", "docs.csv", "notes.md"])
@pytest.mark.parametrize("content", ["", "\n\n \n"])
def test_an_empty_source_is_refused(tmp_path: Path, name: str, content: str) -> None:
    """A run over nothing is a mistake of whoever named the source; a blank document is only skipped."""
    spec = write(tmp_path / name, content)

    if name == "notes.md" and content:
        assert [entry.skipped for entry in read(spec)] == ["empty text"]
    else:
        with pytest.raises(InputError, match=r"empty|header"):
            open_source(spec)


def test_csv_rows_may_span_lines_and_bad_ones_stand_alone(tmp_path: Path) -> None:
    """The line named is the one the row begins in."""
    content = (
        b'\xef\xbb\xbfid,text,lang\r\na,"first\nsecond ""quoted"" ,x",en\r\n\r\n,plain 5" disk,de\n'
        b'b,too,many,fields\nc,few\nd,\xff,x\ne,"ok" bad,x\nf,,x\ng,last,x\n'
    )
    spec = write(tmp_path / "docs.csv", content)

    entries = read(spec)

    assert texts(entries) == [("a", 'first\nsecond "quoted" ,x'), ("2", 'plain 5" disk'), ("g", "last")]
    assert [entry.id for entry in entries if entry.skipped] == ["f"]
    found = [error.removeprefix(f"{tmp_path}/docs.csv:") for error in errors(entries)]
    assert [error.partition(":")[0] for error in found] == ["6", "7", "8", "9"]
    document = entries[0].document
    assert document is not None
    assert (dict(document.metadata), document.source) == ({"lang": "en"}, f"{tmp_path}/docs.csv:2")


def test_a_csv_quote_that_never_closes_costs_one_row(tmp_path: Path) -> None:
    """It must not take all memory, nor hide that the rest of the file was swallowed."""
    spec = write(tmp_path / "docs.csv", 'text\ngood\n"open\n' + "line\n" * 1000)

    entries = read(spec)

    assert texts(entries) == [("1", "good")]
    assert len(errors(entries)) == 1
    assert "docs.csv:3: not a CSV row: unexpected end of data" in errors(entries)[0]


def test_a_csv_row_that_is_too_large_is_skipped_to_its_end(tmp_path: Path) -> None:
    """Bounded memory: its rest is dropped line by line up to the closing quote, the next row is whole again."""
    line = b"x" * 1024 * 1024 + b"\n"
    spec = write(tmp_path / "docs.csv", b'id,text\na,"' + line * 40 + b'end"\nb,good\n')

    entries = read(spec)

    assert texts(entries) == [("b", "good")]
    assert len(entries) == 2
    assert "docs.csv:2: not a CSV row: more than" in errors(entries)[0]


@pytest.mark.parametrize(
    ("content", "match"),
    [("a;text\n1;2\n", "no column text, markdown, content"), ("text,a,a\n", "twice"), ('"text\n', "no CSV header")],
)
def test_a_csv_without_a_usable_header_is_refused(tmp_path: Path, content: str, match: str) -> None:
    """Without the text column no row could ever be a document."""
    with pytest.raises(InputError, match=match):
        open_source(write(tmp_path / "docs.csv", content))


@pytest.mark.parametrize("header", [b"a," * 2_000_000 + b"b\n", b"x" * 2_000_000 + b"\n", b"text" + b",a,a" * 400_000])
def test_a_csv_header_without_end_is_refused_in_a_moment(tmp_path: Path, header: bytes) -> None:
    """However many columns it names, or however long their names: one look, and a message one can read."""
    spec = write(tmp_path / "docs.csv", header)

    begun = time.perf_counter()
    with pytest.raises(InputError) as caught:
        open_source(spec)

    assert time.perf_counter() - begun < 20
    assert len(str(caught.value)) < 1000


@IN_TMP
@given(documents=st.lists(st.tuples(WORDS, METADATA), min_size=1, max_size=5), name=st.sampled_from(["json", "jsonl"]))
def test_json_documents_come_back_as_they_were(
    tmp_path: Path, documents: list[tuple[str, dict[str, JsonValue]]], name: str
) -> None:
    """Text and metadata are not touched, whatever they hold."""
    records: list[JsonValue] = [{**metadata, "text": text} for text, metadata in documents]
    lines = "\n".join(json.dumps(record) for record in records)

    entries = read(write(tmp_path / f"docs.{name}", records if name == "json" else lines), threaded=False)

    assert [(e.document.text, dict(e.document.metadata)) for e in entries if e.document] == documents


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


@IN_TMP
@given(rows=st.lists(st.tuples(CELL.filter(lambda text: bool(text.strip())), CELL), min_size=1, max_size=6))
def test_csv_documents_come_back_as_they_were(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    """Commas, quotes and line ends inside fields belong to the text."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([("text", "k"), *rows])

    entries = read(write(tmp_path / "docs.csv", buffer.getvalue()), threaded=False)

    assert [(e.document.text, e.document.metadata["k"]) for e in entries if e.document] == rows


@pytest.mark.parametrize(("read_lines", "line"), [(read_json_lines, b'{"text": "a"}\n'), (read_csv, b"text\n")])
def test_lines_are_read_as_they_are_asked_for(
    read_lines: Callable[[ReadLine, str], Iterator[SourceEntry]], line: bytes
) -> None:
    """Memory does not grow with the length of a source: this one never ends."""
    asked = 0

    def readline(limit: int) -> bytes:
        nonlocal asked
        asked += 1
        return line

    entries = list(islice(read_lines(readline, "endless"), 100))

    assert [entry.position for entry in entries] == list(range(1, 101))
    assert asked <= 102


@given(chunks=st.lists(st.binary(min_size=1, max_size=9) | st.just(b"\n"), max_size=12), limit=st.integers(1, 12))
def test_lines_of_a_pipe_are_those_of_a_file(chunks: list[bytes], limit: int) -> None:
    """Oracle: Python's own buffered reader, however the bytes come in pieces."""
    incoming = iter(chunks)
    oracle = io.BytesIO(b"".join(chunks))
    readline = UnbufferedLines(lambda _: next(incoming, b""))

    while expected := oracle.readline(limit):
        assert readline(limit) == expected
    assert readline(limit) == b""
