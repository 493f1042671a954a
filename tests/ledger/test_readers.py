"""What a ledger says can be read whatever became of its run, and reading changes nothing on disk."""

import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from tests.ledger.steps import (
    ARTIFACT,
    AT,
    ATTEMPT,
    DISPATCHED,
    LATER,
    SHA,
    begin,
    open_session,
    run_and_kill,
    save,
    state_of,
    write_two_sessions,
)

from agent_pipeline.domain.usage import Spending, Usage
from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger import (
    AttemptRow,
    DocumentRow,
    Ledger,
    LedgerReader,
    RunRow,
    SessionRow,
    StageResultRow,
    open_reader,
    recorded_artifacts,
)
from agent_pipeline.ledger.schema import connect

KILLED = """
import os, signal, sys, trio
from dataclasses import replace
from pathlib import Path
from tests.ledger.steps import DISPATCHED, begin, open_session, save

async def main():
    async with open_session(Path(sys.argv[1])) as ledger:
        for number in range(40):
            await begin(ledger, str(number), position=number)
            ledger.record_attempt(replace(DISPATCHED, attempt_id=str(number)))
            await save(ledger, "{}", document_id=str(number))
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main)
"""


def counts(reader: LedgerReader) -> tuple[int, int, int]:
    """Count documents, attempts and results, reading all of them."""
    return len(list(reader.documents())), len(list(reader.attempts())), len(list(reader.stage_results()))


async def test_the_usage_of_each_role_is_what_to_expect_of_it(path: Path) -> None:
    """Requests, tokens and averages per document, from what was reported; what is unknown is said to be."""
    async with open_session(path) as ledger:
        ledger.record_attempt(ATTEMPT)
        ledger.record_attempt(replace(DISPATCHED, attempt_id="a2", number=2))
        ledger.record_attempt(replace(ATTEMPT, attempt_id="a3", call_id="c2", document_id="2"))
        ledger.record_attempt(replace(ATTEMPT, attempt_id="a4", role="clerk", document_id=None, cost_micro_usd=None))

    with open_reader(path) as reader:
        clerk, reviewer = reader.usage_by_role()

    assert (reviewer.role, reviewer.documents, reviewer.requests, reviewer.attempts) == ("reviewer", 2, 2, 3)
    assert (reviewer.reported, reviewer.usage, reviewer.spent) == (2, Usage(20, 8, 6, 4), Spending(128, 100, 7468))
    assert (reviewer.input_tokens_per_document, reviewer.output_tokens_per_document) == (10, 4)
    assert (clerk.role, clerk.unknown_cost, reviewer.unknown_cost) == ("clerk", True, False)
    assert (clerk.input_tokens_per_document, clerk.output_tokens_per_document) == (None, None)


def test_everything_comes_back_as_it_was_written(path: Path) -> None:
    """The run, its sessions in order, the documents in source order, the rest as it was recorded."""
    trio.run(write_two_sessions, path)

    with open_reader(path) as reader:
        assert reader.run == RunRow(
            "r", "smoke", AT, LATER, "completed", None, SHA, "0.1.0", "/in/smoke.yaml", '{"limit": 5}'
        )
        assert list(reader.sessions()) == [
            SessionRow(1, 7, "here", "0.1.0", SHA, AT, LATER, "incomplete", "killed"),
            SessionRow(2, 8, "here", "0.1.0", SHA, LATER, LATER, "completed", None),
        ]
        killed = "the process was killed before the document ended"
        assert list(reader.documents()) == [
            DocumentRow(
                *("1", ARTIFACT, AT, LATER, 1, None, SHA, "succeeded", None, None, None, 2, "trace_1", "p" * 64, 2)
            ),
            DocumentRow(
                *("2", None, AT, LATER, 2, "in.md", SHA, "cancelled", "interrupted", killed, None, 0),
                *("trace_1", "p" * 64, 1),
            ),
        ]
        assert list(reader.stage_results()) == [StageResultRow("1", "route", 1, SHA, '{"n": 1}', AT, AT)]
        ended = "the process was killed before the answer was recorded"
        assert list(reader.attempts()) == [
            AttemptRow(1, replace(DISPATCHED, outcome="failed", error_code="interrupted", error=ended)),
            AttemptRow(2, replace(ATTEMPT, attempt_id="a0")),
            AttemptRow(2, replace(DISPATCHED, attempt_id="a2", call_id="", trace_id=None, span_id=None)),
        ]
        assert reader.integrity_problems() == []


def test_a_large_ledger_is_read_as_it_lies(path: Path) -> None:
    """Sorting a million documents would need their size in memory or on disk before the first one comes."""
    asked = (
        "EXPLAIN QUERY PLAN SELECT * FROM documents ORDER BY position, rowid",
        "EXPLAIN QUERY PLAN SELECT * FROM stage_results ORDER BY rowid",
        "EXPLAIN QUERY PLAN SELECT * FROM attempts ORDER BY rowid",
    )
    with closing(connect(path)) as connection:
        plans = [connection.execute(question).fetchall() for question in asked]

    assert not any("TEMP B-TREE" in step[3] for plan in plans for step in plan)


@pytest.mark.parametrize("left", ["all", "no index", "another index", "an empty index"])
def test_reading_after_sigkill_finds_all_and_changes_nothing(path: Path, left: str) -> None:
    """Looking at a killed run must leave it to the resume as it was; its log may have come without its index."""
    run_and_kill(KILLED, path)
    index = path.with_name("ledger.sqlite3-shm")
    if left == "no index":
        index.unlink()
    elif left != "all":
        index.write_bytes(b"\xff" * 32768 if left == "another index" else b"")
    before = state_of(path.parent)

    with open_reader(path) as reader:
        found = counts(reader)
        problems = reader.integrity_problems()
    artifacts = recorded_artifacts(path)

    assert state_of(path.parent) == before
    assert (found, problems, artifacts) == ((40, 40, 40), [], [])
    assert len(before) == (2 if left == "no index" else 3)


def test_a_torn_log_gives_what_was_whole(path: Path) -> None:
    """Copied while the machine went down: each transaction is there or not."""
    run_and_kill(KILLED, path)
    log = path.with_name("ledger.sqlite3-wal")
    log.write_bytes(log.read_bytes()[: log.stat().st_size * 2 // 3])
    before = state_of(path.parent)

    with open_reader(path) as reader:
        documents, attempts, results = counts(reader)

    assert state_of(path.parent) == before
    assert 0 < results <= documents < 40
    assert attempts <= documents


def test_reading_a_closed_ledger_changes_nothing(path: Path) -> None:
    """Also not beside it: SQLite likes to leave a log and an index."""
    trio.run(write_two_sessions, path)
    before = state_of(path.parent)

    with open_reader(path) as reader:
        counts(reader)
        assert state_of(path.parent) == before

    assert state_of(path.parent) == before
    assert list(before) == ["ledger.sqlite3"]


LIVE = """
import sys, trio
from pathlib import Path
from tests.ledger.steps import begin, open_session

async def main():
    async with open_session(Path(sys.argv[1])) as ledger:
        for number, _ in enumerate(sys.stdin):
            await begin(ledger, str(number), position=number)
            sys.stdout.write("written\\n")
            sys.stdout.flush()

trio.run(main)
"""


@pytest.fixture
def write_live(path: Path) -> Iterator[Callable[[], object]]:
    """Write a row in another process that has the ledger open, whenever asked to."""
    arguments = [sys.executable, "-c", LIVE, str(path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        into, out = process.stdin, process.stdout

        def write() -> None:
            into.write(b"go\n")
            into.flush()
            assert out.readline() == b"written\n"

        yield write
        into.close()
        assert process.wait(10) == 0


def test_a_live_ledger_is_read_as_of_one_moment(path: Path, write_live: Callable[[], object]) -> None:
    """What the other process acknowledged is there; what comes later is not, in no table, and nothing is disturbed."""
    write_live()
    write_live()
    before = state_of(path.parent)

    with open_reader(path) as reader:
        assert len(list(reader.documents())) == 2
        assert state_of(path.parent) == before
        write_live()
        assert len(list(reader.documents())) == 2
    with open_reader(path) as reader:
        assert len(list(reader.documents())) == 3


async def test_reading_ones_own_ledger_leaves_its_locks(path: Path) -> None:
    """Closing a file drops a process's locks on it (POSIX); another program would then delete the log under us."""
    other = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM run').fetchall(); c.close()"
    )
    async with open_session(path) as ledger:
        await begin(ledger, "1")
        with open_reader(path) as reader:
            assert len(list(reader.documents())) == 1
        assert recorded_artifacts(path) == []
        await trio.run_process([sys.executable, "-c", other, str(path)])
        await begin(ledger, "2")
        with open_reader(path) as reader:
            assert len(list(reader.documents())) == 2


async def go_on(path: Path) -> None:
    """Begin another session and end it."""
    async with open_session(path) as ledger:
        await begin(ledger, "more")


def read_while_it_goes_on(path: Path) -> None:
    """Read a ledger that is closed, and begin another session meanwhile."""
    with open_reader(path):
        trio.run(go_on, path)


def test_a_ledger_that_changed_under_its_reader_is_no_answer(path: Path) -> None:
    """A closed ledger is read without locks, so it may turn out that a run went on with it."""
    trio.run(write_two_sessions, path)

    with pytest.raises(LedgerError, match="changed while it was read; read it again"):
        read_while_it_goes_on(path)


def test_an_error_of_the_readers_own_stays_what_it_is(path: Path) -> None:
    """Somebody who compares files while reading may meet errors that are not the ledger's."""
    trio.run(write_two_sessions, path)

    with pytest.raises(FileNotFoundError, match="mine"), open_reader(path):
        raise FileNotFoundError("mine")


@asynccontextmanager
async def busy(path: Path, *, rows: int) -> AsyncGenerator[Ledger]:
    """Keep a run going that writes rows in pairs."""
    async with open_session(path) as ledger, trio.open_nursery() as nursery:

        async def write() -> None:
            for number in range(rows):
                await begin(ledger, str(number), position=number)
                await save(ledger, "{}", document_id=str(number))

        nursery.start_soon(write)
        yield ledger


@pytest.mark.slow
async def test_each_look_at_a_busy_ledger_is_whole(path: Path) -> None:
    """While the log grows and is moved into the file again and again, every snapshot is consistent."""

    def look() -> tuple[int, int]:
        with open_reader(path) as reader:
            results = len(list(reader.stage_results()))
            return len(list(reader.documents())), results

    seen = [(0, 0)]
    async with busy(path, rows=600):
        while seen[-1][1] < 500:
            seen.append(await trio.to_thread.run_sync(look))

    assert seen == sorted(seen)
    assert all(documents - 1 <= results <= documents for documents, results in seen)
