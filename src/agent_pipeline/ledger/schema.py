"""The tables of a ledger, and how the one connection that writes them is opened."""

import os
import sqlite3
import stat
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path

from agent_pipeline.errors import LedgerError

SCHEMA_VERSION = 2

_BUSY_TIMEOUT = 10.0
"""Seconds to wait for somebody else's write lock (a user's own SQLite tool) before the ledger counts as failed."""

_TABLES = (
    """
    CREATE TABLE run (
        run_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        started_at TEXT NOT NULL,
        ended_at TEXT,
        outcome TEXT CHECK (outcome IN ('completed', 'incomplete', 'failed')),
        reason TEXT,
        config_sha256 TEXT NOT NULL,
        version TEXT NOT NULL,
        config_path TEXT,
        options_json TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE sessions (
        session INTEGER PRIMARY KEY,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        version TEXT NOT NULL,
        config_sha256 TEXT NOT NULL,
        started_at TEXT NOT NULL,
        ended_at TEXT,
        outcome TEXT CHECK (outcome IN ('completed', 'incomplete', 'failed')),
        reason TEXT,
        CHECK ((outcome IS NULL) = (ended_at IS NULL))
    )
    """,
    """
    CREATE TABLE documents (
        document_id TEXT PRIMARY KEY,
        position INTEGER NOT NULL,
        source TEXT,
        content_sha256 TEXT,
        outcome TEXT CHECK (outcome IN ('succeeded', 'failed', 'skipped', 'cancelled')),
        error_code TEXT,
        error TEXT,
        failed_stage TEXT,
        reworks INTEGER NOT NULL DEFAULT 0,
        artifact_path TEXT,
        artifact_sha256 TEXT,
        artifact_size_bytes INTEGER,
        started_at TEXT NOT NULL,
        ended_at TEXT,
        trace_id TEXT,
        plan_sha256 TEXT,
        session INTEGER NOT NULL,
        CHECK ((outcome IS NULL) = (ended_at IS NULL))
    )
    """,
    """
    CREATE TABLE stage_results (
        document_id TEXT NOT NULL REFERENCES documents (document_id),
        stage TEXT NOT NULL,
        cycle INTEGER NOT NULL,
        input_sha256 TEXT NOT NULL,
        output_json TEXT NOT NULL,
        started_at TEXT NOT NULL,
        ended_at TEXT NOT NULL,
        PRIMARY KEY (document_id, stage, cycle, input_sha256)
    )
    """,
    """
    CREATE TABLE attempts (
        attempt_id TEXT PRIMARY KEY,
        document_id TEXT,
        stage TEXT,
        cycle INTEGER,
        role TEXT NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        number INTEGER NOT NULL,
        outcome TEXT CHECK (outcome IN ('succeeded', 'failed', 'cancelled')),
        status_code INTEGER,
        error_code TEXT,
        error TEXT,
        wait_seconds REAL NOT NULL,
        wait_reason TEXT,
        latency_seconds REAL NOT NULL,
        input_tokens INTEGER,
        output_tokens INTEGER,
        cached_input_tokens INTEGER,
        reasoning_tokens INTEGER,
        reserved_tokens INTEGER NOT NULL,
        charged_tokens INTEGER NOT NULL,
        cost_micro_usd INTEGER,
        provider_request_id TEXT,
        method TEXT NOT NULL,
        path TEXT NOT NULL,
        started_at TEXT NOT NULL,
        session INTEGER NOT NULL,
        call_id TEXT,
        trace_id TEXT,
        span_id TEXT
    )
    """,
    "CREATE INDEX documents_by_position ON documents (position)",
    "CREATE INDEX attempts_by_document ON attempts (document_id)",
)


def connect(path: Path) -> sqlite3.Connection:
    """Open the ledger at `path` for writing, creating it (mode 0600) where there is none.

    The connection is in autocommit mode: transactions are begun and committed in so many words. It may be used by
    another thread than this one, by one at a time.

    Raises:
        LedgerError: the file can't be created, is no regular file, no ledger, or of another version's format.
        sqlite3.Error: SQLite itself failed.
    """
    return _connect(path, os.O_CREAT)


def connect_existing(path: Path) -> sqlite3.Connection:
    """Open the ledger of a run that has begun, as `connect` does, but create nothing.

    Raises:
        LedgerError: as `connect`, and where there is no file, or nothing in it.
        sqlite3.Error: SQLite itself failed.
    """
    return _connect(path, 0)


def check_format(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that this is a ledger of the known format; changes nothing.

    Raises:
        LedgerError: it is empty, something else, or of another format.
        sqlite3.Error: SQLite can't read it.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"{path}: written by a newer version of agent-pipeline (ledger format {version}, known: {SCHEMA_VERSION}); "
            f"use that version"
        )
    if 0 < version < SCHEMA_VERSION:
        raise LedgerError(
            f"{path}: written by an older version of agent-pipeline (ledger format {version}, now {SCHEMA_VERSION}); "
            f"use that version, or start a new run"
        )
    found = _columns(connection)
    if version == 0 and not found:
        raise LedgerError(f"{path}: an empty ledger, no run has begun in it; start a new run")
    missing = [
        f"{table}.{column}"
        for table, columns in _known_columns().items()
        for column in sorted(columns - found.get(table, set()))
    ]
    if version == 0 or missing:
        lacking = f" (no {missing[0]})" if missing else ""
        raise LedgerError(f"{path}: a SQLite file, but not a ledger{lacking}")


def _connect(path: Path, creation: int) -> sqlite3.Connection:
    _check_private(path, creation)
    # The emergency exit closes from a thread of its own; the writers see to it that one thread at a time works.
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        if not creation or _columns(connection):
            check_format(connection, path)
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_private(path: Path, creation: int) -> None:
    """Make sure a regular file of ours is there before SQLite, which would obey the umask and symbolic links."""
    # The descriptor is closed before SQLite opens the file: closing it later would drop SQLite's own locks (POSIX).
    try:
        descriptor = os.open(path, os.O_RDWR | creation | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise LedgerError(f"{path}: the ledger can't be opened for writing: {exc.strerror}") from exc
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise LedgerError(f"{path}: not a regular file, so it can't be the ledger")
    finally:
        os.close(descriptor)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise LedgerError(
            f"{path}: this file system can't hold a write-ahead log (journal mode {mode}); use a local disk"
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: without it a sync ends in the drive's cache
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN IMMEDIATE")
    if not _columns(connection):
        _create_tables(connection)
    connection.execute("COMMIT")


def _create_tables(connection: sqlite3.Connection) -> None:
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _columns(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """Return the columns of each table."""
    found = connection.execute(
        "SELECT tables.name, columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns "
        "WHERE tables.type = 'table'"
    )
    columns: dict[str, set[str]] = {}
    for table, column in found:
        columns.setdefault(table, set()).add(column)
    return columns


@cache
def declared_types() -> Mapping[str, str]:
    """Return the type each column is declared with, by its name: columns of one name are of one type in all tables."""
    with closing(sqlite3.connect(":memory:")) as connection:
        _create_tables(connection)
        return dict(
            connection.execute(
                "SELECT columns.name, columns.type "
                "FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns"
            )
        )


@cache
def _known_columns() -> dict[str, set[str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        _create_tables(connection)
        return _columns(connection)
