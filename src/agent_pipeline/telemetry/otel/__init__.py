"""A run's spans to an OTLP endpoint; needs the extra `otel`, and imports none of it before the sink is asked for."""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.telemetry.otel.endpoint import SINK_NAME as SINK_NAME
    from agent_pipeline.telemetry.otel.endpoint import find_endpoint as find_endpoint
    from agent_pipeline.telemetry.otel.sink import OtlpSink as OtlpSink
    from agent_pipeline.telemetry.otel.sink import SdkSpans as SdkSpans
    from agent_pipeline.telemetry.otel.tracer import SpanTracer as SpanTracer

__all__ = ["SINK_NAME", "OtlpSink", "SdkSpans", "SpanTracer", "find_endpoint"]

__getattr__ = lazy_exports(
    __name__,
    {
        "OtlpSink": "agent_pipeline.telemetry.otel.sink",
        "SINK_NAME": "agent_pipeline.telemetry.otel.endpoint",
        "SdkSpans": "agent_pipeline.telemetry.otel.sink",
        "SpanTracer": "agent_pipeline.telemetry.otel.tracer",
        "find_endpoint": "agent_pipeline.telemetry.otel.endpoint",
    },
)
