"""Group commit, cancellation, kill and virtual time: what holds of the writers under the ledger."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from tests.ledger.steps import AT, ATTEMPT, SHA, begin, begin_session, finish, open_session, save
from tests.ledger.watched import Watched
from trio.testing import MockClock

from agent_pipeline.domain.stage_result import ResultKey
from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger import Ledger, open_ledger, thread_writer
from agent_pipeline.ledger.commit import Entry
from agent_pipeline.ledger.thread_writer import ThreadWriter

Ask = Callable[[str], list[dict[str, object]]]


@pytest.mark.parametrize("threaded", [True, False])
async def test_many_waiters_share_a_commit(path: Path, query: Ask, *, threaded: bool) -> None:
    """A sync per row would make the disk the limit: 100 waiters of one moment need a few syncs, not 100."""
    watched = Watched()

    async with open_session(path, threaded=threaded, connect=watched) as ledger, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(begin, ledger, str(number))

    assert len(query("SELECT * FROM documents")) == 100
    assert watched.commits() <= 1 + (20 if threaded else 1)  # the session's own, and these


def test_rows_are_gathered_while_many_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit for each few of a hundred documents' rows would cost more than the rows; a lone one must not wait."""
    monkeypatch.setattr(thread_writer, "_GATHER", 0.2)
    mailbox = thread_writer._Mailbox()

    def put(rows: int) -> None:
        for _ in range(rows):
            mailbox.put(Entry(lambda _: None, is_read=False, settled=trio.Event()))

    def put_and_take(now: int, soon: int) -> int:
        put(now)
        late = threading.Timer(0.05, put, [soon])
        late.start()
        taken = len(mailbox.take())
        late.join()
        return taken

    assert put_and_take(1, 3) == 1  # few so far: written at once
    assert put_and_take(1, 2) == 4  # with what came meanwhile
    assert put_and_take(2, 1) == 5  # they are many now: the late one is waited for
    assert put_and_take(1, 1) == 2
    assert put_and_take(1, 1) == 1


async def test_attempts_ride_along_with_the_next_commit(path: Path, query: Ask) -> None:
    """Nobody waits for them, so they cost no sync of their own, and they are there before what came after them."""
    watched = Watched()

    async with open_session(path, connect=watched) as ledger:
        for number in range(50):
            ledger.record_attempt(replace(ATTEMPT, attempt_id=str(number)))
        await begin(ledger, "1")

        assert len(query("SELECT * FROM attempts")) == 50
        assert watched.commits() <= 3  # the first is the session's own


async def test_attempts_are_written_at_once_in_virtual_time(path: Path, query: Ask, mock_clock: MockClock) -> None:
    """The next commit may be an hour away, and nobody's clock would tell: a crash meanwhile would lose the request."""
    async with open_session(path, threaded=False) as ledger:
        ledger.record_attempt(replace(ATTEMPT, outcome=None))
        assert [row["outcome"] for row in query("SELECT outcome FROM attempts")] == [None]
        ledger.record_attempt(ATTEMPT)
        assert [row["outcome"] for row in query("SELECT outcome FROM attempts")] == [ATTEMPT.outcome]


async def test_attempts_are_written_without_anybody_waiting(path: Path) -> None:
    """A long quiet phase must not keep money that was spent out of the ledger."""
    watched = Watched()

    async with open_session(path, connect=watched) as ledger:
        ledger.record_attempt(ATTEMPT)

        assert await trio.to_thread.run_sync(watched.has_committed.wait, 10)


async def test_what_nobody_waits_for_wakes_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waking Trio costs more than the row."""
    hops: list[object] = []
    hop = ThreadWriter._hop

    def counted(writer: ThreadWriter, function: Callable[[], None]) -> None:
        hops.append(function)
        hop(writer, function)

    monkeypatch.setattr(ThreadWriter, "_hop", counted)
    async with open_session(path) as ledger:
        ledger.record_attempt(ATTEMPT)

    assert len(hops) == 3  # it is open, the session has begun, all is written


@pytest.mark.parametrize("threaded", [True, False])
async def test_closing_writes_what_is_queued(path: Path, query: Ask, *, threaded: bool) -> None:
    """At the latest when the ledger is left, every attempt is on disk."""
    async with open_session(path, threaded=threaded) as ledger:
        for number in range(1000):
            ledger.record_attempt(replace(ATTEMPT, attempt_id=str(number)))

    assert query("SELECT count(*) AS n FROM attempts") == [{"n": 1000}]


async def test_looking_up_costs_no_commit(path: Path) -> None:
    """Reads change nothing, so they must not sync."""
    watched = Watched()

    async with open_session(path, connect=watched) as ledger:
        await begin(ledger, "1")
        before = watched.commits()
        for _ in range(5):
            await ledger.find_stage_result("1", ResultKey("s", 1, SHA))

        assert watched.commits() == before


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_cancelled_caller_leaves_its_row_to_be_written(path: Path, query: Ask, *, threaded: bool) -> None:
    """Documented: cancelled means "not waited for", at each of the calls that wait."""

    async def finish_run(ledger: Ledger, document_id: str) -> None:
        await ledger.finish_run(outcome="incomplete", reason=document_id, ended_at=AT)

    async def move(ledger: Ledger, document_id: str) -> None:
        await ledger.move_document(document_id, 5)

    async def save_one(ledger: Ledger, document_id: str) -> None:
        await save(ledger, "1", document_id=document_id)

    async with open_session(path, threaded=threaded) as ledger:
        for step in (begin, save_one, finish, move, finish_run):
            with trio.CancelScope() as scope:
                scope.cancel()
                await step(ledger, "1")
            assert scope.cancelled_caught

    assert query("SELECT outcome, position FROM documents") == [{"outcome": "failed", "position": 5}]
    assert query("SELECT output_json FROM stage_results") == [{"output_json": "1"}]
    assert query("SELECT outcome FROM run") == [{"outcome": "incomplete"}]


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_session_whose_beginning_was_cancelled_has_begun(path: Path, query: Ask, *, threaded: bool) -> None:
    """The row is written all the same, for the next session to find; this one has no number, and takes nothing."""
    async with open_ledger(path, threaded=threaded) as ledger:
        with trio.CancelScope() as scope:
            scope.cancel()
            await begin_session(ledger)
        with pytest.raises(LedgerError, match="no session has begun"):
            await begin(ledger, "1")
        with pytest.raises(LedgerError, match="no session has begun"):
            ledger.record_attempt(ATTEMPT)

    assert scope.cancelled_caught
    assert query("SELECT session, outcome FROM sessions") == [{"session": 1, "outcome": None}]


@pytest.mark.parametrize("threaded", [True, False])
async def test_cancelling_the_whole_block_still_closes_tidily(path: Path, query: Ask, *, threaded: bool) -> None:
    """Closing is shielded: a deadline or Ctrl-C must not leave rows in memory or the thread behind."""
    with trio.CancelScope() as scope:
        async with open_session(path, threaded=threaded) as ledger:
            await begin(ledger, "1")
            ledger.record_attempt(ATTEMPT)
            scope.cancel()
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert len(query("SELECT * FROM attempts")) == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.sqlite3"]
    assert not [thread for thread in threading.enumerate() if thread.name == "ledger writer"]


def test_virtual_time_stands_still_while_the_inline_ledger_writes(path: Path) -> None:
    """A write must look instant to every timeout of a simulated run, however long the disk takes."""

    async def main() -> float:
        async with open_session(path, threaded=False) as ledger:
            for number in range(20):
                with trio.fail_after(0.001):
                    ledger.record_attempt(replace(ATTEMPT, attempt_id=str(number)))
                    await begin(ledger, str(number))
                await trio.sleep(30)
        return trio.current_time()

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == 600


KILLED = """
import sys, trio
from pathlib import Path
from tests.ledger.steps import begin, open_session

async def work(ledger, lane):
    number = 0
    while True:
        number += 1
        await begin(ledger, f"{lane}.{number}")
        sys.stdout.write(f"{lane}.{number}\\n")
        sys.stdout.flush()

async def main():
    async with open_session(Path(sys.argv[1])) as ledger, trio.open_nursery() as nursery:
        for lane in range(10):
            nursery.start_soon(work, ledger, lane)

trio.run(main)
"""


@pytest.mark.parametrize("acknowledgements", [1, 57, 400])
def test_a_killed_writer_loses_no_acknowledged_row(path: Path, acknowledgements: int) -> None:
    """SIGKILL at any moment: what a caller was told is written, is written."""
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(acknowledgements)]
        os.kill(process.pid, signal.SIGKILL)
        seen += process.stdout.read().splitlines(keepends=True)
    acknowledged = {line.decode().strip() for line in seen if line.endswith(b"\n")}

    with closing(sqlite3.connect(path)) as connection:
        kept = {document_id for (document_id,) in connection.execute("SELECT document_id FROM documents")}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(acknowledged) >= acknowledgements
    assert acknowledged <= kept
