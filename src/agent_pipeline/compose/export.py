"""Whether a run sends its spans somewhere, found out before anything is created."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from agent_pipeline import bridge as bridges
from agent_pipeline.compose.options import RunOptions
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.errors import ConfigError
from agent_pipeline.gateway.endpoints import redactor_of
from agent_pipeline.telemetry import otel

EXTRA = "install agent-pipeline[otel] from where you have agent-pipeline (docs/optional-dependencies.md)"

_OPTIONAL = ("google", "openinference", "opentelemetry", "requests", "wrapt")


def with_export(config: PipelineConfig, options: RunOptions) -> RunOptions:
    """Return the options with the sink for spans among the sinks, last, where an OTLP endpoint is configured.

    In virtual time nothing is sent: what is rehearsed did not happen.

    Raises:
        ConfigError: the endpoint can't be used, or the extra is not installed.
    """
    endpoint = None if options.virtual else otel.find_endpoint(os.environ, config.telemetry.otlp_endpoint)
    if endpoint is None:
        return options
    try:
        sdk_spans = partial(bridges.OpenInferenceSpans, include_texts=options.include_texts)
        sink = otel.OtlpSink(endpoint, sdk_spans=sdk_spans, redactor=redactor_of(config.runtime))
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _OPTIONAL:
            raise
        problem = (
            f"an OTLP endpoint is configured, and sending spans needs OpenTelemetry, which is not installed "
            f"({exc.name} is missing): {EXTRA}; OTEL_SDK_DISABLED=true goes on without"
        )
        raise ConfigError(problem) from exc
    return replace(options, sinks=(*options.sinks, sink))


def lost_from_files(dropped: Mapping[str, int]) -> int:
    """Return how many events are missing in the run's own records; spans that a server did not take are no such."""
    return sum(count for sink, count in dropped.items() if sink != otel.SINK_NAME)
