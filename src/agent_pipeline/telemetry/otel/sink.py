"""The sink that sends a run's spans to an OTLP endpoint: as they end, by a thread of its own, never waited for."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar, Protocol

from agent_pipeline.domain.events import Event, SdkTraceItem
from agent_pipeline.domain.export_events import ExportFailed
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.sdk_span import SdkSpan, SpanLine
from agent_pipeline.telemetry.otel.draft import Draft, cleaned
from agent_pipeline.telemetry.otel.endpoint import SINK_NAME
from agent_pipeline.telemetry.otel.exporter import OtlpExporter, quiet_logger
from agent_pipeline.telemetry.otel.ids import document_span, sdk_span, stage_span
from agent_pipeline.telemetry.otel.outbox import Loss, Outbox
from agent_pipeline.telemetry.otel.spans import USED, RunSpans
from agent_pipeline.telemetry.otel.tracer import Place, SpanTracer
from agent_pipeline.telemetry.redaction import PATTERNS_ONLY, Redactor
from agent_pipeline.telemetry.sink import LinesLostError


class SdkSpans(Protocol):
    """Draws a span of the Agents SDK on the tracer it was made with."""

    def draw(self, span: object) -> None:
        """Begin and end one span."""
        ...


class SpansLostError(LinesLostError):
    """Spans did not reach the endpoint, maybe of events handed over long ago."""

    late: ClassVar[bool] = True

    def __init__(self, loss: Loss, endpoint: str) -> None:
        super().__init__(loss.count, OSError(loss.why))
        self.args = (f"{endpoint}: {loss.why}",)


class OtlpSink:
    """Makes a span of each document, stage, attempt and span of the Agents SDK, and sends them in batches.

    What the endpoint does not take is lost and counted, and costs the run nothing but `patience` seconds at its end.

    Args:
        endpoint: full address that spans are posted to.
        redactor: takes secrets out of all texts.
        sdk_spans: makes what draws spans of the Agents SDK, on a tracer of ours.
        period: seconds after which spans go, though they are few.
        patience: seconds that the last spans have to arrive.
    """

    name = SINK_NAME

    def __init__(
        self,
        endpoint: str,
        *,
        sdk_spans: Callable[[SpanTracer], SdkSpans],
        redactor: Redactor = PATTERNS_ONLY,
        period: float = 1.0,
        patience: float = 5.0,
    ) -> None:
        self._endpoint = endpoint
        self._redactor = redactor
        self._spans = RunSpans()
        self._tracer = SpanTracer()
        self._sdk_spans = sdk_spans(self._tracer)
        self._exporter = OtlpExporter(endpoint)
        self._outbox = Outbox[Draft](self._exporter.deliver, name=SINK_NAME, period=period, patience=patience)
        self._silence = logging.NullHandler()  # else logging's last resort prints what we tell anyway
        self._emit: Emit | None = None

    def accepts(self, kind: type[Event]) -> bool:
        """What spans are drawn from."""
        return issubclass(kind, (*USED, SdkTraceItem))

    def start(self, emit: Emit, /) -> None:
        """Start the thread; nothing is sent before the first span."""
        self._emit = emit
        quiet_logger().addHandler(self._silence)
        self._outbox.start()

    def handle(self, event: Event, at: datetime) -> None:
        """Draw the span that ends here, if one does."""
        if isinstance(event, SdkTraceItem):
            drawn = self._of_sdk(event.line.span) if isinstance(event.line, SpanLine) else None
        else:
            drawn = self._spans.take(event, at)
        if drawn is not None:
            self._send(drawn)

    def flush(self) -> None:
        """Tell what was lost meanwhile; nothing is waited for.

        Raises:
            SpansLostError: some spans did not arrive; the first time, an event says so too.
        """
        loss = self._outbox.take_loss()
        if loss is None:
            return
        emit, self._emit = self._emit, None
        if emit is not None:
            emit(ExportFailed(self._endpoint, loss.count, self._redactor.text(loss.why)))
        raise SpansLostError(loss, self._endpoint)

    def close(self) -> None:
        """Send what waits, for as long as the patience lasts.

        Raises:
            SpansLostError: some spans did not arrive.
        """
        self._emit = None  # the files are closed by now
        last = self._spans.cut_off(datetime.now(UTC))
        if last is not None:
            self._send(last)
        self._outbox.close()
        self._exporter.close()
        self.flush()

    def stop(self) -> None:
        """Leave OpenTelemetry's logger as it was."""
        quiet_logger().removeHandler(self._silence)

    def _send(self, draft: Draft) -> None:
        if self._exporter.is_wanted(draft.trace_id):
            self._outbox.put(*cleaned(draft, self._redactor))

    def _of_sdk(self, span: SdkSpan) -> Draft | None:
        """Draw a span of the SDK below its own parent, else below its stage; None for one of another run."""
        trace_id = None if span.document_id is None else self._spans.trace_of(span.document_id)
        if trace_id is None or span.trace_id != f"trace_{trace_id:032x}":
            return None
        parent_id = document_span(trace_id) if span.stage is None else stage_span(trace_id, span.stage, span.cycle)
        if span.parent_id is not None:
            parent_id = sdk_span(span.parent_id)
        whose = {**self._spans.whose(span.document_id), "agent_pipeline.sdk.span_id": span.span_id}
        self._tracer.expect(Place(trace_id, sdk_span(span.span_id), parent_id, whose))
        self._sdk_spans.draw(span.item)
        return self._tracer.drawn()
