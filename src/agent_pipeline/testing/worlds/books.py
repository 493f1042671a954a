"""A run's ledger, read by nothing but SQLite: invariants must not be checked with the code that has to keep them."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar


@dataclass(frozen=True, slots=True)
class RunRow:
    """The run."""

    run_id: str
    ended_at: str | None
    outcome: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One process that worked on it."""

    session: int
    ended_at: str | None
    outcome: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """One document."""

    document_id: str
    outcome: str | None
    error_code: str | None
    error: str | None
    failed_stage: str | None
    reworks: int
    artifact_path: str | None
    artifact_sha256: str | None
    artifact_size_bytes: int | None
    started_at: str
    ended_at: str | None
    session: int

    def content(self) -> bytes | None:
        """Return the artifact as it is on disk, None where it is not there."""
        try:
            return None if self.artifact_path is None else Path(self.artifact_path).read_bytes()
        except FileNotFoundError:
            return None


@dataclass(frozen=True, slots=True)
class ResultRow:
    """What one stage made of one document, once."""

    document_id: str
    stage: str
    cycle: int
    input_sha256: str
    output_json: str
    ended_at: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One request that was sent."""

    attempt_id: str
    document_id: str | None
    stage: str | None
    cycle: int | None
    number: int
    outcome: str | None
    status_code: int | None
    error_code: str | None
    input_tokens: int | None
    output_tokens: int | None
    reserved_tokens: int
    charged_tokens: int
    cost_micro_usd: int | None
    provider_request_id: str | None
    session: int
    call_id: str | None

    @property
    def reported_tokens(self) -> int | None:
        """Tokens the provider reported, None where it told none."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens


RowT = TypeVar("RowT", RunRow, SessionRow, DocumentRow, ResultRow, AttemptRow)


@dataclass(frozen=True, slots=True)
class Books:
    """A ledger as it was at one moment; rows of each table in the order in which they were first written."""

    runs: list[RunRow]
    sessions: list[SessionRow]
    documents: list[DocumentRow]
    results: list[ResultRow]
    attempts: list[AttemptRow]
    problems: list[str]


NOTHING = Books([], [], [], [], [], [])
"""A ledger that nobody has begun."""


def newest_books(project: Path) -> Books:
    """Read the ledger of the project's last run that has begun, wherever in the project its logs are."""
    ledgers = sorted(project.rglob("ledger.sqlite3"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return next((books for books in map(read_books, ledgers) if books.runs), NOTHING)


def read_books(ledger: Path) -> Books:
    """Read a ledger as it lies there, its write-ahead log included, and leave it as it lies there."""
    if not ledger.is_file():
        return NOTHING
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            part = ledger.with_name(ledger.name + suffix)
            if part.is_file():
                shutil.copyfile(part, Path(folder, part.name))
        with closing(sqlite3.connect(Path(folder, ledger.name), isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'run'").fetchone():
                return NOTHING
            return Books(
                runs=list(_rows(connection, "run", RunRow)),
                sessions=list(_rows(connection, "sessions", SessionRow)),
                documents=list(_rows(connection, "documents", DocumentRow)),
                results=list(_rows(connection, "stage_results", ResultRow)),
                attempts=list(_rows(connection, "attempts", AttemptRow)),
                problems=list(_problems(connection)),
            )


def _rows(connection: sqlite3.Connection, table: str, kind: type[RowT]) -> Iterator[RowT]:
    columns = ", ".join(one.name for one in fields(kind))
    query = f"SELECT {columns} FROM {table} ORDER BY rowid"  # noqa: S608 - names of our own
    for row in connection.execute(query):
        yield kind(*row)


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"the ledger is damaged: {line}"
    for table, *_ in connection.execute("PRAGMA foreign_key_check"):
        yield f"the ledger has a row in {table} that belongs to nothing"
