"""Records of the same thing from several sources, brought together by key without holding them in memory."""

import json
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from typing import Any

from agent_pipeline.errors import LedgerError

Record = list[Any]
"""JSON values; the first says where the record comes from."""

_BATCH = 4096


class Joining:
    """Takes records of several topics, gives them back grouped by key; made by `open_joining`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._waiting: list[tuple[str, str, str]] = []

    def add(self, topic: str, key: str, record: Record) -> None:
        """Take one record; those of one key keep their order."""
        self._waiting.append((topic, key, json.dumps(record)))
        if len(self._waiting) == _BATCH:
            self._store()

    def groups(self, topic: str) -> Iterator[tuple[str, list[Record]]]:
        """Yield each key of a topic once, in the order of keys, with its records."""
        self._store()
        found = self._connection.execute("SELECT key, record FROM records WHERE topic = ? ORDER BY key, n", (topic,))
        for key, rows in groupby(found, key=lambda row: str(row[0])):
            yield key, [json.loads(record) for _, record in rows]

    def _store(self) -> None:
        self._connection.executemany("INSERT INTO records (topic, key, record) VALUES (?, ?, ?)", self._waiting)
        self._waiting.clear()


@contextmanager
def open_joining() -> Generator[Joining]:
    """Join records in a private temporary file, which is gone when the block ends; small ones never leave memory.

    Raises:
        LedgerError: there is no room for the temporary file.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("CREATE TABLE records (n INTEGER PRIMARY KEY, topic TEXT, key TEXT, record TEXT)")
            connection.execute("BEGIN")
            yield Joining(connection)
    except sqlite3.Error as exc:
        raise LedgerError(
            f"a temporary file could not be used: {exc}; set SQLITE_TMPDIR to a folder with room"
        ) from exc
