"""What has to hold in every world, whatever went wrong in it; each function yields what does not."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.runs.directory import find_run
from agent_pipeline.runs.verify import verify_run
from agent_pipeline.stages import BUILT_IN
from agent_pipeline.testing.worlds.books import AttemptRow, Books, DocumentRow
from agent_pipeline.testing.worlds.files import LOG_SUFFIXES
from agent_pipeline.testing.worlds.session import Session
from agent_pipeline.testing.worlds.witness import NOT_WORKED_ON, Exchange

IMPOSSIBLE = frozenset(
    {"artifact_not_written", "disk_full", "duplicate_id", "internal_error", "ledger_failed", "local_resource"}
    | {"run_in_use", "run_invalid"}
)
"""Codes of errors that no world of ours can cause: the disk is whole, and nobody else is there."""

NEVER_FAILING = frozenset(BUILT_IN) | {"note", "compare", "tidy", "judge", "consult", "debate", "rest"}
"""Stages that raise nothing of their own."""


def broken_by(session: Session, exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Yield what is wrong after one session, whether it ended or died.

    Args:
        session: as it was left.
        exchanges: all the provider ever saw, of earlier sessions too.
    """
    yield from session.failures
    yield from session.story.oddities
    yield from session.books.problems
    seen = exchanges[: session.seen]
    yield from _uncharged_work(session.books, seen)
    yield from _unnumbered_attempts(session.books)
    yield from _unbacked_artifacts(session.books)
    yield from _repeated_work(session)
    yield from _changed_history(session.books, session.before)
    if session.has_died:
        yield from _unknown_requests(session)
        return
    yield from _open_ends(session)
    yield from _impossible_errors(session)
    yield from _unmatched_requests(session, seen)
    yield from _uneven_totals(session)
    yield from _overspent_documents(session)
    yield from (f"{what} left at the end" for what in session.held)


def broken_in_files(session: Session, *, artifacts: Path, logs: Path) -> Iterator[str]:
    """Yield what is wrong with the files of a session that ended."""
    there = {str(path) for path in artifacts.rglob("*")} if artifacts.is_dir() else set()
    recorded = {row.artifact_path for row in session.books.documents if row.artifact_path is not None}
    for path in sorted(there ^ recorded):
        yield f"{Path(path).name} is {'no artifact of any row' if path in there else 'recorded, but not there'}"
    runs = [row.run_id for row in session.books.runs]
    for file in sorted(path for path in logs.rglob("*") for run_id in runs if run_id in str(path)):
        if file.name.startswith(".") or file.name.endswith(("-wal", "-shm")):
            yield f"{file.name} is left behind"
        elif file.suffix in LOG_SUFFIXES:
            yield from _torn_lines(file)


def doubted_by_verify(run: Path) -> Iterator[str]:
    """Yield what `agent-pipeline verify` finds wrong with a run that ended, or was killed; it judges by itself."""
    try:
        report = verify_run(find_run(str(run), run.parent))
    except AgentPipelineError as exc:
        yield f"verify can't read the run: {exc.code}: {exc}"
        return
    for one in report.differences:
        yield f"verify: {one.code}: {one.where}: {one.what} (expected {one.expected}, found {one.found})"


def _torn_lines(file: Path) -> Iterator[str]:
    content = file.read_bytes()
    if content and not content.endswith(b"\n"):
        yield f"{file.name} ends in a torn line"
    elif file.suffix == ".jsonl":
        for number, line in enumerate(content.splitlines(), 1):
            try:
                json.loads(line)
            except ValueError:
                yield f"line {number} of {file.name} is no JSON"


# --- documents -----------------------------------------------------------------------------------------------------


def _open_ends(session: Session) -> Iterator[str]:
    """Yield what has no end, or two."""
    books = session.books
    for document in books.documents:
        told = session.story.finished[document.document_id]
        if document.outcome is None or document.ended_at is None:
            yield f"document {document.document_id} has no terminal record"
        elif document.session == session.in_run and told != 1:
            yield f"document {document.document_id} was said to be finished {told} times"
    known = {document.document_id for document in books.documents}
    yield from (f"document {one} is finished, but has no row" for one in session.story.finished if one not in known)
    yield from (f"attempt {row.attempt_id} has no end" for row in books.attempts if row.outcome is None)
    yield from (f"the run {row.run_id} has no end" for row in books.runs if row.ended_at is None)
    yield from (f"session {row.session} has no end" for row in books.sessions if row.ended_at is None)
    result = session.result
    if result is not None and result.outcome == "completed":
        entries = session.story.documents
        if entries is not None and len(books.documents) != entries:
            yield f"the run is completed with {len(books.documents)} of {entries} documents"
        for row in books.documents:
            if row.outcome == "cancelled":
                yield f"the run is completed, but document {row.document_id} is cancelled"


def _impossible_errors(session: Session) -> Iterator[str]:
    for document in session.books.documents:
        if document.error_code in IMPOSSIBLE:
            yield f"document {document.document_id}: {document.error_code}: {document.error}"
        if document.error_code == "stage_failed" and document.failed_stage in NEVER_FAILING:
            yield f"document {document.document_id}: stage {document.failed_stage} failed: {document.error}"
    if session.result is not None and session.result.reason in IMPOSSIBLE:
        yield f"the run ended with {session.result.reason}"
    if session.result is not None and session.result.left_open:
        yield f"the run left open: {', '.join(session.result.left_open)}"
    if session.result is not None and session.result.dropped:
        yield f"telemetry was dropped: {session.result.dropped}"
    if session.error is not None and session.error[0] in IMPOSSIBLE:
        yield f"the run raised {': '.join(session.error)}"


def _unbacked_artifacts(books: Books) -> Iterator[str]:
    """Yield rows that claim an artifact which is not there, byte by byte, or is not what the last stage made."""
    for row in books.documents:
        if (row.outcome == "succeeded") != (row.artifact_path is not None):
            yield f"document {row.document_id} is {row.outcome} with the artifact {row.artifact_path}"
        if row.artifact_path is None:
            continue
        name = Path(row.artifact_path).name
        content = row.content()
        if content is None:
            yield f"the artifact {name} of document {row.document_id} is recorded, but not on disk"
        elif (hashlib.sha256(content).hexdigest(), len(content)) != (row.artifact_sha256, row.artifact_size_bytes):
            yield f"the artifact {name} of document {row.document_id} is not what its row says"
        elif content != _last_text(books, row).encode():
            yield f"the artifact {name} of document {row.document_id} is not what its last stage made"


def _last_text(books: Books, document: DocumentRow) -> str:
    made = [row for row in books.results if row.document_id == document.document_id]
    return str(json.loads(max(made, key=lambda row: row.ended_at).output_json)["text"]) if made else ""


# --- requests ------------------------------------------------------------------------------------------------------


def _unmatched_requests(session: Session, seen: Sequence[Exchange]) -> Iterator[str]:
    """Yield differences between requests the provider saw, attempts in the ledger, and what each was charged."""
    books = session.books
    if session.lost != session.known_lost:
        yield f"{len(seen)} requests, {len(books.attempts)} attempts; {session.known_lost} were lost in crashes"
    by_id = {one.request_id: one for one in seen if one.request_id is not None}
    for row in books.attempts:
        exchange = None
        if row.provider_request_id is not None:
            exchange = by_id.pop(row.provider_request_id, None)
            if exchange is None:
                yield f"attempt {row.attempt_id} has the answer to another request"
        expected = _expected_charge(row, exchange)
        if row.charged_tokens != expected:
            yield f"attempt {row.attempt_id} ({row.error_code}) is charged {row.charged_tokens} tokens, not {expected}"


def _expected_charge(row: AttemptRow, exchange: Exchange | None) -> int:
    """Return what an attempt costs: what was reported, nothing where no model worked, else the worst case."""
    if exchange is not None and row.reported_tokens is not None:
        return exchange.tokens
    if exchange is not None and exchange.status in NOT_WORKED_ON and row.outcome == "failed":
        return row.charged_tokens if row.error_code == "interrupted" else 0
    return row.reserved_tokens


def _unknown_requests(session: Session) -> Iterator[str]:
    """Yield what is wrong with the number of attempts when the process died.

    A row is written before its request leaves: a death right between the two leaves one row more.
    """
    due = session.interruption
    ahead = 1 if due is not None and due.clock != "step" else 0
    if not session.known_lost - ahead <= session.lost <= session.known_lost + session.in_flight:
        rows = len(session.books.attempts)
        yield f"{session.seen} requests and {session.in_flight} of them in flight, but {rows} attempts"


def _uncharged_work(books: Books, seen: Sequence[Exchange]) -> Iterator[str]:
    """Yield when the provider may ask for more than was charged; requests without a row are told elsewhere."""
    billed = sum(one.tokens for one in seen)
    charged = sum(row.charged_tokens for row in books.attempts)
    if len(books.attempts) >= len(seen) and billed > charged:
        yield f"the provider worked for {billed} tokens, {charged} are charged"


def _unnumbered_attempts(books: Books) -> Iterator[str]:
    """Yield calls whose attempts are not counted 1, 2, 3; only a 429 is tried again under its number."""
    calls: defaultdict[object, list[AttemptRow]] = defaultdict(list)
    for row in books.attempts:
        calls[row.session, row.call_id].append(row)
    for (_, call), rows in ((key, rows) for key, rows in calls.items() if isinstance(key, tuple)):
        expected = 1
        for row in rows:
            if row.number != expected:
                yield f"call {call} of {row.document_id} ({row.stage}) counts {[one.number for one in rows]}"
                break
            expected += row.error_code != "rate_limited"


def _overspent_documents(session: Session) -> Iterator[str]:
    """Yield documents that were charged more than each may use, over all sessions."""
    if session.document_tokens is None:
        return
    of_documents: Counter[str | None] = Counter()
    for row in session.books.attempts:
        of_documents[row.document_id] += row.charged_tokens
    for document_id, charged in of_documents.items():
        if charged > session.document_tokens:
            yield f"document {document_id} was charged {charged} tokens, its cap is {session.document_tokens}"


def _uneven_totals(session: Session) -> Iterator[str]:
    """Yield differences between the budget, the ledger, the events and the result."""
    books = session.books
    if session.tokens is not None:
        charged = sum(row.charged_tokens for row in books.attempts)
        if session.tokens.spent != charged:
            yield f"the budget has {session.tokens.spent} tokens spent, the ledger {charged}"
    if session.micro_usd is not None:
        cost = sum(row.cost_micro_usd or 0 for row in books.attempts)
        if session.micro_usd.spent != cost:
            yield f"the budget has {session.micro_usd.spent} micro-dollars spent, the ledger {cost}"
    told = session.story.attempts
    written = Counter(row.attempt_id for row in books.attempts if row.session == session.in_run)
    if told != written:
        yield f"{told.total()} attempts were told, {written.total()} recorded"
    # A later session that stops early counts what it met of the source; the ledger has what others met, too.
    if session.result is not None and (session.in_run == 1 or session.result.outcome == "completed"):
        counts, outcomes = session.result.documents, Counter(row.outcome for row in books.documents)
        for outcome in ("succeeded", "failed", "skipped", "cancelled"):
            if getattr(counts, outcome) != outcomes[outcome]:
                yield f"the result counts {getattr(counts, outcome)} {outcome}, the ledger {outcomes[outcome]}"


# --- after a death -------------------------------------------------------------------------------------------------


def _repeated_work(session: Session) -> Iterator[str]:
    """Yield requests for what an earlier session had finished."""
    finished = {(row.document_id, row.stage, row.cycle) for row in session.before.results}
    for row in session.books.attempts:
        if row.session == session.in_run and (row.document_id, row.stage, row.cycle) in finished:
            yield f"stage {row.stage} (cycle {row.cycle}) of document {row.document_id} was paid for again"


def _changed_history(books: Books, before: Books) -> Iterator[str]:
    """Yield what an earlier session had finished and this one changed."""
    documents = {row.document_id: row for row in books.documents}
    down = {row.session for row in before.sessions if row.reason == "provider_down"}
    for row in before.documents:
        is_final = row.outcome in {"succeeded", "failed", "skipped"} and row.error_code != "provider_unreachable"
        is_final = is_final and not (row.outcome == "failed" and row.session in down)
        if is_final and documents.get(row.document_id) != row:
            yield f"document {row.document_id} was {row.outcome} and is changed"
    attempts = {row.attempt_id: row for row in books.attempts}
    for attempt in before.attempts:
        now = attempts.get(attempt.attempt_id)
        if now is None or (attempt.outcome is not None and now != attempt):
            yield f"attempt {attempt.attempt_id} of session {attempt.session} is changed or gone"
        elif attempt.outcome is None and now.charged_tokens != attempt.charged_tokens:
            yield f"the interrupted attempt {attempt.attempt_id} is charged otherwise than before"
    results = set(books.results)
    for result in before.results:
        if result not in results:
            yield f"the result of {result.stage} for document {result.document_id} is gone"
