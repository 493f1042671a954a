"""HTTP requests: their charges, their ends, and that ledger and events tell the same of each."""

from datetime import datetime, timedelta
from typing import Any

from agent_pipeline.domain.trace_id import trace_id_of
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.ledger import AttemptRow
from agent_pipeline.ledger.joining import Record
from agent_pipeline.runs.verify.evidence import INTERRUPTED, Evidence, shown
from agent_pipeline.runs.verify.soundness import is_sound

_COMPARED = (
    *("document_id", "stage", "cycle", "role", "provider", "model", "number", "outcome", "status_code", "error_code"),
    *("reserved_tokens", "charged_tokens", "cost_micro_usd", "call_id", "trace_id", "span_id"),
)


def told_of(values: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return what an event says of an attempt, as far as the ledger says it too."""
    usage = values.get("usage")
    tokens = [usage.get("input_tokens"), usage.get("output_tokens")] if isinstance(usage, dict) else None
    return {name: values.get(name) for name in _COMPARED} | {"usage": tokens}


def check_attempts(evidence: Evidence) -> None:
    """Check each row by itself, and hand it on to be compared with events, documents and spans."""
    for row in evidence.ledger.attempts():
        evidence.findings.counts["attempts"] += 1
        where = f"attempt {row.attempt.attempt_id}"
        if not is_sound(evidence, row, where):
            continue
        _check_charge(evidence, row.attempt, where)
        _check_end(evidence, row, where)
        _check_trace(evidence, row, where)
        _hand_on(evidence, row)


def _check_charge(evidence: Evidence, attempt: AttemptRecord, where: str) -> None:
    """What was reported is charged; where nothing was, all that was held for it, or nothing."""
    findings, charged, usage = evidence.findings, attempt.charged_tokens, attempt.usage
    findings.counts["charged_tokens"] += charged
    findings.counts["cost_micro_usd"] += attempt.cost_micro_usd or 0
    if min(charged, attempt.reserved_tokens, attempt.cost_micro_usd or 0) < 0:
        findings.differ("charge_differs", "its charge or its cost is negative", where, found=charged)
    if usage is not None:
        findings.counts["input_tokens"] += usage.input_tokens
        findings.counts["output_tokens"] += usage.output_tokens
        what = "it is not charged what its provider reported"
        findings.compare("charge_differs", what, where, expected=usage.total_tokens, found=charged)
        return
    findings.counts["unknown_tokens"] += charged
    is_held = attempt.outcome is None or attempt.error_code == INTERRUPTED
    if charged != attempt.reserved_tokens and (is_held or charged != 0):
        what = "it is charged neither nothing nor what was held for it"
        findings.differ("charge_differs", what, where, expected=attempt.reserved_tokens, found=charged)


def _check_end(evidence: Evidence, row: AttemptRow, where: str) -> None:
    findings, attempt, session = evidence.findings, row.attempt, evidence.sessions.get(row.session)
    if session is None:
        findings.differ("session_unknown", "it was sent by no session of this run", where, found=row.session)
    elif attempt.outcome is None and session.ended_at is None:
        findings.note("attempt_unfinished", "it was under way when the process was killed", where)
    elif attempt.outcome is None:
        findings.differ("attempt_open", "it has no end, though its session has", where)
    if attempt.number < 1 or (attempt.error_code is None) != (attempt.outcome in {None, "succeeded"}):
        what = "its number, outcome and error do not fit together"
        found = [attempt.number, attempt.outcome, attempt.error_code]
        findings.differ("attempt_implausible", what, where, found=[*found])


def _check_trace(evidence: Evidence, row: AttemptRow, where: str) -> None:
    """It carries the id of its document's trace in that session; a plain call names no span."""
    attempt = row.attempt
    evidence.findings.counts["plain_calls"] += attempt.span_id is None
    expected = None
    if attempt.document_id is not None:
        expected = trace_id_of(evidence.directory.run_id, attempt.document_id, row.session)
    what = "its trace id is not that of its document in its session"
    evidence.findings.compare("trace_id_differs", what, where, expected=expected, found=attempt.trace_id)


def _hand_on(evidence: Evidence, row: AttemptRow) -> None:
    attempt = row.attempt
    ended_at = (attempt.started_at + timedelta(seconds=attempt.latency_seconds)).isoformat()
    usage = None if attempt.usage is None else [attempt.usage.input_tokens, attempt.usage.output_tokens]
    told = {name: _as_shown(getattr(attempt, name)) for name in _COMPARED} | {"usage": usage}
    evidence.joining.add("attempts", attempt.attempt_id, ["row", row.session, ended_at, told])
    if attempt.document_id is not None:
        evidence.join_document(attempt.document_id, ["attempt", attempt.attempt_id, attempt.stage, attempt.cycle])
    if attempt.span_id is not None:
        was_interrupted = attempt.error_code == INTERRUPTED
        record = ["attempt", row.session, ended_at, attempt.attempt_id, attempt.trace_id, was_interrupted]
        evidence.joining.add("spans", attempt.span_id, record)


def _as_shown(value: object) -> object:
    return shown(value) if isinstance(value, str) else value


def check_attempt_events(evidence: Evidence) -> None:
    """Each request that was sent is one row and one event, and they say the same."""
    for attempt_id, records in evidence.joining.groups("attempts"):
        where = f"attempt {attempt_id}"
        rows = [record for record in records if record[0] == "row"]
        events = [record for record in records if record[0] == "event"]
        if len(events) > 1:
            what = "several events tell of it"
            evidence.findings.differ("attempt_told_twice", what, where, expected=1, found=len(events))
        if not rows:
            _check_without_row(evidence, events[0], where)
        elif not events:
            _check_without_event(evidence, rows[0], where)
        else:
            _compare(evidence, rows[0], events[0], where)


def _check_without_row(evidence: Evidence, event: Record, where: str) -> None:
    _, session, at, told, was_sent = event
    if not was_sent:
        return
    if evidence.may_be_lost(session, datetime.fromisoformat(at)):
        what = "the process was killed before its row was written"
        evidence.findings.note("attempt_row_missing", what, where)
    else:
        what = "it was sent, but the ledger has no row of it"
        evidence.findings.differ("attempt_row_missing", what, where, expected=told["document_id"])


def _check_without_event(evidence: Evidence, row: Record, where: str) -> None:
    _, session, ended_at, told = row
    if told["outcome"] is None or told["error_code"] == INTERRUPTED:
        return  # it never ended, so nothing could be told
    if evidence.may_be_lost(session, datetime.fromisoformat(ended_at)):
        what = "the process was killed before its event was written"
        evidence.findings.note("attempt_event_missing", what, where)
    else:
        evidence.findings.differ("attempt_event_missing", "no event tells of it", where, expected=told["document_id"])


def _compare(evidence: Evidence, row: Record, event: Record, where: str) -> None:
    (_, session, _, recorded), (_, other, at, told, was_sent) = row, event
    findings = evidence.findings
    findings.compare("attempt_event_differs", "its event is of another session", where, expected=session, found=other)
    if not was_sent:
        findings.differ("attempt_event_differs", "its event says that it was never sent", where)
    was_interrupted = recorded["outcome"] is None or recorded["error_code"] == INTERRUPTED
    if was_interrupted and evidence.may_be_lost(session, datetime.fromisoformat(at)):
        what = "the process was killed before the end of it was recorded"
        findings.note("attempt_row_missing", what, where)
        return
    for name, expected in recorded.items():
        what = f"{name} is not the same in its row and in its event"
        findings.compare("attempt_event_differs", what, where, expected=expected, found=told.get(name))
