"""A ledger's connection with an eye on what SQLite is given."""

import sqlite3
import threading
from pathlib import Path

from agent_pipeline.ledger.schema import connect


class Watched:
    """Connects as usual and keeps the statements SQLite was given; may let the disk be full early."""

    def __init__(self, *, max_pages: int | None = None) -> None:
        self.has_committed = threading.Event()
        self._max_pages = max_pages
        self._statements: list[str] = []

    def __call__(self, path: Path) -> sqlite3.Connection:
        connection = connect(path)
        if self._max_pages is not None:
            connection.execute(f"PRAGMA max_page_count = {self._max_pages}")
        connection.set_trace_callback(self._see)
        return connection

    def _see(self, statement: str) -> None:
        self._statements.append(statement)
        if statement == "COMMIT":
            self.has_committed.set()

    def commits(self) -> int:
        """Transactions that ended well, each of them one sync."""
        return self._statements.count("COMMIT")
