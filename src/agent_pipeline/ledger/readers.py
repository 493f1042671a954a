"""Reading a run's ledger, finished, killed or going on, without changing a byte on disk."""

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from agent_pipeline.domain.document import Artifact, Outcome
from agent_pipeline.domain.usage import AttemptRecord, Spending, Usage
from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger import summaries
from agent_pipeline.ledger.answers import (
    AttemptCount,
    AttemptRow,
    DocumentCount,
    DocumentRow,
    LatencyCount,
    RoleUsage,
    RunRow,
    SessionRow,
    StageResultRow,
)
from agent_pipeline.ledger.kinds import check_options, checked_rows
from agent_pipeline.ledger.schema import check_format
from agent_pipeline.ledger.statements import SPENDING, USAGE

RowT = TypeVar("RowT")
Columns = tuple[Any, ...]
"""A row as SQLite gives it."""

RowsOf = Callable[[sqlite3.Cursor], Iterator[Columns]]
"""Reads the rows of a query."""

_RUN_COLUMNS = "run_id, name, started_at, ended_at, outcome, reason, config_sha256, version, config_path, options_json"
_SESSION_COLUMNS = "session, pid, host, version, config_sha256, started_at, ended_at, outcome, reason"
_DOCUMENT_COLUMNS = (
    "document_id, artifact_path, artifact_sha256, artifact_size_bytes, started_at, ended_at, position, source, "
    "content_sha256, outcome, error_code, error, failed_stage, reworks, trace_id, plan_sha256, session"
)
_RESULT_COLUMNS = "document_id, stage, cycle, input_sha256, output_json, started_at, ended_at"
_ATTEMPT_NAMES = (
    *("attempt_id", "document_id", "stage", "cycle", "role", "provider", "model", "number", "outcome", "status_code"),
    *("error_code", "error", "wait_seconds", "wait_reason", "latency_seconds", "reserved_tokens", "charged_tokens"),
    *("cost_micro_usd", "provider_request_id", "method", "path", "trace_id", "span_id"),
)
_ATTEMPT_COLUMNS = (
    "session, started_at, call_id, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, "
    + ", ".join(_ATTEMPT_NAMES)
)
_ROLE_COLUMNS = (
    "role, count(DISTINCT document_id), count(DISTINCT call_id), count(*), count(input_tokens), "
    f"count(*) > count(cost_micro_usd), {USAGE}, {SPENDING}"
)

_ADVICE = {
    "SQLITE_NOTADB": "; this is no ledger, check the path",
    "SQLITE_CORRUPT": "; it is damaged, the sqlite3 shell's .recover may save what it held",
    "SQLITE_CANTOPEN": "; check its permissions",
}


class LedgerReader:
    """What a ledger says, as of one moment; made by `open_reader`.

    The iterators read as they go, so a large ledger needs little memory; each raises LedgerError where the file turns
    out to be damaged.

    Attributes:
        run: the run itself.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, rows_of: RowsOf = checked_rows) -> None:
        self._connection = connection
        self._path = path
        self._rows_of = rows_of
        run = next(self._rows(_RUN_COLUMNS, "run", _run), None)
        if run is None:
            raise LedgerError(f"{path}: an empty ledger, no run has begun in it")
        self.run: RunRow = run

    def sessions(self) -> Iterator[SessionRow]:
        """Read the sessions, the first one first."""
        return self._rows(_SESSION_COLUMNS, "sessions ORDER BY session", _session)

    def documents(self) -> Iterator[DocumentRow]:
        """Read the documents in source order."""
        return self._rows(_DOCUMENT_COLUMNS, "documents ORDER BY position, rowid", _document)

    def stage_results(self) -> Iterator[StageResultRow]:
        """Read the stages' results, in the order they were kept in."""
        return self._rows(_RESULT_COLUMNS, "stage_results ORDER BY rowid", _stage_result)

    def attempts(self) -> Iterator[AttemptRow]:
        """Read the HTTP requests, in the order they were recorded in."""
        return self._rows(_ATTEMPT_COLUMNS, "attempts ORDER BY rowid", _attempt)

    def document(self, document_id: str) -> DocumentRow | None:
        """Look up one document; None where there is none of this id."""
        return next(self._rows(_DOCUMENT_COLUMNS, "documents WHERE document_id = ?", _document, document_id), None)

    def stage_results_of(self, document_id: str) -> Iterator[StageResultRow]:
        """Read the results of one document's stages, in the order they were kept in."""
        return self._rows(
            _RESULT_COLUMNS, "stage_results WHERE document_id = ? ORDER BY rowid", _stage_result, document_id
        )

    def attempts_of(self, document_id: str) -> Iterator[AttemptRow]:
        """Read one document's HTTP requests, in the order they were recorded in."""
        return self._rows(_ATTEMPT_COLUMNS, "attempts WHERE document_id = ? ORDER BY rowid", _attempt, document_id)

    def usage_by_role(self) -> Iterator[RoleUsage]:
        """Read what the requests of each role came to, by the role's name: the run's own history of what to expect."""
        return self._rows(_ROLE_COLUMNS, "attempts GROUP BY role ORDER BY role", _role_usage)

    def document_counts(self) -> Iterator[DocumentCount]:
        """Count the documents by how they ended."""
        grouped = "documents GROUP BY outcome, error_code ORDER BY outcome, error_code"
        return self._rows("outcome, error_code, count(*)", grouped, _document_count)

    def attempt_counts(self) -> Iterator[AttemptCount]:
        """Count the HTTP requests by role, model and how they ended."""
        key = "role, provider, model, outcome, status_code"
        sums = f"count(*), count(*) - count(cost_micro_usd), total(latency_seconds), {USAGE}, {SPENDING}"
        return self._rows(f"{key}, {sums}", f"attempts GROUP BY {key} ORDER BY {key}", _attempt_count)

    def latency_counts(self, bounds: Sequence[float]) -> Iterator[LatencyCount]:
        """Count the HTTP requests that are over by model and seconds, between one bound and the next."""
        above = [f"count(*) FILTER (WHERE latency_seconds > {bound:.17g})" for bound in bounds]
        columns = ", ".join(["provider, model, total(latency_seconds), count(*)", *above])
        grouped = "attempts WHERE outcome IS NOT NULL GROUP BY provider, model ORDER BY provider, model"
        return self._rows(columns, grouped, _latency_count)

    def stage_counts(self) -> Iterator[tuple[str, int]]:
        """Count the results kept, by stage."""
        return self._rows(
            "stage, count(*)", "stage_results GROUP BY stage ORDER BY stage", lambda row: (row[0], row[1])
        )

    def document_at(self, position: int) -> DocumentRow | None:
        """Look up the document at a position of the source, from 1."""
        return next(self._rows(_DOCUMENT_COLUMNS, "documents WHERE position = ?", _document, str(position)), None)

    def document_ids(self) -> Iterator[str]:
        """Read the ids of all documents in source order."""
        return self._rows("document_id", "documents ORDER BY position, rowid", lambda row: str(row[0]))

    def outcomes(self) -> dict[Outcome | None, int]:
        """Count the documents by how they ended; None where they have not."""
        counts: Counter[Outcome | None] = Counter()
        for one in self.document_counts():
            counts[one.outcome] += one.count
        return dict(counts)

    def totals(self) -> summaries.Totals:
        """Add up all HTTP requests."""
        return next(self._rows(summaries.TOTAL_COLUMNS, summaries.TOTALS, summaries.totals))

    def totals_of(self, document_id: str) -> summaries.Totals:
        """Add up those of one document."""
        return next(self._rows(summaries.TOTAL_COLUMNS, summaries.TOTALS_OF_DOCUMENT, summaries.totals, document_id))

    def stage_times(self) -> Iterator[summaries.StageTimes]:
        """Read how long the stages took, in the order they were first gone through in."""
        return self._rows(summaries.STAGE_COLUMNS, summaries.STAGES, lambda row: summaries.StageTimes(*row))

    def failures(self) -> Iterator[summaries.FailureGroup]:
        """Read which documents failed alike, the most frequent first, then those that were cancelled alike."""
        return self._rows(summaries.FAILURE_COLUMNS, summaries.FAILURES, summaries.failure_group)

    def waits(self) -> Iterator[summaries.WaitSum]:
        """Read for how long requests waited and for what, the longest sum first."""
        return self._rows(summaries.WAIT_COLUMNS, summaries.WAITS, lambda row: summaries.WaitSum(*row))

    def models(self) -> Iterator[summaries.RoleModel]:
        """Read which models the roles' requests went to, of each role the most frequent first."""
        return self._rows(summaries.MODEL_COLUMNS, summaries.MODELS, lambda row: summaries.RoleModel(*row))

    def slowest_documents(self, most: int) -> Iterator[DocumentRow]:
        """Read the documents that took longest, at most so many."""
        return self._rows(_DOCUMENT_COLUMNS, summaries.SLOWEST_DOCUMENTS, _document, str(most))

    def slowest_stage_results(self, most: int) -> Iterator[StageResultRow]:
        """Read the results that took longest to make, likewise."""
        return self._rows(_RESULT_COLUMNS, summaries.SLOWEST_RESULTS, _stage_result, str(most))

    def slowest_attempts(self, most: int) -> Iterator[AttemptRow]:
        """Read the HTTP requests that took longest, likewise."""
        return self._rows(_ATTEMPT_COLUMNS, summaries.SLOWEST_ATTEMPTS, _attempt, str(most))

    def integrity_problems(self) -> list[str]:
        """Return what is wrong with the file itself, and results of documents that are not there; reads all of it."""
        try:
            found = [str(said) for (said,) in self._connection.execute("PRAGMA integrity_check") if said != "ok"]
            orphans = self._connection.execute("PRAGMA foreign_key_check").fetchall()
        except sqlite3.Error as exc:
            return [str(exc)]
        return found + [f"{table}: row {row} belongs to no row of {parent}" for table, row, parent, _ in orphans]

    def _rows(self, columns: str, table: str, row_of: Callable[[Columns], RowT], *values: str) -> Iterator[RowT]:
        query = f"SELECT {columns} FROM {table}"  # noqa: S608 - names of our own
        with _told(self._path):
            for row in self._rows_of(self._connection.execute(query, values)):
                yield row_of(row)


@contextmanager
def open_reader(path: Path, *, rows_of: RowsOf = checked_rows) -> Generator[LedgerReader]:
    """Read the ledger at `path` as it is at this moment; a run may go on with it meanwhile.

    Nothing on disk is changed. While a run goes on, a reader that stays keeps the write-ahead log from being moved
    into the file.

    Args:
        path: of the file.
        rows_of: `iter` for who looks for damage himself: rows may then hold anything.

    Raises:
        LedgerError: there is none, it can't be read, or it is of another version's format; or, at the end, a run
            went on with a ledger that was closed before, so that what was read may be of two moments.
    """
    with _connected(path) as connection:
        with _told(path):
            check_format(connection, path)
            connection.execute("BEGIN")  # one snapshot for all that is read
        yield LedgerReader(connection, path, rows_of)


def recorded_artifacts(ledger_path: Path) -> list[Artifact]:
    """Return the artifacts a run recorded as written, in source order; of a ledger of any format so far.

    Raises:
        LedgerError: there is no ledger at this path, or it can't be read.
    """
    with _connected(ledger_path) as connection, _told(ledger_path):
        found = connection.execute(
            "SELECT document_id, artifact_path, artifact_sha256, artifact_size_bytes FROM documents "
            "WHERE artifact_path IS NOT NULL ORDER BY position"
        ).fetchall()
    return [Artifact(document_id, path, sha256, size) for document_id, path, sha256, size in found]


def count_documents(ledger_path: Path) -> int:
    """Return how many documents a run has begun, in all its sessions; of a ledger of any format so far.

    Raises:
        LedgerError: there is no ledger at this path, or it can't be read.
    """
    with _connected(ledger_path) as connection, _told(ledger_path):
        (count,) = connection.execute("SELECT count(*) FROM documents").fetchone()
    return int(count)


@contextmanager
def _connected(path: Path) -> Generator[sqlite3.Connection]:
    """Open a ledger for reading so that nothing is written, neither to it nor beside it."""
    with ExitStack() as stack:
        with _told(path):
            if not path.is_file():
                raise LedgerError(f"{path}: there is no ledger; check the path")
            address = stack.enter_context(_address(path.resolve()))
            connection = stack.enter_context(closing(sqlite3.connect(address, uri=True, isolation_level=None)))
            connection.execute("PRAGMA query_only = ON")
        yield connection


@contextmanager
def _address(path: Path) -> Generator[str]:
    # The ledger itself is never opened by us but where no process has it open: closing it would drop the locks that
    # SQLite holds for this process (POSIX), and another connection could then delete the log of a live run.
    log, index = (path.with_name(f"{path.name}-{suffix}") for suffix in ("wal", "shm"))
    if not log.exists():
        before = _state(path)
        yield f"{path.as_uri()}?mode=ro&immutable=1"
        if _state(path) != before:
            raise LedgerError(f"{path}: the ledger was changed while it was read; read it again")
    elif index.exists():
        # A live run's locks and index are used; without one the log is indexed in memory, and the index left alone.
        yield f"{path.as_uri()}?mode=ro&readonly_shm=1"
    else:
        with tempfile.TemporaryDirectory(prefix="agent-pipeline-") as folder:  # where SQLite may make its index
            for file in (path, log):
                shutil.copyfile(file, Path(folder, file.name))
            yield f"{Path(folder, path.name).as_uri()}?mode=rw"


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def _told(path: Path) -> Generator[None]:
    """Turn what goes wrong with a file, or with what it holds, into our own error."""
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, TypeError) as exc:
        advice = _ADVICE.get(getattr(exc, "sqlite_errorname", ""), "")
        raise LedgerError(f"{path}: the ledger can't be read: {exc}{advice}") from exc


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _optional_time(text: str | None) -> datetime | None:
    return None if text is None else _time(text)


def _run(row: Columns) -> RunRow:
    run_id, name, started_at, ended_at, *rest = row
    check_options(rest[-1])
    return RunRow(run_id, name, _time(started_at), _optional_time(ended_at), *rest)


def _session(row: Columns) -> SessionRow:
    session, pid, host, version, config_sha256, started_at, ended_at, outcome, reason = row
    times = _time(started_at), _optional_time(ended_at)
    return SessionRow(session, pid, host, version, config_sha256, *times, outcome, reason)


def _document(row: Columns) -> DocumentRow:
    document_id, path, sha256, size_bytes, started_at, ended_at, *rest = row
    artifact = None if path is None else Artifact(document_id, path, sha256, size_bytes)
    return DocumentRow(document_id, artifact, _time(started_at), _optional_time(ended_at), *rest)


def _stage_result(row: Columns) -> StageResultRow:
    document_id, stage, cycle, input_sha256, output_json, started_at, ended_at = row
    return StageResultRow(document_id, stage, cycle, input_sha256, output_json, _time(started_at), _time(ended_at))


def _role_usage(row: Columns) -> RoleUsage:
    role, documents, requests, attempts, reported, unknown_cost, *sums = row
    usage, spent = Usage(*sums[:4]), Spending(*sums[4:])
    return RoleUsage(role, documents, requests, attempts, reported, usage, spent, bool(unknown_cost))


def _document_count(row: Columns) -> DocumentCount:
    return DocumentCount(*row)


def _attempt_count(row: Columns) -> AttemptCount:
    role, provider, model, outcome, status_code, count, unpriced, seconds, *sums = row
    key = role, provider, model, outcome, status_code
    return AttemptCount(*key, count, unpriced, seconds, Usage(*sums[:4]), Spending(*sums[4:]))


def _latency_count(row: Columns) -> LatencyCount:
    provider, model, seconds, *above = row
    counts = [more - less for more, less in pairwise([*above, 0])]
    return LatencyCount(provider, model, tuple(counts), seconds)


def _attempt(row: Columns) -> AttemptRow:
    session, started_at, call_id, input_tokens, output_tokens, cached, reasoning, *rest = row
    usage = None if input_tokens is None else Usage(input_tokens, output_tokens, cached, reasoning)
    named = dict(zip(_ATTEMPT_NAMES, rest, strict=True))
    return AttemptRow(
        session, AttemptRecord(sent=True, usage=usage, started_at=_time(started_at), call_id=call_id or "", **named)
    )
