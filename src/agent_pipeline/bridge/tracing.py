"""The SDK's traces and spans as events: written by our own sinks, sent nowhere."""

import json
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import agents as sdk
import pydantic_core
from agents import _debug as sdk_debug
from agents.tracing import Span, Trace, TracingProcessor

from agent_pipeline.control.scope import current_scope
from agent_pipeline.domain.events import AgentEvent, SdkTraceItem
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.sdk_span import SdkSpan, SpanLine


class TraceEvents(TracingProcessor):
    """Emits each trace as it begins and each span as it ends, as one line of JSON; has no thread and no queue.

    So whatever ends the process, no span is written without its trace. An item that can't be encoded loses itself only,
    and is reported.

    Args:
        emit: takes the lines.
        run_id: items whose metadata names another run are left out; None takes all.
    """

    def __init__(self, emit: Emit, *, run_id: str | None = None) -> None:
        self._emit = emit
        self._run_id = run_id

    def on_trace_start(self, trace: Trace) -> None:
        """Write the trace, which its end adds nothing to."""
        metadata: Mapping[str, object] | None = getattr(trace, "metadata", None)
        if not self._is_of_another_run(metadata):
            self._write(trace)

    def on_trace_end(self, trace: Trace) -> None:
        """Do nothing: a trace is written when it begins."""

    def on_span_start(self, span: Span[Any]) -> None:
        """Do nothing: a span is written when it ends."""

    def on_span_end(self, span: Span[Any]) -> None:
        """Write the span."""
        if not self._is_of_another_run(span.trace_metadata):
            self._write(span)

    def shutdown(self) -> None:
        """Do nothing: the sinks are closed by their owner."""

    def force_flush(self) -> None:
        """Do nothing: the sinks are flushed by their owner."""

    def _is_of_another_run(self, metadata: Mapping[str, object] | None) -> bool:
        return self._run_id is not None and (metadata or {}).get("run_id", self._run_id) != self._run_id

    def _write(self, item: Trace | Span[Any]) -> None:
        try:
            exported = {**(item.export() or {}), "exported_at": datetime.now(UTC).isoformat()}
            line = _encode(exported)
        except Exception as exc:  # noqa: BLE001 - values of stages and tools are in there, and may fail in any way
            self._emit(AgentEvent("trace_item_lost", None, None, agent="", detail=f"{type(item).__name__}: {exc}"))
            return
        self._emit(SdkTraceItem(SpanLine(line, _placed(item)) if isinstance(item, Span) else line))


def _placed(span: Span[Any]) -> SdkSpan:
    """Return a span with whose it is, which is known only where it ends: in the task of its stage."""
    scope = current_scope()
    return SdkSpan(
        span, span.span_id, span.parent_id, scope.document_id, scope.stage, scope.cycle, trace_id=scope.trace_id
    )


def _encode(exported: Mapping[str, object]) -> str:
    try:
        return pydantic_core.to_json(exported, fallback=repr, inf_nan_mode="null").decode()
    except ValueError:  # half a character, or bytes that are no text
        return json.dumps(exported, default=repr, allow_nan=False)


class _Texts:
    """The SDK's switches that keep texts out of its log and its errors; the first holder sets them, the last resets."""

    def __init__(self) -> None:
        self._holders = 0
        self._before = (True, True)

    @contextmanager
    def kept_out(self) -> Generator[None]:
        """Let no text through inside the block, whatever the environment says."""
        if self._holders == 0:
            self._before = (sdk_debug.DONT_LOG_MODEL_DATA, sdk_debug.DONT_LOG_TOOL_DATA)
            sdk_debug.DONT_LOG_MODEL_DATA = sdk_debug.DONT_LOG_TOOL_DATA = True
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if self._holders == 0:
                sdk_debug.DONT_LOG_MODEL_DATA, sdk_debug.DONT_LOG_TOOL_DATA = self._before


_texts = _Texts()
_open_runs: list[TraceEvents] = []


@asynccontextmanager
async def open_sdk_tracing(
    emit: Emit, *, run_id: str | None = None, include_texts: bool = False
) -> AsyncGenerator[None]:
    """Send the SDK's traces to `emit` inside the block, nowhere after it; never to the SDK's own exporter.

    Must be entered before the first agent runs: the SDK's default exporter starts with the first trace. The SDK's
    processors and switches are the whole process's; several runs may be open at once.

    Args:
        emit: takes one event for each trace and span.
        run_id: leave out what other runs traced; None takes everything.
        include_texts: let prompts and answers into the SDK's log and errors, if the environment wants them there
            (OPENAI_AGENTS_DONT_LOG_MODEL_DATA=0); where any open run does not, they are kept out.
    """
    events = TraceEvents(emit, run_id=run_id)
    with nullcontext() if include_texts else _texts.kept_out():
        _open_runs.append(events)
        sdk.set_trace_processors([*_open_runs])
        try:
            yield
        finally:
            _open_runs.remove(events)
            sdk.set_trace_processors([*_open_runs])
