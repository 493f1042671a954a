"""Python values to SQLite values: what is refused, what is replaced, and the rows they make."""

import math
import re
from datetime import UTC, datetime

from agent_pipeline.domain.document import Artifact, Outcome
from agent_pipeline.domain.stage_result import ResultKey, StageResult
from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.errors import LedgerError

SqlValue = None | int | float | str
Row = dict[str, SqlValue]

_MAX_TEXT = 20_000
"""Characters of a message that are kept; an error may quote a whole answer."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def message(value: str | None) -> str | None:
    """Return free text that SQLite and its tools can hold: NUL and lone surrogates become U+FFFD, very long is cut."""
    if value is None:
        return None
    kept = value if len(value) <= _MAX_TEXT else value[: _MAX_TEXT - 1] + "…"
    return kept if _is_plain(kept) else _UNSTORABLE.sub("\ufffd", kept)


def name(value: str | None) -> str:
    """Return free text of a column that can't be NULL (a model, a path)."""
    return message(value) or ""


def key(value: str, what: str) -> str:
    """Return a text that identifies something, unchanged.

    Raises:
        LedgerError: it is empty or can't be stored as it is; replacing parts could make two keys one.
    """
    if not value:
        raise LedgerError(f"{what} is empty")
    if not _is_plain(value) and _UNSTORABLE.search(value):
        raise LedgerError(f"{what} {value!r} holds characters a ledger can't keep")
    return value


def optional_key(value: str | None, what: str) -> str | None:
    """Return `key(value)`, or None for None."""
    return None if value is None else key(value, what)


def json_text(value: str) -> str:
    """Return equal JSON without raw lone surrogates: they can only be parts of strings, so escaping keeps them."""
    return value if value.isascii() else _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", value)


def integer(value: int, what: str) -> int:
    """Return an integer that fits SQLite's 64 bits.

    Raises:
        LedgerError: it does not fit.
    """
    if not -(2**63) <= value < 2**63:
        raise LedgerError(f"{what} is too large for a ledger (64 bits)")
    return int(value)


def optional_integer(value: int | None, what: str) -> int | None:
    """Return `integer(value)`, or None for None."""
    return None if value is None else integer(value, what)


def seconds(value: float, what: str) -> float:
    """Return a finite length of time.

    Raises:
        LedgerError: it is infinite or not a number; SQLite would turn the latter into NULL.
    """
    if not math.isfinite(value):
        raise LedgerError(f"{what} is {value}, not a length of time")
    return float(value)


def instant(value: datetime, what: str) -> str:
    """Return UTC ISO-8601 of fixed width, so that text order is time order.

    Raises:
        LedgerError: the time has no zone.

    >>> instant(datetime(2026, 11, 20, 9, 5, tzinfo=UTC), "started_at")
    '2026-11-20T09:05:00.000000+00:00'
    """
    if value.tzinfo is None:
        raise LedgerError(f"{what} has no time zone")
    return value.astimezone(UTC).isoformat("T", "microseconds")


def document_row(document_id: str, position: int, source: str | None, started_at: datetime, session: int) -> Row:
    """Return what every row of a document has from its beginning."""
    return {
        "document_id": key(document_id, "document_id"),
        "position": integer(position, "position"),
        "source": message(source),
        "started_at": instant(started_at, "started_at"),
        "session": session,
    }


def work_columns(content_sha256: str | None, plan_sha256: str | None, trace_id: str | None) -> Row:
    """Return the columns that say what a document is worked on with."""
    return {
        "content_sha256": optional_key(content_sha256, "content_sha256"),
        "plan_sha256": optional_key(plan_sha256, "plan_sha256"),
        "trace_id": optional_key(trace_id, "trace_id"),
    }


def ending_at_once(outcome: Outcome, error_code: str | None, error: str | None, at: datetime) -> Row:
    """Return the columns of a document that ends as it begins."""
    return {
        "outcome": outcome,
        "error_code": message(error_code),
        "error": message(error),
        "ended_at": instant(at, "ended_at"),
    }


def result_key(document_id: str, of: ResultKey) -> Row:
    """Return the columns that a stage's result is found by."""
    return {
        "document_id": key(document_id, "document_id"),
        "stage": key(of.stage, "stage"),
        "cycle": integer(of.cycle, "cycle"),
        "input_sha256": key(of.input_sha256, "input_sha256"),
    }


def result_row(result: StageResult) -> Row:
    """Return the row of a stage's result."""
    return {
        **result_key(result.document_id, result.key),
        "output_json": json_text(result.output_json),
        "started_at": instant(result.started_at, "started_at"),
        "ended_at": instant(result.ended_at, "ended_at"),
    }


def artifact_columns(artifact: Artifact | None) -> Row:
    """Return the columns of a document's artifact."""
    if artifact is None:
        return dict.fromkeys(("artifact_path", "artifact_sha256", "artifact_size_bytes"))
    return {
        "artifact_path": key(artifact.path, "artifact path"),
        "artifact_sha256": key(artifact.sha256, "artifact sha256"),
        "artifact_size_bytes": integer(artifact.size_bytes, "artifact size"),
    }


def attempt_row(record: AttemptRecord, session: int) -> Row:
    """Return the row of one HTTP attempt; unknown usage is NULL, not 0."""
    return {
        "attempt_id": key(record.attempt_id, "attempt_id"),
        "document_id": optional_key(record.document_id, "document_id"),
        "stage": message(record.stage),
        "cycle": optional_integer(record.cycle, "cycle"),
        "role": name(record.role),
        "provider": name(record.provider),
        "model": name(record.model),
        "number": integer(record.number, "number"),
        "outcome": record.outcome,
        "status_code": optional_integer(record.status_code, "status_code"),
        "error_code": message(record.error_code),
        "error": message(record.error),
        "wait_seconds": seconds(record.wait_seconds, "wait_seconds"),
        "wait_reason": record.wait_reason,
        "latency_seconds": seconds(record.latency_seconds, "latency_seconds"),
        **_usage_columns(record.usage),
        "reserved_tokens": integer(record.reserved_tokens, "reserved_tokens"),
        "charged_tokens": integer(record.charged_tokens, "charged_tokens"),
        "cost_micro_usd": optional_integer(record.cost_micro_usd, "cost_micro_usd"),
        "provider_request_id": message(record.provider_request_id),
        "method": name(record.method),
        "path": name(record.path),
        "started_at": instant(record.started_at, "started_at"),
        "session": session,
        "call_id": message(record.call_id or None),
        "trace_id": message(record.trace_id),
        "span_id": message(record.span_id),
    }


def _usage_columns(usage: Usage | None) -> Row:
    columns = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
    if usage is None:
        return dict.fromkeys(columns)
    return {column: integer(getattr(usage, column), column) for column in columns}


def _is_plain(value: str) -> bool:
    """Return whether there is nothing to look for; Python knows of each text whether it is ASCII."""
    return value.isascii() and "\0" not in value
