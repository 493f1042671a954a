"""Ledgers and ways to look at them that the tests of this folder share."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

Rows = list[dict[str, object]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger under test lives."""
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
def query(path: Path) -> Callable[[str], Rows]:
    """Ask the ledger under test."""

    def ask(sql: str) -> Rows:
        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]

    return ask
