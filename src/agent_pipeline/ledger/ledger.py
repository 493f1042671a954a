"""The ledger as the pipeline sees it: every call returns when its row is on disk, or says that it is not."""

import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, NoReturn, TypeVar, cast

import trio

from agent_pipeline.domain.document import Artifact, Outcome
from agent_pipeline.domain.result import RunOutcome
from agent_pipeline.domain.stage_result import ResultKey, StageResult
from agent_pipeline.domain.usage import AttemptRecord, Spending
from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger import rows, sessions, statements
from agent_pipeline.ledger.answers import KnownDocument, Session
from agent_pipeline.ledger.commit import Connect, Entry, Writer
from agent_pipeline.ledger.inline_writer import InlineWriter
from agent_pipeline.ledger.rows import Row
from agent_pipeline.ledger.schema import connect as connect_to_file
from agent_pipeline.ledger.schema import connect_existing
from agent_pipeline.ledger.thread_writer import ThreadWriter

ResultT = TypeVar("ResultT")


@asynccontextmanager
async def open_ledger(
    path: Path, *, create: bool = True, threaded: bool = True, connect: Connect | None = None
) -> AsyncGenerator["Ledger"]:
    """Open the ledger of a run; the folder must exist.

    Leaving writes what is queued, moves the write-ahead log into the file and closes it. That can't be cancelled and
    takes at most 30 s.

    Args:
        path: the SQLite file.
        create: make a new ledger where there is none; False refuses that, for a run that has begun.
        threaded: write in a thread; False writes on the Trio thread, for virtual time.
        connect: how else to open the file, for those who want other limits or to watch the connection.

    Raises:
        LedgerError: the file can't be opened; or, at the end of a block that raised nothing, rows could not be
            written and no call has said so yet.
    """
    connect = connect or (connect_to_file if create else connect_existing)
    writer: Writer = ThreadWriter(path, connect) if threaded else InlineWriter(path, connect)
    await writer.open()
    ledger = Ledger(writer)
    try:
        yield ledger
    except BaseException:
        await writer.aclose()
        raise
    await writer.aclose()
    if ledger.failure is not None and not ledger.is_failure_told:
        raise ledger.failure


class Ledger:
    """What happened in a run, as it happens; made by `open_ledger`.

    Calls that wait return when their row is on disk (group commit, so many of them share one sync). Cancelled while
    waiting they raise `trio.Cancelled`, and **the row is written all the same**: shield a call whose outcome you must
    know. Once SQLite failed (full or broken disk), what was acknowledged before stays true, and every call that was
    waiting or comes later raises LedgerError.

    Attributes:
        is_failure_told: whether a call has already raised the error that ended the ledger.
    """

    def __init__(self, writer: Writer) -> None:
        self.is_failure_told = False
        self._writer = writer
        self._session: int | None = None

    @property
    def failure(self) -> LedgerError | None:
        """The error after which nothing more is written; None while all is well."""
        return self._writer.failure

    async def wait_failure(self) -> LedgerError:
        """Wait until the ledger fails, and return why; for a task that ends the run then."""
        while self._writer.failure is None:
            await self._writer.failed.wait()
        return self._writer.failure

    async def begin_session(
        self,
        *,
        run_id: str,
        name: str,
        started_at: datetime,
        config_sha256: str,
        version: str,
        config_path: str | None,
        options_json: str,
        pid: int,
        host: str,
    ) -> Session:
        """Enter this process as the one that works on the run from now on; the first enters the run.

        What an earlier session left open, because it was killed, has ended once this returns: its documents as
        cancelled, its attempts as failed with their charge, both with the code `interrupted`; itself as `killed`. The
        run has not ended again. All that, and the row of this session, is there or nothing of it.

        Raises:
            LedgerError: the ledger belongs to another run.
        """
        row: Row = {
            "run_id": rows.key(run_id, "run_id"),
            "name": rows.name(name),
            "started_at": rows.instant(started_at, "started_at"),
            "config_sha256": rows.key(config_sha256, "config_sha256"),
            "version": rows.name(version),
            "config_path": rows.optional_key(config_path, "config_path"),
            "options_json": rows.json_text(options_json),
            "pid": rows.integer(pid, "pid"),
            "host": rows.name(host),
        }
        session = await self._perform(partial(sessions.begin_session, row=row), is_read=False)
        self._session = session.number
        return session

    async def begin_document(
        self,
        *,
        document_id: str,
        position: int,
        source: str | None,
        content_sha256: str | None,
        plan_sha256: str | None,
        trace_id: str | None,
        started_at: datetime,
    ) -> None:
        """Enter a document that is about to be worked on.

        Raises:
            DuplicateDocumentError: the run already has a document of this id; nothing is written.
        """
        row = self._document_row(document_id, position, source, started_at)
        await self._write(statements.insert_document, row | rows.work_columns(content_sha256, plan_sha256, trace_id))

    async def reopen_document(
        self,
        *,
        document_id: str,
        position: int,
        source: str | None,
        content_sha256: str | None,
        plan_sha256: str | None,
        trace_id: str | None,
        started_at: datetime,
    ) -> None:
        """Take up a document of an earlier session again: what its row said of its ending is gone, its results stay.

        Raises:
            DuplicateDocumentError: this session has had a document of this id already; nothing is written.
            LedgerError: the run has no document of this id.
        """
        row = self._document_row(document_id, position, source, started_at)
        await self._write(statements.reopen_document, row | rows.work_columns(content_sha256, plan_sha256, trace_id))

    async def begin_and_finish_document(
        self,
        *,
        document_id: str,
        position: int,
        source: str | None,
        outcome: Literal["skipped", "failed", "cancelled"],
        error_code: str | None,
        error: str | None,
        at: datetime,
    ) -> None:
        """Enter a document that ends as it begins, with one row: skipped, invalid, or never admitted.

        Raises:
            DuplicateDocumentError: the run already has a document of this id; nothing is written.
        """
        row = self._document_row(document_id, position, source, at)
        await self._write(statements.insert_document, row | rows.ending_at_once(outcome, error_code, error, at))

    async def reopen_and_finish_document(
        self,
        *,
        document_id: str,
        position: int,
        source: str | None,
        outcome: Literal["skipped", "failed", "cancelled"],
        error_code: str | None,
        error: str | None,
        at: datetime,
    ) -> None:
        """Give a document of an earlier session another ending, without work: skipped or invalid by now.

        Raises:
            DuplicateDocumentError: this session has had a document of this id already; nothing is written.
            LedgerError: the run has no document of this id.
        """
        row = self._document_row(document_id, position, source, at)
        await self._write(statements.reopen_document, row | rows.ending_at_once(outcome, error_code, error, at))

    async def move_document(self, document_id: str, position: int) -> None:
        """Record where in the source a document that is kept stands by now.

        Raises:
            LedgerError: the run has no document of this id.
        """
        row: Row = {
            "document_id": rows.key(document_id, "document_id"),
            "position": rows.integer(position, "position"),
        }
        await self._write(statements.move_document, row)

    async def find_documents(self, ids: Sequence[str]) -> dict[str, KnownDocument]:
        """Return what the ledger says of these documents; one it does not know is missing."""
        keys = [rows.key(one, "document_id") for one in ids]
        return await self._perform(partial(statements.select_documents, ids=keys), is_read=True)

    def record_attempt(self, record: AttemptRecord) -> None:
        """Take the record of one HTTP attempt without waiting: once with no outcome as it is sent, once at its end.

        Both make one row. It is on disk with the next group (threaded: within about 20 ms), at the latest when the
        ledger is left. One that can't be written ends the ledger, because requests and rows would no longer match.

        Raises:
            LedgerError: a value can't be stored, or the ledger has failed or is closed; nothing is taken.
        """
        row = rows.attempt_row(record, self._current_session())
        statement = statements.insert_attempt if record.outcome is None else statements.end_attempt
        self._put(Entry(partial(statement, row=row), is_read=False, settled=None))

    async def save_stage_result(self, result: StageResult) -> None:
        """Keep what a stage made of this input; the first result stays, the same once more is no error.

        Raises:
            LedgerError: no such document, or there is another result for the same document, stage, cycle and input.
        """
        await self._write(statements.insert_stage_result, rows.result_row(result))

    def record_stage_result(self, result: StageResult) -> None:
        """Take what a stage made without waiting; it is on disk before anything that is taken after it.

        One that can't be written, or differs from what there is, ends the ledger: nobody else could be told.

        Raises:
            LedgerError: a value can't be stored, or the ledger has failed or is closed; nothing is taken.
        """
        row = rows.result_row(result)
        self._put(Entry(partial(statements.insert_stage_result, row=row), is_read=False, settled=None))

    async def find_stage_result(self, document_id: str, key: ResultKey) -> str | None:
        """Return the JSON a stage made of exactly this input, None if there is none.

        The text is equal as JSON to what was saved; raw lone surrogates come back as escapes.
        """
        row = rows.result_key(document_id, key)
        return await self._perform(partial(statements.select_stage_result, row=row), is_read=True)

    async def spent_on(self, document_id: str) -> Spending:
        """Return what the requests of a document were charged, in all sessions; nothing for one that is not known."""
        row: Row = {"document_id": rows.key(document_id, "document_id")}
        return await self._perform(partial(statements.select_spending, row=row), is_read=True)

    async def find_stage_results(self, ids: Sequence[str]) -> dict[str, statements.StageResults]:
        """Return all that stages made of these documents, by document; one of which they made nothing is missing."""
        keys = [rows.key(one, "document_id") for one in ids]
        return await self._perform(partial(statements.select_stage_results, ids=keys), is_read=True)

    async def spent_on_each(self, ids: Sequence[str]) -> dict[str, Spending]:
        """Return what the requests of these documents were charged, in all sessions; one without any is missing."""
        keys = [rows.key(one, "document_id") for one in ids]
        return await self._perform(partial(statements.select_spending_of_each, ids=keys), is_read=True)

    async def finish_document(
        self,
        document_id: str,
        *,
        outcome: Outcome,
        error_code: str | None,
        error: str | None,
        failed_stage: str | None,
        reworks: int,
        artifact: Artifact | None,
        ended_at: datetime,
    ) -> None:
        """Write the terminal record of a document; there is exactly one.

        Raises:
            LedgerError: the document was never begun or has already ended; the record it has stays.
        """
        row: Row = {
            "document_id": rows.key(document_id, "document_id"),
            "outcome": outcome,
            "error_code": rows.message(error_code),
            "error": rows.message(error),
            "failed_stage": rows.message(failed_stage),
            "reworks": rows.integer(reworks, "reworks"),
            **rows.artifact_columns(artifact),
            "ended_at": rows.instant(ended_at, "ended_at"),
        }
        await self._write(statements.end_document, row)

    async def finish_run(self, *, outcome: RunOutcome, reason: str | None, ended_at: datetime) -> None:
        """Record how the run ended, and with it this session.

        Raises:
            LedgerError: it has not begun or has already ended.
        """
        row: Row = {"outcome": outcome, "reason": rows.message(reason), "ended_at": rows.instant(ended_at, "ended_at")}
        await self._write(sessions.end_session, row)

    def close_now(self, timeout: float) -> bool:
        """Write what is queued and close the file within `timeout` seconds, from any thread; take nothing more.

        Documents and attempts that are open then end as `cancelled` and `failed`, with the code `interrupted`.

        For a process that is about to leave without waiting for its tasks. Started by a signal, it needs a thread of
        its own: a signal handler runs in the middle of whatever the main thread was doing to the ledger.

        Returns:
            whether all was written.
        """
        row: Row = {"ended_at": rows.instant(datetime.now(UTC), "ended_at")}
        last = Entry(partial(sessions.leave_session, row=row), is_read=False, settled=None)
        return self._writer.close_now(timeout, last)

    def _current_session(self) -> int:
        if self._session is None:
            raise LedgerError("no session has begun")
        return self._session

    def _document_row(self, document_id: str, position: int, source: str | None, started_at: datetime) -> Row:
        return rows.document_row(document_id, position, source, started_at, self._current_session())

    async def _write(self, statement: Callable[[sqlite3.Connection, Row], None], row: Row) -> None:
        await self._perform(lambda connection: statement(connection, row), is_read=False)

    async def _perform(self, work: Callable[[sqlite3.Connection], ResultT], *, is_read: bool) -> ResultT:
        settled = trio.Event()
        entry = Entry(work, is_read=is_read, settled=settled)
        self._put(entry)
        await self._writer.wait_settled(settled)
        if entry.error is None:
            return cast("ResultT", entry.result)
        if isinstance(entry.error, LedgerError) and entry.error is self._writer.failure:
            self._raise_failure(entry.error)
        raise entry.error

    def _put(self, entry: Entry) -> None:
        if self._writer.failure is not None:
            self._raise_failure(self._writer.failure)
        self._writer.put(entry)

    def _raise_failure(self, failure: LedgerError) -> NoReturn:
        # A fresh error for each: one exception raised in a hundred tasks would collect all their tracebacks.
        self.is_failure_told = True
        raise LedgerError(str(failure)) from failure
