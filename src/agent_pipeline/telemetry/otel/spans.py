"""Spans of run, documents, stages and attempts, each drawn from the event that ends it."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from agent_pipeline.domain.events import (
    AttemptFinished,
    ClientConfigured,
    DocumentFinished,
    DocumentStarted,
    Event,
    PipelineFailure,
    PipelineFinished,
    PipelineStarted,
    StageFinished,
    StageReused,
)
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.telemetry.otel.draft import AttributeValue, Draft, nanoseconds, present
from agent_pipeline.telemetry.otel.ids import (
    attempt_span,
    document_span,
    document_trace,
    run_span,
    run_trace,
    sdk_span,
    stage_span,
)

_STEP: dict[str, AttributeValue] = {"openinference.span.kind": "CHAIN"}
"""What backends for LLM work want to know of a span that is no request; of attempts the GenAI names tell it."""

USED = (
    *(AttemptFinished, ClientConfigured, DocumentFinished, DocumentStarted, PipelineFailure, PipelineFinished),
    *(PipelineStarted, StageFinished, StageReused),
)
"""Events that spans are drawn from."""


@dataclass(frozen=True, slots=True)
class _Begun:
    event: PipelineStarted
    at: datetime


class RunSpans:
    """Draws a run's spans; what it remembers grows with the documents in flight.

    Each document has a trace of its own in each session, whose root is linked to the run's span: a trace of a million
    documents can't be shown by anything.
    """

    def __init__(self) -> None:
        self._run: _Begun | None = None
        self._servers: dict[str, dict[str, AttributeValue | None]] = {}
        self._documents: dict[str, tuple[DocumentStarted, datetime]] = {}
        self._failures: dict[str, str] = {}

    def trace_of(self, document_id: str) -> int | None:
        """Return the trace of a document of this run, None before the run began."""
        begun = self._run
        return None if begun is None else document_trace(begun.event.run_id, document_id, begun.event.session)

    def whose(self, document_id: str | None) -> dict[str, AttributeValue]:
        """Return the attributes that every span has: run, and document where there is one."""
        run_id = None if self._run is None else self._run.event.run_id
        return present({"agent_pipeline.run.id": run_id, "agent_pipeline.document.id": document_id})

    def take(self, event: Event, at: datetime) -> Draft | None:
        """Return the span that ends with this event, None where none does."""
        match event:
            case AttemptFinished(attempt):
                return self._attempt(attempt)
            case StageFinished() | StageReused():
                return self._stage(event, at)
            case DocumentFinished():
                return self._document(event, at)
            case PipelineFinished():
                return self._end(event, at)
            case _:
                self._note(event, at)
                return None

    def cut_off(self, at: datetime) -> Draft | None:
        """Return the run's span where the run ended without a word, None where it is drawn already."""
        return self._end(None, at)

    def _note(self, event: Event, at: datetime) -> None:
        match event:
            case PipelineStarted():
                self._run = _Begun(event, at)
            case ClientConfigured():
                parts = urlsplit(event.base_url)
                self._servers[event.provider] = {"server.address": parts.hostname, "server.port": parts.port}
            case DocumentStarted():
                self._documents[event.document_id] = (event, at)
            case PipelineFailure():
                self._failures[event.document_id] = event.error
            case _:
                return

    def _end(self, event: PipelineFinished | None, at: datetime) -> Draft | None:
        if self._run is None:
            return None
        begun, started = self._run, self._run.event
        self._run = None
        attributes: dict[str, AttributeValue | None] = {
            "agent_pipeline.run.id": started.run_id,
            "agent_pipeline.pipeline": started.pipeline,
            "agent_pipeline.session": started.session,
            "agent_pipeline.version": started.version,
            "agent_pipeline.simulator": started.simulator,
            "agent_pipeline.stages": started.stages,
            "agent_pipeline.run.outcome": "incomplete" if event is None else event.outcome,
        }
        if event is not None:
            attributes["error.type"] = event.reason
            for name in ("total", "succeeded", "failed", "skipped", "cancelled"):
                attributes[f"agent_pipeline.documents.{name}"] = getattr(event, name)
            attributes["agent_pipeline.attempts"] = event.attempts
            attributes["agent_pipeline.tokens"] = event.total_tokens
        return Draft(
            name=f"run {started.pipeline}",
            trace_id=run_trace(started.run_id, started.session),
            span_id=run_span(started.run_id, started.session),
            parent_id=None,
            start=nanoseconds(begun.at),
            end=nanoseconds(max(at, begun.at)),
            attributes=_STEP | present(attributes),
            failed=event is None or event.reason is not None,
        )

    def _document(self, event: DocumentFinished, at: datetime) -> Draft | None:
        started, started_at = self._documents.pop(event.document_id, (None, None))
        error = self._failures.pop(event.document_id, None)
        if self._run is None:
            return None
        run = self._run.event
        trace_id = document_trace(run.run_id, event.document_id, run.session)
        end = nanoseconds(at)
        attributes: dict[str, AttributeValue | None] = {
            "agent_pipeline.session": run.session,
            "agent_pipeline.document.outcome": event.outcome,
            "agent_pipeline.document.reworks": event.reworks,
            "agent_pipeline.document.artifact": event.artifact,
            "agent_pipeline.document.position": None if started is None else started.position,
            "agent_pipeline.document.source": None if started is None else started.source,
            "agent_pipeline.document.size": None if started is None else started.size_bytes,
            "error.type": event.error_code or ("cancelled" if event.outcome == "cancelled" else None),
        }
        return Draft(
            name="document",
            trace_id=trace_id,
            span_id=document_span(trace_id),
            parent_id=None,
            start=_before(end, event.duration_seconds) if started_at is None else min(nanoseconds(started_at), end),
            end=end,
            attributes=_STEP | self.whose(event.document_id) | present(attributes),
            failed=event.outcome in {"failed", "cancelled"},
            error=error,
            link=(run_trace(run.run_id, run.session), run_span(run.run_id, run.session)),
        )

    def _stage(self, event: StageFinished | StageReused, at: datetime) -> Draft | None:
        trace_id = self.trace_of(event.document_id)
        if trace_id is None:
            return None
        error_code, seconds = None, 0.0
        if isinstance(event, StageFinished):
            error_code, seconds = event.error_code, event.duration_seconds
        attributes: dict[str, AttributeValue | None] = {
            "agent_pipeline.stage": event.stage,
            "agent_pipeline.cycle": event.cycle,
            "agent_pipeline.stage.reused": isinstance(event, StageReused) or None,
            "error.type": error_code,
        }
        end = nanoseconds(at)
        return Draft(
            name=f"stage {event.stage}",
            trace_id=trace_id,
            span_id=stage_span(trace_id, event.stage, event.cycle),
            parent_id=document_span(trace_id),
            start=_before(end, seconds),
            end=end,
            attributes=_STEP | self.whose(event.document_id) | present(attributes),
            failed=error_code is not None,
        )

    def _attempt(self, attempt: AttemptRecord) -> Draft | None:
        if self._run is None:
            return None
        trace_id, parent_id = self._place(attempt)
        start = nanoseconds(attempt.started_at)
        known = {**_attempt_attributes(attempt), **self._servers.get(attempt.provider, {})}
        return Draft(
            name=f"{_operation(attempt.path)} {attempt.model}",
            trace_id=trace_id,
            span_id=attempt_span(attempt.attempt_id),
            parent_id=parent_id,
            start=start,
            end=start + max(0, round(attempt.latency_seconds * 1e9)),
            attributes=self.whose(attempt.document_id) | present(known),
            client=True,
            failed=attempt.outcome != "succeeded",
            error=attempt.error,
        )

    def _place(self, attempt: AttemptRecord) -> tuple[int, int]:
        """Return the trace of an attempt and the span it belongs under: the SDK's that asked, else stage, else run.

        What a lost worker had under way is the document's: the span that asked never ends, the stage's is of another.
        """
        trace_id = None if attempt.document_id is None else self.trace_of(attempt.document_id)
        if trace_id is None:
            run = self._run.event if self._run else None
            return (0, 0) if run is None else (run_trace(run.run_id, run.session), run_span(run.run_id, run.session))
        if attempt.error_code == "interrupted":
            return trace_id, document_span(trace_id)
        if attempt.span_id is not None:
            return trace_id, sdk_span(attempt.span_id)
        if attempt.stage is not None:
            return trace_id, stage_span(trace_id, attempt.stage, attempt.cycle)
        return trace_id, document_span(trace_id)


def _attempt_attributes(attempt: AttemptRecord) -> dict[str, AttributeValue | None]:
    """Return an attempt by the names of OpenTelemetry's GenAI conventions, and by ours where they have none."""
    usage = attempt.usage
    return {
        "gen_ai.operation.name": _operation(attempt.path),
        "gen_ai.provider.name": attempt.provider,
        "gen_ai.request.model": attempt.model,
        "gen_ai.usage.input_tokens": None if usage is None else usage.input_tokens,
        "gen_ai.usage.output_tokens": None if usage is None else usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": None if usage is None else usage.cached_input_tokens,
        "gen_ai.usage.reasoning.output_tokens": None if usage is None else usage.reasoning_tokens,
        "http.request.method": attempt.method,
        "http.response.status_code": attempt.status_code,
        "url.path": attempt.path,
        "error.type": attempt.error_code,
        "agent_pipeline.attempt.id": attempt.attempt_id,
        "agent_pipeline.attempt.number": attempt.number,
        "agent_pipeline.attempt.outcome": attempt.outcome,
        "agent_pipeline.attempt.sent": attempt.sent,
        "agent_pipeline.attempt.wait": attempt.wait_seconds,
        "agent_pipeline.attempt.wait_reason": attempt.wait_reason,
        "agent_pipeline.call.id": attempt.call_id or None,
        "agent_pipeline.charged_tokens": attempt.charged_tokens,
        "agent_pipeline.cost_micro_usd": attempt.cost_micro_usd,
        "agent_pipeline.cycle": attempt.cycle,
        "agent_pipeline.provider_request_id": attempt.provider_request_id,
        "agent_pipeline.role": attempt.role,
        "agent_pipeline.stage": attempt.stage,
    }


def _operation(path: str) -> str:
    return "embeddings" if path.endswith("/embeddings") else "chat"


def _before(end: int, seconds: float) -> int:
    return end - max(0, round(seconds * 1e9))
