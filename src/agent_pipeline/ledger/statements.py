"""What may be done to documents, results and attempts, one function each.

Run by the writer, inside its transaction, on its connection. Each makes its checks first and then changes something
with one statement, so that a refusal leaves nothing behind. Every value is bound, never part of the statement.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TypeAlias

from agent_pipeline.domain.stage_result import ResultKey
from agent_pipeline.domain.usage import Spending
from agent_pipeline.errors import AgentPipelineError, DuplicateDocumentError, LedgerError
from agent_pipeline.ledger.answers import KnownDocument
from agent_pipeline.ledger.rows import Row

StageResults: TypeAlias = dict[ResultKey, str]
"""JSON that stages made of a document, by stage, cycle and hash of the input."""

_IDS_AT_ONCE = 500
"""Documents that one query asks for; SQLite takes at least 999 values."""

_SELECT_KNOWN = f"SELECT {', '.join(KnownDocument._fields)} FROM documents"  # noqa: S608 - names of our own

SPENDING = (
    "coalesce(sum(charged_tokens), 0), coalesce(sum(charged_tokens) FILTER (WHERE input_tokens IS NULL), 0), "
    "coalesce(sum(cost_micro_usd), 0)"
)
"""The columns of a `Spending`, over rows of `attempts`."""

USAGE = ", ".join(
    f"coalesce(sum({column}), 0)"
    for column in ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
)
"""The columns of a `Usage`, likewise."""

_ENDINGS = (
    "outcome",
    "error_code",
    "error",
    "failed_stage",
    "reworks",
    "artifact_path",
    "artifact_sha256",
    "artifact_size_bytes",
    "ended_at",
)
_END_DOCUMENT = (
    f"UPDATE documents SET {', '.join(f'{column} = :{column}' for column in _ENDINGS)} "  # noqa: S608 - names of our own
    f"WHERE document_id = :document_id AND outcome IS NULL"
)

_ATTEMPT_ENDINGS = (
    "outcome",
    "status_code",
    "error_code",
    "error",
    "latency_seconds",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "reasoning_tokens",
    "charged_tokens",
    "cost_micro_usd",
    "provider_request_id",
)
_END_OF_ATTEMPT = (
    "ON CONFLICT (attempt_id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _ATTEMPT_ENDINGS)
    + " WHERE attempts.outcome IS NULL"
)


def insert_document(connection: sqlite3.Connection, row: Row) -> None:
    """Enter a document with the columns given; the id must be new."""
    if _insert(connection, "documents", row, on_conflict="ON CONFLICT (document_id) DO NOTHING") != 1:
        raise _not_new(connection, row)


def reopen_document(connection: sqlite3.Connection, row: Row) -> None:
    """Give a document of an earlier session the columns given, and no other ending than they say."""
    cleared = dict.fromkeys(_ENDINGS) | {"reworks": 0, "content_sha256": None, "plan_sha256": None, "trace_id": None}
    row = cleared | row
    changes = ", ".join(f"{column} = :{column}" for column in row if column != "document_id")
    changed = connection.execute(
        f"UPDATE documents SET {changes} WHERE document_id = :document_id AND session < :session",  # noqa: S608 - own
        row,
    )
    if changed.rowcount == 1:
        return
    raise _not_new(connection, row)


def move_document(connection: sqlite3.Connection, row: Row) -> None:
    """Give a document another position."""
    changed = connection.execute("UPDATE documents SET position = :position WHERE document_id = :document_id", row)
    if changed.rowcount != 1:
        raise LedgerError(f"document {row['document_id']!r} was never begun; it has no place")


def end_document(connection: sqlite3.Connection, row: Row) -> None:
    """Write the terminal record of a document that has none."""
    if connection.execute(_END_DOCUMENT, row).rowcount == 1:
        return
    known = connection.execute("SELECT outcome FROM documents WHERE document_id = :document_id", row).fetchone()
    state = "was never begun" if known is None else f"has already ended ({known[0]})"
    raise LedgerError(f"document {row['document_id']!r} {state}; it can't end as {row['outcome']}")


def select_documents(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, KnownDocument]:
    """Return what is known of those of the documents that are known."""
    found: dict[str, KnownDocument] = {}
    for some, marks in _in_parts(ids):
        rows = connection.execute(f"{_SELECT_KNOWN} WHERE document_id IN ({marks})", some)
        for known in map(KnownDocument._make, rows):
            found[known.document_id] = known
    return found


def insert_stage_result(connection: sqlite3.Connection, row: Row) -> None:
    """Keep a stage's result; the first one stays, and the same once more is no error."""
    inserted = _insert(connection, "stage_results", row, on_conflict="ON CONFLICT DO NOTHING")
    if inserted == 0 and select_stage_result(connection, row) != row["output_json"]:
        raise LedgerError(
            f"stage {row['stage']} of document {row['document_id']!r} (cycle {row['cycle']}) already has another result"
        )


def select_stage_result(connection: sqlite3.Connection, row: Row) -> str | None:
    """Return a stage's result for exactly this input, if there is one."""
    found = connection.execute(
        "SELECT output_json FROM stage_results WHERE document_id = :document_id AND stage = :stage "
        "AND cycle = :cycle AND input_sha256 = :input_sha256",
        row,
    ).fetchone()
    return None if found is None else str(found[0])


def select_spending(connection: sqlite3.Connection, row: Row) -> Spending:
    """Add up what the requests of one document were charged."""
    found = connection.execute(f"SELECT {SPENDING} FROM attempts WHERE document_id = :document_id", row)  # noqa: S608 - own
    return Spending(*found.fetchone())


def select_stage_results(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, StageResults]:
    """Return all results of these documents; those without any are missing."""
    found: dict[str, StageResults] = {}
    for some, marks in _in_parts(ids):
        rows = connection.execute(
            f"SELECT document_id, stage, cycle, input_sha256, output_json FROM stage_results WHERE document_id IN ({marks})",  # noqa: S608, E501 - own
            some,
        )
        for document_id, *key, output_json in rows:
            found.setdefault(document_id, {})[ResultKey(*key)] = output_json
    return found


def select_spending_of_each(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Spending]:
    """Add up what the requests of these documents were charged, for each; those without any are missing."""
    found: dict[str, Spending] = {}
    for some, marks in _in_parts(ids):
        rows = connection.execute(
            f"SELECT document_id, {SPENDING} FROM attempts WHERE document_id IN ({marks}) GROUP BY document_id",  # noqa: S608 - own
            some,
        )
        found |= {document_id: Spending(*spent) for document_id, *spent in rows}
    return found


def _in_parts(ids: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    """Yield as many ids as one query takes, with marks for them."""
    for first in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[first : first + _IDS_AT_ONCE]
        yield some, ", ".join("?" * len(some))


def insert_attempt(connection: sqlite3.Connection, row: Row) -> None:
    """Add one HTTP attempt as it begins."""
    _insert(connection, "attempts", row)


def end_attempt(connection: sqlite3.Connection, row: Row) -> None:
    """Record the end of an HTTP attempt, once, whether its beginning was recorded or not."""
    if _insert(connection, "attempts", row, on_conflict=_END_OF_ATTEMPT) != 1:
        raise LedgerError(f"attempt {row['attempt_id']} has already ended; its id is not unique")


def _insert(connection: sqlite3.Connection, table: str, row: Row, *, on_conflict: str = "") -> int:
    # By position: SQLite looks for each name among all those before it, which costs more than the row.
    return connection.execute(_insertion(table, tuple(row), on_conflict), tuple(row.values())).rowcount


@cache
def _insertion(table: str, columns: tuple[str, ...], on_conflict: str) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) {on_conflict}"  # noqa: S608 - names of our own


def _not_new(connection: sqlite3.Connection, row: Row) -> AgentPipelineError:
    """Return why a document can't be entered, or entered again."""
    known = connection.execute(
        "SELECT position, source FROM documents WHERE document_id = :document_id", row
    ).fetchone()
    if known is None:
        return LedgerError(f"document {row['document_id']!r} was never begun; it can't be worked on again")
    position, source = known
    return DuplicateDocumentError(
        f"two documents have the id {row['document_id']!r}: number {position} ({source or 'unknown source'}) "
        f"and number {row['position']} ({row['source'] or 'unknown source'}); ids must be unique within a run"
    )
