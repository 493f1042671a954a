"""Spans of the Agents SDK by the names of OpenInference, whose own processor draws them; nothing is instrumented."""

from dataclasses import dataclass
from typing import Any, cast

from agents.tracing import Span, Trace
from openinference.instrumentation import OITracer, TraceConfig
from openinference.instrumentation.openai_agents._processor import OpenInferenceTracingProcessor


@dataclass(frozen=True, slots=True)
class _Root:
    """What the processor asks of a trace."""

    trace_id: str
    name: str = ""


class OpenInferenceSpans:
    """Feeds finished spans to OpenInference's processor one by one, in the order they ended, in whatever thread.

    The processor is never registered with the SDK, and its instrumentor, which patches the SDK, is not used. It sees
    each span begin and end at once, so nothing of a span that never ends stays behind; who is whose parent is the
    tracer's business.

    Args:
        tracer: gets the spans; it has OpenTelemetry's `start_span`.
        include_texts: let prompts and answers through, as far as the OPENINFERENCE_HIDE_ variables allow.
    """

    def __init__(self, tracer: object, *, include_texts: bool) -> None:
        hidden = None if include_texts else True  # None asks the environment
        config = TraceConfig(
            hide_inputs=hidden,
            hide_outputs=hidden,
            hide_llm_invocation_parameters=hidden,
            # Usage by the GenAI names stands on our attempts; on these too, and every backend would count it twice.
            enable_genai_semconv=False,
        )
        object.__setattr__(config, "blob_uploader", None)  # nobody gets contents but the endpoint
        self._processor = OpenInferenceTracingProcessor(cast("Any", OITracer(cast("Any", tracer), config)))

    def draw(self, span: object) -> None:
        """Let the processor begin and end one span."""
        ended = cast("Span[Any]", span)
        root = cast("Trace", _Root(ended.trace_id))
        self._processor.on_trace_start(root)
        try:
            self._processor.on_span_start(ended)
            self._processor.on_span_end(ended)
        finally:
            self._processor.on_trace_end(root)
