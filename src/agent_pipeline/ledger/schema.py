"""The tables of a ledger, and how the one connection that writes them is opened."""

import os
import sqlite3
import stat
from pathlib import Path

from agent_pipeline.errors import LedgerError

SCHEMA_VERSION = 1

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
        version TEXT NOT NULL
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
        outcome TEXT NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'cancelled')),
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
        started_at TEXT NOT NULL
    )
    """,
    "CREATE INDEX attempts_by_document ON attempts (document_id)",
)


def connect(path: Path) -> sqlite3.Connection:
    """Open the ledger at `path` for writing, creating it (mode 0600) where there is none.

    The connection is in autocommit mode: transactions are begun and committed in so many words.

    Raises:
        LedgerError: the file can't be created, is no regular file, no ledger, or of a newer version of this package.
        sqlite3.Error: SQLite itself failed.
    """
    _create_private(path)
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _create_private(path: Path) -> None:
    """Make sure a regular file of ours is there before SQLite, which would obey the umask and symbolic links."""
    # The descriptor is closed before SQLite opens the file: closing it later would drop SQLite's own locks (POSIX).
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
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
    _create_tables(connection, path)
    connection.execute("COMMIT")


def _create_tables(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").fetchone()
    if version == 0 and tables == 0:
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    elif version == 0:
        raise LedgerError(f"{path}: a SQLite file, but not a ledger")
    elif version > SCHEMA_VERSION:
        raise LedgerError(f"{path}: written by a newer version (ledger format {version}, known: {SCHEMA_VERSION})")
