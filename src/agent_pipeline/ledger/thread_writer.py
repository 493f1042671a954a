"""The writer for real time: a thread that owns the connection, so that Trio never waits for the disk."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
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

CLOSE_TIMEOUT = 30.0
"""Seconds the thread may take to write what is queued once the ledger is left."""

_LINGER = 0.01
"""Seconds that rows nobody waits for may wait for company, so that they seldom cost a commit of their own."""

_GATHER = 0.01
"""Seconds that all rows then wait for more, while many come: a commit costs more CPU than ten rows."""

_MANY = 4
"""Rows of one group; where fewer come at once, few tasks are at work, and each is written as soon as it is there."""


class _Mailbox:
    """What the Trio thread leaves for the writer thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entries: list[Entry] = []
        self._is_urgent = False
        self._is_closed = False
        self._are_many = False

    def put(self, entry: Entry) -> None:
        with self._changed:
            if self._is_closed:
                raise closed_error()
            # A thread that was called needs no second call: waking it costs more than the row.
            is_awaited = entry.settled is not None
            if not self._entries or (is_awaited and not self._is_urgent):
                self._changed.notify()
            self._entries.append(entry)
            self._is_urgent = self._is_urgent or is_awaited

    def close(self, last: Entry | None = None) -> None:
        with self._changed:
            if last is not None and not self._is_closed:
                self._entries.append(last)
            self._is_closed = True
            self._changed.notify()

    def take(self) -> list[Entry]:
        """Wait for work and take all of it; empty means closed and drained."""
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._is_closed)
            self._changed.wait_for(lambda: self._is_urgent or self._is_closed, timeout=_LINGER)
            if self._are_many:
                self._changed.wait_for(lambda: self._is_closed, timeout=_GATHER)
            taken, self._entries = self._entries, []
            self._is_urgent, self._are_many = False, len(taken) >= _MANY
            return taken


class ThreadWriter:
    """A writer in a thread of its own; waiters wake through one hop into Trio per group."""

    def __init__(self, path: Path, connect: Connect, *, close_timeout: float = CLOSE_TIMEOUT) -> None:
        self.failure: LedgerError | None = None
        self.failed = trio.Event()
        self._path = path
        self._connect = connect
        self._close_timeout = close_timeout
        self._mailbox = _Mailbox()
        self._token = trio.lowlevel.current_trio_token()
        self._opened = trio.Event()
        self._ended = trio.Event()
        self._is_drained = False
        # A daemon: a disk that hangs forever must not keep the process.
        self._thread = threading.Thread(target=self._run, name="ledger writer", daemon=True)

    async def open(self) -> None:
        """Start the thread and wait until the file is open.

        Raises:
            LedgerError: it can't be opened; the thread has ended.
        """
        self._thread.start()
        with trio.CancelScope(shield=True):
            await self._opened.wait()
        if self.failure is not None:
            self._thread.join()
            raise self.failure

    def put(self, entry: Entry) -> None:
        """Queue work, or raise LedgerError when closed."""
        self._mailbox.put(entry)

    async def wait_settled(self, settled: trio.Event) -> None:
        """Wait until that entry is on disk or refused; cancelled, the entry is written all the same."""
        await settled.wait()

    async def aclose(self) -> None:
        """Write all that is queued, close the file and end the thread; can't be cancelled, but is bounded."""
        self._mailbox.close()
        with trio.move_on_after(self._close_timeout, shield=True) as bound:
            await self._ended.wait()
        if bound.cancelled_caught:
            self.failure = self.failure or LedgerError(
                f"{self._path}: not written {self._close_timeout:g} s after the end"
            )
        else:
            self._thread.join()
        self._tell([])

    def close_now(self, timeout: float, last: Entry) -> bool:
        """Have the thread write all that is queued and close the file; return whether it wrote all in time.

        A file that is still being closed then has lost nothing: what was written is in its write-ahead log.
        """
        self._mailbox.close(last)
        self._thread.join(timeout)
        return self._is_drained and self.failure is None

    def _run(self) -> None:
        try:
            connection = self._connect(self._path)
        except Exception as exc:  # noqa: BLE001 - the Trio side waits for the outcome, whatever it is
            self.failure = ledger_error(exc, f"opened ({self._path})")
            self._hop(self._opened.set)
            return
        self._hop(self._opened.set)
        while group := self._mailbox.take():
            self._write(connection, group)
        self._is_drained = True
        failure = close_connection(connection)
        self.failure = self.failure or failure
        self._hop(self._ended.set)

    def _write(self, connection: sqlite3.Connection, group: list[Entry]) -> None:
        if self.failure is None:
            self.failure = commit_group(connection, group)
        else:
            refuse_group(group, self.failure)
        if self.failure is not None or any(entry.settled is not None for entry in group):
            self._hop(lambda: self._tell(group))

    def _tell(self, group: list[Entry]) -> None:
        settle_group(group)
        if self.failure is not None:
            self.failed.set()

    def _hop(self, function: Callable[[], None]) -> None:
        with suppress(trio.RunFinishedError):  # nobody is left to be told
            self._token.run_sync_soon(function)
