"""The rows of documents: each has one ending, and it fits the rest of the row and the run."""

from collections import Counter

from agent_pipeline.domain.trace_id import trace_id_of
from agent_pipeline.ledger import DocumentRow
from agent_pipeline.runs.verify.evidence import Evidence, shown
from agent_pipeline.runs.verify.sessions import note_jump
from agent_pipeline.runs.verify.soundness import is_sound

_OUTCOMES = ("succeeded", "failed", "skipped", "cancelled")


def check_documents(evidence: Evidence) -> None:
    """Check each row by itself, and hand it on to be compared with events, results, requests, artifact and traces."""
    counts = evidence.findings.counts
    outcomes: Counter[str] = Counter()
    misplaced = 0
    for row in evidence.ledger.documents():
        counts["documents"] += 1
        if not is_sound(evidence, row, f"document {row.document_id}"):
            continue
        outcomes[row.outcome or "unfinished"] += 1
        misplaced += row.position != counts["documents"]
        _check_row(evidence, row)
        _hand_on(evidence, row)
    counts.update({name: outcomes[name] for name in (*_OUTCOMES, "unfinished")})
    _check_outcome(evidence, outcomes, misplaced)


def _check_outcome(evidence: Evidence, outcomes: Counter[str], misplaced: int) -> None:
    """A run of one session that worked through its source has met every entry, and cancelled none."""
    if evidence.ledger.run.outcome != "completed" or evidence.last_session != 1:
        return
    if misplaced:
        what = "positions do not count the documents one by one"
        evidence.findings.differ("position_wrong", what, "documents", expected=0, found=misplaced)
    if outcomes["cancelled"]:
        what = "documents are cancelled, though the run was completed"
        evidence.findings.differ("run_differs", what, "documents", expected=0, found=outcomes["cancelled"])


def _check_row(evidence: Evidence, row: DocumentRow) -> None:
    findings, where = evidence.findings, f"document {row.document_id}"
    if row.session not in evidence.sessions:
        findings.differ("session_unknown", "it was worked on by no session of this run", where, found=row.session)
    if row.outcome is None:
        _check_open(evidence, row, where)
    elif row.ended_at is not None:
        note_jump(evidence, where, row.started_at, row.ended_at)
    if row.outcome == "succeeded" and row.artifact is None:
        findings.differ("artifact_not_recorded", "it succeeded without an artifact", where)
    if row.outcome != "succeeded" and row.artifact is not None:
        found = row.artifact.path
        findings.differ("artifact_unexpected", "it has an artifact without having succeeded", where, found=found)
    has_error = row.error_code is not None
    if row.outcome in {"failed", "succeeded"} and has_error != (row.outcome == "failed"):
        what = "its outcome and its error do not fit together"
        findings.differ("document_implausible", what, where, expected=row.outcome, found=row.error_code)
    if row.trace_id is not None:
        expected = trace_id_of(evidence.directory.run_id, row.document_id, row.session)
        what = "its trace id is not that of its session"
        findings.compare("trace_id_differs", what, where, expected=expected, found=row.trace_id)


def _check_open(evidence: Evidence, row: DocumentRow, where: str) -> None:
    """Only the session that was killed over a document may leave it without an ending."""
    session = evidence.sessions.get(row.session)
    if session is not None and session.ended_at is None and row.session == evidence.last_session:
        evidence.findings.note("document_unfinished", "it was worked on when the process was killed", where)
    else:
        evidence.findings.differ("document_open", "it has no ending", where)


def _hand_on(evidence: Evidence, row: DocumentRow) -> None:
    key, artifact = shown(row.document_id), row.artifact
    path = None if artifact is None else shown(artifact.path)
    ended_at = None if row.ended_at is None else row.ended_at.isoformat()
    was_opened = row.content_sha256 is not None
    record = ["row", row.session, row.outcome, row.reworks, path, row.error_code, ended_at, was_opened]
    evidence.join_document(row.document_id, record)
    if artifact is not None:
        evidence.joining.add("artifacts", artifact.path, [row.document_id, artifact.sha256, artifact.size_bytes])
    for session in range(1, row.session + 1):
        trace_id = trace_id_of(evidence.directory.run_id, row.document_id, session)
        evidence.joining.add("traces", trace_id, ["document", key, session])
