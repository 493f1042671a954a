"""A span of the Agents SDK on its way to another process: what exporters read of it, without what holds it here."""

import pickle
from dataclasses import dataclass, replace
from typing import Any, cast

from agents.tracing import Span

from agent_pipeline.domain.sdk_span import SpanLine


@dataclass(frozen=True, slots=True)
class EndedSpan:
    """What is left of a span where it has come to; named as the SDK names it."""

    trace_id: str
    span_id: str
    parent_id: str | None
    started_at: str | None
    ended_at: str | None
    packed: bytes

    @property
    def span_data(self) -> Any:
        """What the span is about."""
        return self._unpacked()[0]

    @property
    def error(self) -> Any:
        """What went wrong, None where nothing did."""
        return self._unpacked()[1]

    def _unpacked(self) -> tuple[Any, Any]:
        pair: tuple[Any, Any] = pickle.loads(self.packed)  # noqa: S301 - made below, in a process of the same run
        return pair


def portable_span(line: SpanLine) -> SpanLine:
    """Return the line with a copy of its span that can be pickled.

    Raises:
        Exception: something in the span can't be; whatever that raises.
    """
    span = cast("Span[Any]", line.span.item)
    packed = pickle.dumps((span.span_data, span.error))
    copy = EndedSpan(span.trace_id, span.span_id, span.parent_id, span.started_at, span.ended_at, packed)
    return SpanLine(str(line), replace(line.span, item=copy))
