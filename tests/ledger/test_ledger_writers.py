"""Group commit, failure, cancellation, kill and virtual time: what holds of the writers under the ledger."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.errors import DuplicateDocumentError, LedgerError
from agent_pipeline.ledger import Ledger, open_ledger
from agent_pipeline.ledger.schema import connect
from agent_pipeline.ledger.thread_writer import ThreadWriter

AT = datetime(2026, 11, 20, 9, 5, tzinfo=UTC)
SHA = "0" * 64

Ask = Callable[[str], list[dict[str, object]]]
Step = Callable[[Ledger, str], Awaitable[None]]
MakeAttempt = Callable[..., AttemptRecord]


class Watched:
    """Connects as usual and keeps the statements SQLite was given."""

    def __init__(self, *, max_pages: int | None = None) -> None:
        self.statements: list[str] = []
        self._max_pages = max_pages

    def __call__(self, path: Path) -> sqlite3.Connection:
        connection = connect(path)
        if self._max_pages is not None:
            connection.execute(f"PRAGMA max_page_count = {self._max_pages}")
        connection.set_trace_callback(self.statements.append)
        return connection

    def commits(self) -> int:
        """Transactions that ended well, each of them one sync."""
        return self.statements.count("COMMIT")


@pytest.mark.parametrize("threaded", [True, False])
async def test_many_waiters_share_a_commit(path: Path, query: Ask, begin: Step, *, threaded: bool) -> None:
    """A sync per row would make the disk the limit: 100 waiters of one moment need a few syncs, not 100."""
    watched = Watched()

    async with open_ledger(path, threaded=threaded, connect=watched) as ledger, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(begin, ledger, str(number))

    assert len(query("SELECT * FROM documents")) == 100
    assert watched.commits() <= (20 if threaded else 1)


@pytest.mark.parametrize("threaded", [True, False])
async def test_attempts_ride_along_with_the_next_commit(
    path: Path, query: Ask, attempt: MakeAttempt, begin: Step, *, threaded: bool
) -> None:
    """Nobody waits for them, so they cost no sync of their own, and they are there before what came after them."""
    watched = Watched()

    async with open_ledger(path, threaded=threaded, connect=watched) as ledger:
        for number in range(50):
            ledger.record_attempt(attempt(attempt_id=str(number)))
        await begin(ledger, "1")

        assert len(query("SELECT * FROM attempts")) == 50
        assert watched.commits() <= 2


async def test_attempts_are_written_without_anybody_waiting(path: Path, attempt: MakeAttempt) -> None:
    """A long quiet phase must not keep money that was spent out of the ledger."""
    watched = Watched()

    async with open_ledger(path, connect=watched) as ledger:
        ledger.record_attempt(attempt())
        with trio.fail_after(10):
            while not watched.commits():
                await trio.sleep(0.005)


@pytest.mark.parametrize("threaded", [True, False])
async def test_closing_writes_what_is_queued(path: Path, query: Ask, attempt: MakeAttempt, *, threaded: bool) -> None:
    """At the latest when the ledger is left, every attempt is on disk."""
    async with open_ledger(path, threaded=threaded) as ledger:
        for number in range(1000):
            ledger.record_attempt(attempt(attempt_id=str(number)))

    assert query("SELECT count(*) AS n FROM attempts") == [{"n": 1000}]


async def test_looking_up_costs_no_commit(path: Path, begin: Step) -> None:
    """Reads change nothing, so they must not sync."""
    watched = Watched()

    async with open_ledger(path, connect=watched) as ledger:
        await begin(ledger, "1")
        before = watched.commits()
        for _ in range(5):
            await ledger.find_stage_result(document_id="1", stage="s", cycle=1, input_sha256=SHA)

        assert watched.commits() == before


@pytest.mark.parametrize("threaded", [True, False])
async def test_one_refused_row_leaves_its_group_alone(path: Path, query: Ask, begin: Step, *, threaded: bool) -> None:
    """A duplicate id is its own waiter's problem, not that of those who happen to share the transaction."""
    refused: list[str] = []

    async def try_to_begin(ledger: Ledger, document_id: str) -> None:
        try:
            await begin(ledger, document_id)
        except DuplicateDocumentError:
            refused.append(document_id)

    async with open_ledger(path, threaded=threaded) as ledger:
        await begin(ledger, "5")
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(try_to_begin, ledger, str(number))

        assert ledger.failure is None

    assert refused == ["5"]
    assert len(query("SELECT * FROM documents")) == 20


@pytest.mark.parametrize("threaded", [True, False])
async def test_an_attempt_that_is_lost_ends_the_ledger(
    path: Path, query: Ask, attempt: MakeAttempt, begin: Step, *, threaded: bool
) -> None:
    """Requests sent and rows must match; if they can't, the run has to know, and the rest of the group stays."""
    with pytest.raises(LedgerError, match=r"UNIQUE.*attempt_id"):
        async with open_ledger(path, threaded=threaded) as ledger:
            ledger.record_attempt(attempt(attempt_id="same"))
            ledger.record_attempt(attempt(attempt_id="same"))

    assert len(query("SELECT * FROM attempts")) == 1


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_full_disk_is_never_acknowledged(
    path: Path, query: Ask, attempt: MakeAttempt, begin: Step, *, threaded: bool
) -> None:
    """What was acknowledged is there, what was not raised LedgerError, and nothing is written after the failure."""
    acknowledged: set[object] = set()
    refused: set[object] = set()

    async def begin_big(ledger: Ledger, number: int) -> None:
        try:
            await ledger.begin_document(
                document_id=str(number), position=number, source="x" * 2000, content_sha256=SHA, started_at=AT
            )
        except LedgerError as exc:
            assert "SQLITE_FULL" in str(exc)
            refused.add(str(number))
        else:
            acknowledged.add(str(number))

    async def expect_failure(ledger: Ledger) -> None:
        assert "SQLITE_FULL" in str(await ledger.wait_failure())
        told.set()

    told = trio.Event()
    async with (
        open_ledger(path, threaded=threaded, connect=Watched(max_pages=30)) as ledger,
        trio.open_nursery() as watching,
    ):
        watching.start_soon(expect_failure, ledger)
        for first in range(0, 200, 10):
            async with trio.open_nursery() as nursery:
                for number in range(first, first + 10):
                    nursery.start_soon(begin_big, ledger, number)

        with trio.fail_after(5):
            await told.wait()
            failure = await ledger.wait_failure()
        assert "full" in str(failure)
        assert ledger.failure is failure
        with pytest.raises(LedgerError, match="SQLITE_FULL"):
            ledger.record_attempt(attempt())
        with pytest.raises(LedgerError, match="SQLITE_FULL"):
            await begin(ledger, "small")

    assert acknowledged
    assert len(acknowledged) + len(refused) == 200
    assert {row["document_id"] for row in query("SELECT document_id FROM documents")} == acknowledged
    assert query("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.sqlite3"]


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_failure_nobody_was_told_of_is_raised_at_the_end(
    path: Path, attempt: MakeAttempt, *, threaded: bool
) -> None:
    """Attempts have no waiter; leaving quietly would claim that they were written."""
    with pytest.raises(LedgerError, match="SQLITE_FULL"):
        async with open_ledger(path, threaded=threaded, connect=Watched(max_pages=12)) as ledger:
            for number in range(100):
                ledger.record_attempt(attempt(attempt_id=str(number), error="x" * 2000))


async def test_an_error_of_the_block_is_not_replaced_by_the_ledgers(path: Path, attempt: MakeAttempt) -> None:
    """The first thing that went wrong is what the user must see."""
    with pytest.raises(ValueError, match="mine"):
        async with open_ledger(path, connect=Watched(max_pages=12)) as ledger:
            for number in range(100):
                ledger.record_attempt(attempt(attempt_id=str(number), error="x" * 2000))
            raise ValueError("mine")

    assert ledger.failure is not None


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_cancelled_caller_leaves_its_row_to_be_written(
    path: Path, query: Ask, begin: Step, finish: Step, *, threaded: bool
) -> None:
    """Documented: cancelled means "not waited for", at each of the calls that wait."""

    async def save(ledger: Ledger, document_id: str) -> None:
        await ledger.save_stage_result(
            document_id=document_id,
            stage="s",
            cycle=1,
            input_sha256=SHA,
            output_json="1",
            started_at=AT,
            ended_at=AT,
        )

    async def begin_run(ledger: Ledger, document_id: str) -> None:
        await ledger.begin_run(run_id=document_id, name="n", started_at=AT, config_sha256=SHA, version="1")

    async def finish_run(ledger: Ledger, document_id: str) -> None:
        await ledger.finish_run(outcome="incomplete", reason=document_id, ended_at=AT)

    async with open_ledger(path, threaded=threaded) as ledger:
        for step in (begin_run, begin, save, finish, finish_run):
            with trio.CancelScope() as scope:
                scope.cancel()
                await step(ledger, "1")
            assert scope.cancelled_caught

    assert query("SELECT outcome FROM documents") == [{"outcome": "failed"}]
    assert query("SELECT output_json FROM stage_results") == [{"output_json": "1"}]
    assert query("SELECT outcome FROM run") == [{"outcome": "incomplete"}]


@pytest.mark.parametrize("threaded", [True, False])
async def test_cancelling_the_whole_block_still_closes_tidily(
    path: Path, query: Ask, attempt: MakeAttempt, begin: Step, *, threaded: bool
) -> None:
    """Closing is shielded: a deadline or Ctrl-C must not leave rows in memory or the thread behind."""
    with trio.CancelScope() as scope:
        async with open_ledger(path, threaded=threaded) as ledger:
            await begin(ledger, "1")
            ledger.record_attempt(attempt())
            scope.cancel()
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert len(query("SELECT * FROM attempts")) == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.sqlite3"]
    assert not [thread for thread in threading.enumerate() if thread.name == "ledger writer"]


def test_virtual_time_stands_still_while_the_inline_ledger_writes(
    path: Path, attempt: MakeAttempt, begin: Step
) -> None:
    """A write must look instant to every timeout of a simulated run, however long the disk takes."""

    async def main() -> float:
        async with open_ledger(path, threaded=False) as ledger:
            for number in range(20):
                with trio.fail_after(0.001):
                    ledger.record_attempt(attempt(attempt_id=str(number)))
                    await begin(ledger, str(number))
                await trio.sleep(30)
        return trio.current_time()

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == 600


KILLED = """
import sys, trio
from datetime import UTC, datetime
from pathlib import Path
from agent_pipeline.ledger import open_ledger

async def work(ledger, lane):
    number = 0
    while True:
        number += 1
        await ledger.begin_document(
            document_id=f"{lane}.{number}", position=number, source=None, content_sha256="0",
            started_at=datetime.now(UTC),
        )
        sys.stdout.write(f"{lane}.{number}\\n")
        sys.stdout.flush()

async def main():
    async with open_ledger(Path(sys.argv[1])) as ledger, trio.open_nursery() as nursery:
        for lane in range(10):
            nursery.start_soon(work, ledger, lane)

trio.run(main)
"""


@pytest.mark.parametrize("acknowledgements", [1, 57, 400])
def test_a_killed_writer_loses_no_acknowledged_row(path: Path, acknowledgements: int) -> None:
    """SIGKILL at any moment: what a caller was told is written, is written."""
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as process:  # noqa: S603
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


async def test_a_connection_that_fails_in_an_unexpected_way_hangs_nobody(path: Path) -> None:
    """The thread reports whatever happened; a waiter that is never woken would be the worst outcome."""

    def broken(path: Path) -> sqlite3.Connection:
        raise RuntimeError(f"no {path.name}")

    with pytest.raises(LedgerError, match=r"can't be opened.*no ledger.sqlite3 \(RuntimeError\)"):
        with trio.fail_after(5):
            async with open_ledger(path, connect=broken):
                pass


async def test_what_was_queued_when_the_ledger_failed_is_not_written(
    path: Path, query: Ask, attempt: MakeAttempt, begin: Step
) -> None:
    """After a failure nothing more may look as if it were recorded, also not what was on its way."""
    is_committing, may_go_on = threading.Event(), threading.Event()

    def slow(path: Path) -> sqlite3.Connection:
        connection = connect(path)

        def hold(statement: str) -> None:
            if statement == "COMMIT":
                is_committing.set()
                may_go_on.wait(10)

        connection.set_trace_callback(hold)
        return connection

    async with open_ledger(path, connect=slow) as ledger, trio.open_nursery() as nursery:
        ledger.record_attempt(attempt(attempt_id="same"))
        ledger.record_attempt(attempt(attempt_id="same"))
        await trio.to_thread.run_sync(is_committing.wait, 10)

        async def begin_late() -> None:
            with pytest.raises(LedgerError, match="UNIQUE"):
                await begin(ledger, "late")

        nursery.start_soon(begin_late)
        await wait_all_tasks_blocked()
        may_go_on.set()

    assert query("SELECT * FROM documents") == []
    assert len(query("SELECT * FROM attempts")) == 1


async def test_closing_is_bounded(path: Path, attempt: MakeAttempt) -> None:
    """A disk that hangs must not hold the end of the run; the run is told that rows are missing."""
    may_go_on = threading.Event()

    def hanging(path: Path) -> sqlite3.Connection:
        connection = connect(path)

        def hang(_: str) -> None:
            may_go_on.wait(10)

        connection.set_trace_callback(hang)
        return connection

    writer = ThreadWriter(path, hanging, close_timeout=0.05)
    await writer.open()
    Ledger(writer).record_attempt(attempt())
    await writer.aclose()

    assert "not written 0.05 s after the end" in str(writer.failure)
    assert writer.failed.is_set()
    may_go_on.set()
    for thread in threading.enumerate():
        if thread.name == "ledger writer":
            thread.join(10)


class FailsAtTheEnd(sqlite3.Connection):
    """A connection to a disk that breaks while the file is closed."""

    def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
        if "wal_checkpoint" in sql:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)  # type: ignore[arg-type]

    def close(self) -> None:
        super().close()
        raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize("threaded", [True, False])
async def test_an_error_while_closing_is_told(path: Path, query: Ask, begin: Step, *, threaded: bool) -> None:
    """What is on disk is on disk, but the user should know that the disk is failing."""

    def failing(path: Path) -> sqlite3.Connection:
        connect(path).close()
        return sqlite3.connect(path, isolation_level=None, factory=FailsAtTheEnd)

    with pytest.raises(LedgerError, match="can't be closed: disk I/O error"):
        async with open_ledger(path, threaded=threaded, connect=failing) as ledger:
            await begin(ledger, "1")

    assert len(query("SELECT * FROM documents")) == 1
