"""What may be done to a ledger, one function each: run by the writer, inside its transaction, on its connection.

Each makes its checks first and then changes something with one statement, so that a refusal leaves nothing behind.
Every value is bound, never part of the statement.
"""

import sqlite3

from agent_pipeline.errors import DuplicateDocumentError, LedgerError
from agent_pipeline.ledger.rows import Row


def insert_run(connection: sqlite3.Connection, row: Row) -> None:
    """Enter the run, or take it up again: an ended run that goes on has not ended."""
    known = connection.execute("SELECT run_id FROM run").fetchone()
    if known is not None and known[0] != row["run_id"]:
        raise LedgerError(f"this ledger belongs to run {known[0]}, not to {row['run_id']}")
    connection.execute(
        "INSERT INTO run (run_id, name, started_at, config_sha256, version) "
        "VALUES (:run_id, :name, :started_at, :config_sha256, :version) "
        "ON CONFLICT (run_id) DO UPDATE SET ended_at = NULL, outcome = NULL, reason = NULL",
        row,
    )


def end_run(connection: sqlite3.Connection, row: Row) -> None:
    """Record how the run ended, once."""
    changed = connection.execute(
        "UPDATE run SET outcome = :outcome, reason = :reason, ended_at = :ended_at WHERE ended_at IS NULL", row
    )
    if changed.rowcount != 1:
        raise LedgerError("the run has not begun or has already ended")


def insert_document(connection: sqlite3.Connection, row: Row) -> None:
    """Enter a document with the columns given; the id must be new."""
    known = connection.execute(
        "SELECT position, source FROM documents WHERE document_id = :document_id", row
    ).fetchone()
    if known is not None:
        raise DuplicateDocumentError(
            f"two documents have the id {row['document_id']!r}: number {known[0]} ({known[1] or 'unknown source'}) "
            f"and number {row['position']} ({row['source'] or 'unknown source'}); ids must be unique within a run"
        )
    columns = ", ".join(row)
    values = ", ".join(f":{column}" for column in row)
    connection.execute(f"INSERT INTO documents ({columns}) VALUES ({values})", row)  # noqa: S608 - names of our own


def end_document(connection: sqlite3.Connection, row: Row) -> None:
    """Write the terminal record of a document that has none."""
    changed = connection.execute(
        "UPDATE documents SET outcome = :outcome, error_code = :error_code, error = :error, "
        "failed_stage = :failed_stage, reworks = :reworks, artifact_path = :artifact_path, "
        "artifact_sha256 = :artifact_sha256, artifact_size_bytes = :artifact_size_bytes, ended_at = :ended_at "
        "WHERE document_id = :document_id AND outcome IS NULL",
        row,
    )
    if changed.rowcount == 1:
        return
    known = connection.execute("SELECT outcome FROM documents WHERE document_id = :document_id", row).fetchone()
    state = "was never begun" if known is None else f"has already ended ({known[0]})"
    raise LedgerError(f"document {row['document_id']!r} {state}; it can't end as {row['outcome']}")


def insert_stage_result(connection: sqlite3.Connection, row: Row) -> None:
    """Keep a stage's result; the first one stays, and the same once more is no error."""
    inserted = connection.execute(
        "INSERT INTO stage_results (document_id, stage, cycle, input_sha256, output_json, started_at, ended_at) "
        "VALUES (:document_id, :stage, :cycle, :input_sha256, :output_json, :started_at, :ended_at) "
        "ON CONFLICT DO NOTHING",
        row,
    )
    if inserted.rowcount == 0 and select_stage_result(connection, row) != row["output_json"]:
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


def insert_attempt(connection: sqlite3.Connection, row: Row) -> None:
    """Add one HTTP attempt."""
    connection.execute(
        "INSERT INTO attempts VALUES (:attempt_id, :document_id, :stage, :cycle, :role, :provider, :model, :number, "
        ":outcome, :status_code, :error_code, :error, :wait_seconds, :wait_reason, :latency_seconds, :input_tokens, "
        ":output_tokens, :cached_input_tokens, :reasoning_tokens, :reserved_tokens, :charged_tokens, :cost_micro_usd, "
        ":provider_request_id, :method, :path, :started_at)",
        row,
    )
