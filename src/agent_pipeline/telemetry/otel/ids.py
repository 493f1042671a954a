"""Ids of traces and spans, told from what they stand for: no span has to wait for its parent, nothing is remembered."""

import hashlib

from agent_pipeline.domain.trace_id import trace_id_of


def document_trace(run_id: str, document_id: str, session: int) -> int:
    """Return the trace of a document in a session: the ledger's `trace_id`, without its `trace_`."""
    return int(trace_id_of(run_id, document_id, session).removeprefix("trace_"), 16)


def run_trace(run_id: str, session: int) -> int:
    """Return the trace that holds the run's own span."""
    return int.from_bytes(_digest("run", run_id, session)[:16])


def run_span(run_id: str, session: int) -> int:
    """Return the run's span."""
    return _span("run", run_id, session)


def document_span(trace_id: int) -> int:
    """Return the span of the document that a trace belongs to."""
    return _span("document", trace_id)


def stage_span(trace_id: int, stage: str, cycle: int | None) -> int:
    """Return the span of a document's pass through a stage."""
    return _span("stage", trace_id, cycle, stage)


def attempt_span(attempt_id: str) -> int:
    """Return the span of an HTTP attempt."""
    return _span("attempt", attempt_id)


def sdk_span(span_id: str) -> int:
    """Return the span that stands for one of the Agents SDK's."""
    return _span("sdk", span_id)


def _span(*parts: object) -> int:
    return int.from_bytes(_digest(*parts)[:8]) or 1  # 0 means none


def _digest(*parts: object) -> bytes:
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
