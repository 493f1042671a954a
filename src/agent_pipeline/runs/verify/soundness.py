"""Whether the values of a ledger's row are of the kinds they have to be: SQLite itself takes any in any column."""

from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from agent_pipeline.runs.verify.evidence import Evidence

_MAY_BE_NONE = frozenset({"cycle", "status_code", "cost_micro_usd"})
_INTEGERS = frozenset(
    {"session", "position", "reworks", "cycle", "number", "status_code", "cost_micro_usd", "size_bytes"}
    | {"reserved_tokens", "charged_tokens"}
    | {"input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens"}
)
_NUMBERS = frozenset({"wait_seconds", "latency_seconds"})


def is_sound(evidence: Evidence, row: Any, where: str) -> bool:  # noqa: ANN401 - any row
    """Say whether a row can be checked any further; if not, that is told."""
    wrong = [name for name, value in _values(row) if not _fits(name, value)]
    if wrong:
        what = f"a value of another kind is in {', '.join(wrong)}"
        evidence.findings.differ("ledger_damaged", what, where)
    return not wrong


def _values(row: Any) -> list[tuple[str, object]]:  # noqa: ANN401 - any row
    """Return the values of a row and of the values inside it."""
    found: list[tuple[str, object]] = []
    for field in fields(row):
        value = getattr(row, field.name)
        found += _values(value) if is_dataclass(value) else [(field.name, value)]
    return found


def _fits(name: str, value: object) -> bool:
    if name in _INTEGERS:
        return isinstance(value, int) or (value is None and name in _MAY_BE_NONE)
    if name in _NUMBERS:
        return isinstance(value, int | float)
    if isinstance(value, datetime):
        return value.tzinfo is not None
    return value is None or isinstance(value, str | bool)
