"""A row that is refused, a full or broken disk: whoever has to know is told, and nothing false is ever said."""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from tests.ledger.steps import ATTEMPT, begin, begin_session, open_session
from tests.ledger.watched import Watched
from trio.testing import wait_all_tasks_blocked

from agent_pipeline.errors import DuplicateDocumentError, LedgerError
from agent_pipeline.ledger import Ledger
from agent_pipeline.ledger.schema import connect
from agent_pipeline.ledger.thread_writer import ThreadWriter

Ask = Callable[[str], list[dict[str, object]]]


@pytest.mark.parametrize("threaded", [True, False])
async def test_who_watches_is_told_of_a_refused_row_that_nobody_waits_for(path: Path, *, threaded: bool) -> None:
    """The run has to end then, and may have no other row to write for an hour."""
    async with open_session(path, threaded=threaded) as ledger:
        ledger.record_attempt(ATTEMPT)
        ledger.record_attempt(ATTEMPT)
        with trio.fail_after(5):
            failure = await ledger.wait_failure()

        assert "already ended" in str(failure)
        with pytest.raises(LedgerError, match="already ended"):
            ledger.record_attempt(ATTEMPT)


@pytest.mark.parametrize("threaded", [True, False])
async def test_one_refused_row_leaves_its_group_alone(path: Path, query: Ask, *, threaded: bool) -> None:
    """A duplicate id is its own waiter's problem, not that of those who happen to share the transaction."""
    refused: list[str] = []

    async def try_to_begin(ledger: Ledger, document_id: str) -> None:
        try:
            await begin(ledger, document_id)
        except DuplicateDocumentError:
            refused.append(document_id)

    async with open_session(path, threaded=threaded) as ledger:
        await begin(ledger, "5")
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(try_to_begin, ledger, str(number))

        assert ledger.failure is None

    assert refused == ["5"]
    assert len(query("SELECT * FROM documents")) == 20


@pytest.mark.parametrize("threaded", [True, False])
async def test_an_attempt_that_is_lost_ends_the_ledger(path: Path, query: Ask, *, threaded: bool) -> None:
    """Requests sent and rows must match; if they can't, the run has to know, and the rest of the group stays."""

    async def record_twice() -> None:
        async with open_session(path, threaded=threaded) as ledger:
            ledger.record_attempt(replace(ATTEMPT, attempt_id="same"))
            ledger.record_attempt(replace(ATTEMPT, attempt_id="same"))

    with pytest.raises(LedgerError, match="attempt same has already ended"):
        await record_twice()

    assert len(query("SELECT * FROM attempts")) == 1


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_full_disk_is_never_acknowledged(path: Path, query: Ask, *, threaded: bool) -> None:
    """What was acknowledged is there, what was not raised LedgerError, and nothing is written after the failure."""
    acknowledged: set[object] = set()
    refused: dict[object, str] = {}

    async def begin_big(ledger: Ledger, number: int) -> None:
        try:
            await begin(ledger, str(number), position=number, source="x" * 2000)
        except LedgerError as exc:
            refused[str(number)] = str(exc)
        else:
            acknowledged.add(str(number))

    async def expect_failure(ledger: Ledger) -> None:
        assert "SQLITE_FULL" in str(await ledger.wait_failure())
        told.set()

    told = trio.Event()
    async with (
        open_session(path, threaded=threaded, connect=Watched(max_pages=30)) as ledger,
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
            ledger.record_attempt(ATTEMPT)
        with pytest.raises(LedgerError, match="SQLITE_FULL"):
            await begin(ledger, "small")

    assert acknowledged
    assert len(acknowledged) + len(refused) == 200
    assert all("SQLITE_FULL" in said for said in refused.values())
    assert {row["document_id"] for row in query("SELECT document_id FROM documents")} == acknowledged
    assert query("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.sqlite3"]


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_failure_nobody_was_told_of_is_raised_at_the_end(path: Path, *, threaded: bool) -> None:
    """Attempts have no waiter; leaving quietly would claim that they were written."""

    async def record_too_much() -> None:
        async with open_session(path, threaded=threaded, connect=Watched(max_pages=12)) as ledger:
            for number in range(100):
                ledger.record_attempt(replace(ATTEMPT, attempt_id=str(number), error="x" * 2000))

    with pytest.raises(LedgerError, match="SQLITE_FULL"):
        await record_too_much()


async def test_an_error_of_the_block_is_not_replaced_by_the_ledgers(path: Path) -> None:
    """The first thing that went wrong is what the user must see."""
    opened: list[Ledger] = []

    async def record_too_much_and_fail() -> None:
        async with open_session(path, connect=Watched(max_pages=12)) as ledger:
            opened.append(ledger)
            for number in range(100):
                ledger.record_attempt(replace(ATTEMPT, attempt_id=str(number), error="x" * 2000))
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await record_too_much_and_fail()

    assert opened[0].failure is not None


async def test_a_connection_that_fails_in_an_unexpected_way_hangs_nobody(path: Path) -> None:
    """The thread reports whatever happened; a waiter that is never woken would be the worst outcome."""

    def broken(path: Path) -> sqlite3.Connection:
        raise RuntimeError(f"no {path.name}")

    expected = r"can't be opened.*no ledger.sqlite3 \(RuntimeError\)"
    with trio.fail_after(5), pytest.raises(LedgerError, match=expected):
        async with open_session(path, connect=broken):
            pass


async def test_what_was_queued_when_the_ledger_failed_is_not_written(path: Path, query: Ask) -> None:
    """After a failure nothing more may look as if it were recorded, also not what was on its way."""
    is_armed, is_committing, may_go_on = threading.Event(), threading.Event(), threading.Event()

    def slow(path: Path) -> sqlite3.Connection:
        connection = connect(path)

        def hold(statement: str) -> None:
            if statement == "COMMIT" and is_armed.is_set():
                is_committing.set()
                may_go_on.wait(10)

        connection.set_trace_callback(hold)
        return connection

    async with open_session(path, connect=slow) as ledger, trio.open_nursery() as nursery:
        is_armed.set()
        ledger.record_attempt(replace(ATTEMPT, attempt_id="same"))
        ledger.record_attempt(replace(ATTEMPT, attempt_id="same"))
        await trio.to_thread.run_sync(is_committing.wait, 10)

        async def begin_late() -> None:
            with pytest.raises(LedgerError, match="has already ended"):
                await begin(ledger, "late")

        nursery.start_soon(begin_late)
        await wait_all_tasks_blocked()
        may_go_on.set()

    assert query("SELECT * FROM documents") == []
    assert len(query("SELECT * FROM attempts")) == 1


async def test_closing_is_bounded(path: Path) -> None:
    """A disk that hangs must not hold the end of the run; the run is told that rows are missing."""
    may_go_on = threading.Event()

    def hanging(path: Path) -> sqlite3.Connection:
        connection = connect(path)

        def hang(statement: str) -> None:
            if "INSERT INTO attempts" in statement:
                may_go_on.wait(10)

        connection.set_trace_callback(hang)
        return connection

    writer = ThreadWriter(path, hanging, close_timeout=0.05)
    await writer.open()
    ledger = Ledger(writer)
    await begin_session(ledger)
    ledger.record_attempt(ATTEMPT)
    await writer.aclose()

    assert "not written 0.05 s after the end" in str(writer.failure)
    assert writer.failed.is_set()
    may_go_on.set()
    for thread in threading.enumerate():
        if thread.name == "ledger writer":
            thread.join(10)


class FailsToClose(sqlite3.Connection):
    """A connection to a disk that breaks while the file is closed."""

    def close(self) -> None:
        super().close()
        raise sqlite3.OperationalError("disk I/O error")


def deny_checkpoint(action: int, argument: str | None, *_: str | None) -> int:
    """Let all be done but moving the write-ahead log into the file; see `Connection.set_authorizer`."""
    denied = action == sqlite3.SQLITE_PRAGMA and argument == "wal_checkpoint"
    return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK


@pytest.mark.parametrize(
    ("checkpoint", "close", "said"),
    [(False, True, "not authorized"), (True, False, "disk I/O error"), (False, False, "not authorized")],
)
@pytest.mark.parametrize("threaded", [True, False])
async def test_an_error_while_closing_is_told(
    path: Path, query: Ask, *, threaded: bool, checkpoint: bool, close: bool, said: str
) -> None:
    """What is on disk is on disk, but the user should know that the disk is failing; the first error is the one."""

    def failing(path: Path) -> sqlite3.Connection:
        connect(path).close()
        factory = sqlite3.Connection if close else FailsToClose
        connection = sqlite3.connect(path, isolation_level=None, factory=factory)
        if not checkpoint:
            connection.set_authorizer(deny_checkpoint)
        return connection

    with pytest.raises(LedgerError, match=f"can't be closed: {said}"):
        async with open_session(path, threaded=threaded, connect=failing) as ledger:
            await begin(ledger, "1")

    assert len(query("SELECT * FROM documents")) == 1
