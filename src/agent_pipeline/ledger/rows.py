"""Python values to SQLite values: what is refused, what is replaced, and the row of an attempt."""

import math
import re
from datetime import UTC, datetime

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
    return _UNSTORABLE.sub("\ufffd", kept)


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
    if _UNSTORABLE.search(value):
        raise LedgerError(f"{what} {value!r} holds characters a ledger can't keep")
    return value


def optional_key(value: str | None, what: str) -> str | None:
    """Return `key(value)`, or None for None."""
    return None if value is None else key(value, what)


def json_text(value: str) -> str:
    """Return equal JSON without raw lone surrogates: they can only be parts of strings, so escaping keeps them."""
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", value)


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
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def attempt_row(record: AttemptRecord) -> Row:
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
    }


def _usage_columns(usage: Usage | None) -> Row:
    columns = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
    if usage is None:
        return dict.fromkeys(columns)
    return {column: integer(getattr(usage, column), column) for column in columns}
