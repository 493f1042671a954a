"""Reading a source: limit, repetition, closing, virtual time, standard input."""

import json
import os
from contextlib import aclosing, suppress
from pathlib import Path

import pytest
import trio
from tests.documents.reading import read, texts, write
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.documents import SourceSpec, open_source
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import InputError


def test_the_limit_counts_documents_and_not_what_is_skipped(tmp_path: Path) -> None:
    """Five documents are asked for, so five are worked on, if there are as many."""
    records: list[JsonValue] = [{"title": "x"}, {"text": "a"}, {"text": ""}, {"text": "b"}, {"text": "c"}]
    lines = write(tmp_path / "docs.jsonl", "\n".join(json.dumps(record) for record in records))
    whole = write(tmp_path / "docs.json", records)

    for spec in (lines, whole):
        assert [entry.position for entry in read(spec, limit=2)] == [1, 2, 3, 4]
        assert read(spec, limit=0) == []
        assert len(read(spec)) == 5
        with pytest.raises(InputError, match="negative"):
            open_source(spec, limit=-1)
    assert open_source(whole, limit=2).count_hint == 4


def test_entries_can_be_read_again(tmp_path: Path) -> None:
    """A plan and a run may look at the same source."""
    source = open_source(write(tmp_path / "docs.jsonl", '{"text": "a"}'))

    async def main() -> list[int]:
        return [len([entry async for entry in source.entries()]) for _ in range(2)]

    assert trio.run(main) == [1, 1]


def open_files() -> set[str]:
    """Return where each descriptor of this process leads."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that reads this very folder
            found.add(f"{path.name} {path.readlink()}")
    return found


async def test_leaving_early_closes_the_file(tmp_path: Path) -> None:
    """An open file after a cancelled run would be a leak, and a ResourceWarning fails this test."""
    source = open_source(write(tmp_path / "docs.jsonl", '{"text": "a"}\n' * 1000))
    before = open_files()

    async with aclosing(source.entries()) as entries:
        async for _ in entries:
            break

    assert open_files() == before


def test_virtual_time_stands_still_while_reading_inline(tmp_path: Path) -> None:
    """Reading must look instant to every timeout of a simulated run."""
    spec = write(tmp_path / "docs.jsonl", '{"text": "a"}\n' * 200)

    async def main() -> float:
        with trio.fail_after(0.001):
            assert len([entry async for entry in open_source(spec, threaded=False).entries()]) == 200
        return trio.current_time()

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == 0


async def test_stdin_yields_each_line_as_it_comes() -> None:
    """A slow sender's first document must not wait for its second, and its end ends the source."""
    reading, writing = os.pipe()
    try:
        entries = open_source(SourceSpec(path=Path("-")), stdin=reading).entries()
        os.write(writing, b'{"text": "a"}\n{"text"')
        with trio.fail_after(5):
            first = await anext(entries)
        os.write(writing, b': "b", "id": "x"}\n')
        with trio.fail_after(5):
            second = await anext(entries)
        os.close(writing)
        with trio.fail_after(5):
            rest = [entry async for entry in entries]
    finally:
        os.close(reading)

    assert texts([first, second]) == [("1", "a"), ("x", "b")]
    assert second.source == "stdin:2"
    assert rest == []


async def test_the_limit_on_stdin_asks_for_no_line_more() -> None:
    """Another line may never come; waiting for it would hold the end of the run."""
    reading, writing = os.pipe()
    try:
        os.write(writing, b'{"text": "a"}\n')
        with trio.fail_after(5):
            entries = [entry async for entry in open_source(SourceSpec(stdin=True), limit=1, stdin=reading).entries()]
    finally:
        os.close(writing)
        os.close(reading)

    assert texts(entries) == [("1", "a")]


async def test_waiting_for_stdin_can_be_cancelled() -> None:
    """Ctrl-C must not wait for somebody to type a line."""
    reading, writing = os.pipe()
    try:
        with trio.fail_after(5), trio.move_on_after(0.05) as scope:
            async with aclosing(open_source(SourceSpec(stdin=True), stdin=reading).entries()) as entries:
                await anext(entries)
    finally:
        os.close(writing)
        await wait_all_tasks_blocked()
        os.close(reading)

    assert scope.cancelled_caught


async def test_empty_stdin_is_refused() -> None:
    """Nothing can be known before reading, so it is said by the first read."""
    reading, writing = os.pipe()
    os.close(writing)
    try:
        with pytest.raises(InputError, match="stdin: the source is empty"):
            [entry async for entry in open_source(SourceSpec(stdin=True), stdin=reading).entries()]
    finally:
        os.close(reading)
