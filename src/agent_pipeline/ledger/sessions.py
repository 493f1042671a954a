"""How a session of a run begins and ends: what a killed one left open is closed, what was spent is added up.

Like `statements`, run by the writer inside its transaction; what changes more than one row is in a savepoint.
"""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime

from agent_pipeline.domain.usage import Spending, Usage
from agent_pipeline.errors import AgentPipelineError, LedgerError
from agent_pipeline.ledger.answers import Session
from agent_pipeline.ledger.rows import Row
from agent_pipeline.ledger.statements import SPENDING, USAGE

INTERRUPTED = "interrupted"
"""The error code of what was under way when its process was killed."""


def begin_session(connection: sqlite3.Connection, row: Row) -> Session:
    """Enter a session and, with the first, the run; close what the one before left open."""
    known = connection.execute("SELECT run_id FROM run").fetchone()
    if known is not None and known[0] != row["run_id"]:
        raise LedgerError(f"this ledger belongs to run {known[0]}, not to {row['run_id']}")
    with _whole(connection):
        connection.execute(
            "INSERT INTO run (run_id, name, started_at, config_sha256, version, config_path, options_json) "
            "VALUES (:run_id, :name, :started_at, :config_sha256, :version, :config_path, :options_json) "
            "ON CONFLICT (run_id) DO UPDATE SET ended_at = NULL, outcome = NULL, reason = NULL, "
            "config_sha256 = excluded.config_sha256, version = excluded.version, "
            "config_path = excluded.config_path, options_json = excluded.options_json",
            row,
        )
        interrupted_documents, interrupted_attempts = _close_interrupted(connection, row)
        (number,) = connection.execute("SELECT coalesce(max(session), 0) + 1 FROM sessions").fetchone()
        connection.execute(
            "INSERT INTO sessions (session, pid, host, version, config_sha256, started_at) "
            "VALUES (:session, :pid, :host, :version, :config_sha256, :started_at)",
            {**row, "session": number},
        )
        return _session(connection, number, interrupted_documents, interrupted_attempts)


def end_session(connection: sqlite3.Connection, row: Row) -> None:
    """Record how the run and its session ended, once."""
    with _whole(connection):
        for table in ("sessions", "run"):
            changed = connection.execute(
                f"UPDATE {table} SET outcome = :outcome, reason = :reason, ended_at = :ended_at "  # noqa: S608 - own
                "WHERE ended_at IS NULL",
                row,
            )
            if changed.rowcount != 1:
                raise LedgerError("the run has not begun or has already ended")


def leave_session(connection: sqlite3.Connection, row: Row) -> None:
    """End the documents and attempts of a process that leaves without waiting for them; its session stays open."""
    with _whole(connection):
        _interrupt(connection, str(row["ended_at"]), "left")


def _close_interrupted(connection: sqlite3.Connection, row: Row) -> tuple[int, int]:
    """End what a killed session left open; return how many documents and attempts that were."""
    connection.execute(
        "UPDATE sessions SET outcome = 'incomplete', reason = 'killed', ended_at = :started_at WHERE ended_at IS NULL",
        row,
    )
    return _interrupt(connection, str(row["started_at"]), "was killed")


def _interrupt(connection: sqlite3.Connection, ended_at: str, what: str) -> tuple[int, int]:
    """End what is open, because the process `what`; return how many documents and attempts that were."""
    documents = connection.execute(
        "UPDATE documents SET outcome = 'cancelled', error_code = ?, ended_at = ?, error = ? WHERE outcome IS NULL",
        (INTERRUPTED, ended_at, f"the process {what} before the document ended"),
    )
    attempts = connection.execute(
        "UPDATE attempts SET outcome = 'failed', error_code = ?, error = ? WHERE outcome IS NULL",
        (INTERRUPTED, f"the process {what} before the answer was recorded"),
    )
    return documents.rowcount, attempts.rowcount


def _session(
    connection: sqlite3.Connection, number: int, interrupted_documents: int, interrupted_attempts: int
) -> Session:
    """Add up what all sessions so far have done."""
    attempts, unknown_cost, usage, roles = 0, False, Usage(), dict[str, Spending]()
    found = connection.execute(
        f"SELECT role, count(*), count(*) > count(cost_micro_usd), {SPENDING}, {USAGE} "  # noqa: S608 - own
        "FROM attempts GROUP BY role ORDER BY role"
    )
    for role, sent, has_unknown_cost, charged, unknown, micro_usd, *reported in found:
        attempts += sent
        unknown_cost |= bool(has_unknown_cost)
        roles[role] = Spending(charged, unknown, micro_usd)
        usage += Usage(*reported)
    # Five times as fast as count(DISTINCT call_id), which sorts one by one.
    (requests,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM attempts WHERE call_id IS NOT NULL GROUP BY call_id)"
    ).fetchone()
    (last_position,) = connection.execute("SELECT coalesce(max(position), 0) FROM documents").fetchone()
    reasons = connection.execute("SELECT session, reason FROM sessions WHERE reason IS NOT NULL")
    ended = connection.execute("SELECT session, ended_at FROM sessions WHERE ended_at IS NOT NULL")
    return Session(
        number=number,
        interrupted_documents=interrupted_documents,
        interrupted_attempts=interrupted_attempts,
        attempts=attempts,
        requests=requests,
        usage=usage,
        charged_tokens=sum(spent.tokens for spent in roles.values()),
        unknown_tokens=sum(spent.unknown_tokens for spent in roles.values()),
        charged_micro_usd=sum(spent.micro_usd for spent in roles.values()),
        unknown_cost=unknown_cost,
        last_position=last_position,
        roles=roles,
        reasons=dict(reasons.fetchall()),
        ended_at={session: datetime.fromisoformat(ended_at) for session, ended_at in ended},
    )


@contextmanager
def _whole(connection: sqlite3.Connection) -> Generator[None]:
    """Undo all of the block when it is refused; every other error ends the ledger, and the whole group with it."""
    connection.execute("SAVEPOINT whole")
    try:
        yield
    except (AgentPipelineError, sqlite3.IntegrityError, sqlite3.DataError):
        connection.execute("ROLLBACK TO whole")
        connection.execute("RELEASE whole")
        raise
    connection.execute("RELEASE whole")
