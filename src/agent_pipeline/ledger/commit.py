"""Group commit: everything that waits becomes one transaction, and nobody is told "done" before it is on disk."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import trio

from agent_pipeline.errors import AgentPipelineError, LedgerError
from agent_pipeline.failpoints import reach

Connect = Callable[[Path], sqlite3.Connection]


class Entry:
    """One piece of work for a writer, and what came of it.

    Work makes its checks first and changes something with one statement at most, or else in a savepoint of its own: a
    statement that fails on a constraint undoes itself alone, so the rest of its group is safe from a refusal.

    Attributes:
        is_read: whether it changes nothing.
        settled: set once `result` or `error` holds; None where nobody will be told how it ended.
    """

    __slots__ = ("error", "is_read", "result", "settled", "work")

    def __init__(
        self, work: Callable[[sqlite3.Connection], object], *, is_read: bool, settled: trio.Event | None
    ) -> None:
        self.work = work
        self.is_read = is_read
        self.settled = settled
        self.result: object = None
        self.error: AgentPipelineError | None = None

    def perform(self, connection: sqlite3.Connection) -> None:
        """Do the work inside the group's transaction; a refusal stays with this entry, other errors are raised."""
        try:
            self.result = self.work(connection)
        except AgentPipelineError as exc:
            self.error = exc
        except (sqlite3.IntegrityError, sqlite3.DataError) as exc:
            self.error = LedgerError(f"the ledger refused a row: {exc}")
            self.error.__cause__ = exc


def commit_group(connection: sqlite3.Connection, group: Sequence[Entry]) -> LedgerError | None:
    """Perform a group as one transaction; return the error that ends the ledger, if one did.

    At the end every entry has its result or an error, and results stand for rows that are on disk. A row nobody waits
    for that is refused ends the ledger too: it could not be told to anybody else.
    """
    try:
        writes = any(not entry.is_read for entry in group)
        if writes:
            connection.execute("BEGIN IMMEDIATE")
        for entry in group:
            entry.perform(connection)
        if writes:
            reach("ledger.before_commit")
            connection.execute("COMMIT")
            reach("ledger.after_commit")
    except Exception as exc:  # noqa: BLE001 - whatever it was, those who wait must hear of it: nothing was written
        failure = ledger_error(exc, "written")
        with suppress(sqlite3.Error):
            connection.rollback()
        refuse_group(group, failure)
        return failure
    lost = next((entry.error for entry in group if entry.settled is None and entry.error is not None), None)
    return None if lost is None else ledger_error(lost, "written")


def refuse_group(group: Sequence[Entry], failure: LedgerError) -> None:
    """Give every entry the error that ended the ledger."""
    for entry in group:
        entry.result = None
        entry.error = failure


def settle_group(group: Sequence[Entry]) -> None:
    """Wake those who wait; on the Trio thread only."""
    for entry in group:
        if entry.settled is not None:
            entry.settled.set()


def ledger_error(exc: BaseException, doing: str) -> LedgerError:
    """Return `exc` as our own error, with SQLite's name for it."""
    if isinstance(exc, LedgerError):
        return exc
    code = getattr(exc, "sqlite_errorname", None) or type(exc).__name__
    error = LedgerError(f"the ledger can't be {doing}: {exc} ({code})")
    error.__cause__ = exc
    return error


def closed_error() -> LedgerError:
    """Return what those hear who come too late."""
    return LedgerError("the ledger is closed")


def close_connection(connection: sqlite3.Connection) -> LedgerError | None:
    """Move the write-ahead log into the file and close; the last one to close leaves neither -wal nor -shm."""
    failure: LedgerError | None = None
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as exc:
        failure = ledger_error(exc, "closed")
    try:
        connection.close()
    except sqlite3.Error as exc:
        failure = failure or ledger_error(exc, "closed")
    return failure


class Writer(Protocol):
    """What a ledger needs of a writer.

    Attributes:
        failure: the error after which nothing more is written.
        failed: set when there is one.
    """

    failure: LedgerError | None
    failed: trio.Event

    async def open(self) -> None:
        """Open the file, or raise LedgerError and leave nothing running."""
        ...

    def put(self, entry: Entry) -> None:
        """Take work without waiting, or raise LedgerError when closed."""
        ...

    async def wait_settled(self, settled: trio.Event) -> None:
        """Wait until that entry is on disk or refused; cancelled, the entry is written all the same."""
        ...

    async def aclose(self) -> None:
        """Write what is left, close the file; can't be cancelled, but is bounded."""
        ...

    def close_now(self, timeout: float, last: Entry) -> bool:
        """From any thread: take `last` and nothing more, write what is left, close; return whether all was written."""
        ...
