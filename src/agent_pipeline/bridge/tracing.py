"""The SDK's traces and spans as events: written by our own sinks, sent nowhere."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import agents as sdk
import pydantic_core
from agents.tracing import Span, Trace, TracingProcessor

from agent_pipeline.domain.events import AgentEvent, SdkTraceItem
from agent_pipeline.domain.ports import Emit


class TraceEvents(TracingProcessor):
    """Emits each finished trace and span as one line of JSON; has no thread and no queue of its own.

    An item that can't be encoded loses itself only, and is reported.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def on_trace_start(self, trace: Trace) -> None:
        """Do nothing: a trace is written when it ends."""

    def on_trace_end(self, trace: Trace) -> None:
        """Write the trace."""
        self._write(trace)

    def on_span_start(self, span: Span[Any]) -> None:
        """Do nothing: a span is written when it ends."""

    def on_span_end(self, span: Span[Any]) -> None:
        """Write the span."""
        self._write(span)

    def shutdown(self) -> None:
        """Do nothing: the sinks are closed by their owner."""

    def force_flush(self) -> None:
        """Do nothing: the sinks are flushed by their owner."""

    def _write(self, item: Trace | Span[Any]) -> None:
        try:
            exported = {**(item.export() or {}), "exported_at": datetime.now(UTC).isoformat()}
            line = pydantic_core.to_json(exported, fallback=repr, inf_nan_mode="null").decode()
        except (TypeError, ValueError, RecursionError) as exc:
            self._emit(AgentEvent("trace_item_lost", None, None, agent="", detail=f"{type(item).__name__}: {exc}"))
            return
        self._emit(SdkTraceItem(line))


@asynccontextmanager
async def open_sdk_tracing(emit: Emit) -> AsyncGenerator[None]:
    """Send the SDK's traces to `emit` inside the block, nowhere after it; never to the SDK's own exporter.

    Must be entered before the first agent runs: the SDK's default exporter starts with the first trace.
    """
    sdk.set_trace_processors([TraceEvents(emit)])
    try:
        yield
    finally:
        sdk.set_trace_processors([])
