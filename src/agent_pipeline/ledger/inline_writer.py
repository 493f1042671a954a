"""The writer for virtual time, on the Trio thread itself: while a thread worked, the clock would jump."""

import sqlite3
import threading
from pathlib import Path

import trio

from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger.commit import (
    Connect,
    Entry,
    close_connection,
    closed_error,
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
        self._is_closed = False
        self._lock = threading.Lock()  # the emergency exit closes from another thread
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
        """Keep work for the next group, or raise LedgerError when closed; what nobody waits for is written at once.

        No real time passes until somebody else's group, but any length of virtual time may.
        """
        with self._lock:
            if self._is_closed:
                raise closed_error()
            self._entries.append(entry)
            group = self._write() if entry.settled is None else []
        if group:
            self._tell(group)

    async def wait_settled(self, settled: trio.Event) -> None:
        """Let the other tasks of this turn join the group, then write it, also when cancelled meanwhile."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        if not settled.is_set():
            with self._lock:
                group = self._write()
            self._tell(group)
        await trio.lowlevel.checkpoint_if_cancelled()

    async def aclose(self) -> None:
        """Write what is left and close the file."""
        self._is_closed = True
        with self._lock:
            group = self._write()
            self._close()
        self._tell(group)

    def close_now(self, timeout: float, last: Entry) -> bool:
        """Write what is left and close the file, once no other thread writes; return whether all was written.

        Nobody is woken: those who wait are about to write on their own, and find that it was done.
        """
        is_first, self._is_closed = not self._is_closed, True
        if not self._lock.acquire(timeout=timeout):
            return False
        try:
            self._entries += [last] * is_first
            self._write()
            self._close()
        finally:
            self._lock.release()
        return self.failure is None

    def _write(self) -> list[Entry]:
        group, self._entries = self._entries, []
        if self.failure is not None:
            refuse_group(group, self.failure)
        elif group and self._connection is not None:  # there is one between opening and closing
            self.failure = commit_group(self._connection, group)
        return group

    def _close(self) -> None:
        if self._connection is not None:
            failure = close_connection(self._connection)
            self.failure = self.failure or failure
            self._connection = None

    def _tell(self, group: list[Entry]) -> None:
        settle_group(group)
        if self.failure is not None:
            self.failed.set()
