"""The Agents SDK's spans read back: which agent, tool or handoff a request belongs to."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agent_pipeline.telemetry import parse_json_object, read_lines

_KINDS = {"function": "tool", "mcp_tools": "tools of a server"}
_PASSED_OVER = {"response", "generation"}
"""Requests: the ledger knows more of them."""


@dataclass(frozen=True, slots=True)
class Span:
    """One step of an agent.

    Attributes:
        kind: `agent`, `tool`, `handoff`, `guardrail`, or the SDK's word; None where the SDK only groups others by it.
        error: what it reported, None where it went well.
    """

    span_id: str
    trace_id: str
    parent_id: str | None
    kind: str | None
    name: str
    started_at: datetime
    ended_at: datetime
    error: str | None


def spans_of(path: Path, trace_ids: Collection[str] | None) -> dict[str, list[Span]]:
    """Return the spans of these traces, or of all, by trace, each in the order they began; none where there is no file.

    All of them are in memory; the file is read once.
    """
    found: dict[str, list[Span]] = {}
    for span in _read(path, trace_ids):
        found.setdefault(span.trace_id, []).append(span)
    for spans in found.values():
        spans.sort(key=lambda one: one.started_at)
    return found


def _read(path: Path, trace_ids: Collection[str] | None) -> Iterator[Span]:
    only = next(iter(trace_ids)) if trace_ids is not None and len(trace_ids) == 1 else ""

    def parse(line: str) -> Span | None:
        return _span(parse_json_object(line), trace_ids) if only in line else None

    try:
        for line in read_lines(path, parse):
            if line.value is not None:
                yield line.value
    except OSError:
        return


def _span(item: dict[str, Any], trace_ids: Collection[str] | None) -> Span | None:
    if item.get("object") != "trace.span" or (trace_ids is not None and item.get("trace_id") not in trace_ids):
        return None
    data = item.get("span_data")
    data = data if isinstance(data, dict) else {}
    began, ended = (datetime.fromisoformat(str(item.get(name))) for name in ("started_at", "ended_at"))
    if began.tzinfo is None or ended.tzinfo is None:
        raise ValueError("a time without its zone")
    parent = item.get("parent_id")
    return Span(
        span_id=str(item.get("id")),
        trace_id=str(item.get("trace_id")),
        parent_id=None if parent is None else str(parent),
        kind=_kind(data),
        name=_name(data),
        started_at=began,
        ended_at=ended,
        error=_error(item.get("error")),
    )


def _kind(data: dict[str, Any]) -> str | None:
    kind = str(data.get("type"))
    inner = data.get("data")
    is_grouping = kind == "custom" and isinstance(inner, dict) and "sdk_span_type" in inner
    return None if kind in _PASSED_OVER or is_grouping else _KINDS.get(kind, kind)


def _name(data: dict[str, Any]) -> str:
    if data.get("type") == "handoff":
        return f"{data.get('from_agent')} to {data.get('to_agent')}"
    return str(data.get("name") or "")


def _error(error: object) -> str | None:
    if not isinstance(error, dict):
        return None if error is None else str(error)
    return str(error.get("message") or error)
