"""The writer for virtual time, on the Trio thread itself: while a thread worked, the clock would jump."""

import sqlite3
from pathlib import Path

import trio

from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger.commit import (
    Connect,
    Entry,
    close_connection,
    commit_group,
    ledger_error,
    refuse_group,
    settle_group,
)


class InlineWriter:
    """A writer without a thread; tasks that write in the same turn of the scheduler share a commit."""

    def __init__(self, path: Path, connect: Connect) -> None:
        self.failure: LedgerError | None = None
        self.failed = trio.Event()
        self._path = path
        self._connect = connect
        self._entries: list[Entry] = []
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file.

        Raises:
            LedgerError: it can't be opened.
        """
        try:
            self._connection = self._connect(self._path)
        except (sqlite3.Error, LedgerError) as exc:
            raise ledger_error(exc, f"opened ({self._path})") from exc

    def put(self, entry: Entry) -> None:
        """Keep work for the next group."""
        self._entries.append(entry)

    async def wait_settled(self, settled: trio.Event) -> None:
        """Let the other tasks of this turn join the group, then write it, also when cancelled meanwhile."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        if not settled.is_set():
            self._write()
        await trio.lowlevel.checkpoint_if_cancelled()

    async def aclose(self) -> None:
        """Write what is left and close the file."""
        self._write()
        if self._connection is not None:
            failure = close_connection(self._connection)
            self.failure = self.failure or failure
            self._connection = None
        if self.failure is not None:
            self.failed.set()

    def _write(self) -> None:
        group, self._entries = self._entries, []
        if self.failure is not None:
            refuse_group(group, self.failure)
        elif group and self._connection is not None:  # there is one between opening and closing
            self.failure = commit_group(self._connection, group)
        settle_group(group)
        if self.failure is not None:
            self.failed.set()
