"""Reading a finished (or killed) run's ledger without changing what it says."""

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from agent_pipeline.domain.document import Artifact
from agent_pipeline.errors import LedgerError


def recorded_artifacts(ledger_path: Path) -> list[Artifact]:
    """Return the artifacts a run recorded as written, in source order.

    Raises:
        LedgerError: there is no ledger at this path, or it can't be read.
    """
    with _reading(ledger_path) as connection:
        found = connection.execute(
            "SELECT document_id, artifact_path, artifact_sha256, artifact_size_bytes FROM documents "
            "WHERE artifact_path IS NOT NULL ORDER BY position"
        ).fetchall()
    return [Artifact(document_id, path, sha256, size) for document_id, path, sha256, size in found]


@contextmanager
def _reading(path: Path) -> Generator[sqlite3.Connection]:
    if not path.is_file():
        raise LedgerError(f"{path}: there is no ledger")
    try:
        with closing(sqlite3.connect(_address(path), uri=True, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = ON")
            yield connection
    except sqlite3.Error as exc:
        raise LedgerError(f"{path}: the ledger can't be read: {exc}") from exc


def _address(path: Path) -> str:
    # A reader that may write tidies up after a killed run (the -wal is moved into the file at the last close), which
    # a read-only one can't; where nothing may be written, a file without -wal is complete by itself.
    address = path.absolute().as_uri()
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return f"{address}?mode=rw"
    is_complete = not path.with_name(f"{path.name}-wal").exists()
    return f"{address}?mode=ro&immutable=1" if is_complete else f"{address}?mode=ro"
