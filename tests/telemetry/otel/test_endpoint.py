"""Where spans go: nowhere unless somebody named a place, and OpenTelemetry's own variables mean what they always do."""

import pytest

from agent_pipeline.errors import ConfigError
from agent_pipeline.telemetry.otel import find_endpoint

HERE = "http://127.0.0.1:4318"
BASE, TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.mark.parametrize(
    ("environ", "configured", "found"),
    [
        ({}, None, None),
        ({BASE: ""}, None, None),
        ({BASE: "  "}, HERE, f"{HERE}/v1/traces"),
        ({BASE: HERE}, None, f"{HERE}/v1/traces"),
        ({BASE: f"{HERE}/"}, None, f"{HERE}/v1/traces"),
        ({BASE: "https://collector:4318/otlp"}, None, "https://collector:4318/otlp/v1/traces"),
        ({TRACES: "http://collector/as/it/is"}, None, "http://collector/as/it/is"),
        ({TRACES: "http://collector/t", BASE: HERE}, "http://file", "http://collector/t"),
        ({BASE: HERE}, "http://file", f"{HERE}/v1/traces"),
        ({}, "http://file:4318", "http://file:4318/v1/traces"),
        ({}, "http://file:4318/v1/traces", "http://file:4318/v1/traces"),
    ],
)
def test_the_environment_comes_first_then_the_file(
    environ: dict[str, str], configured: str | None, found: str | None
) -> None:
    """Who deploys decides; a variable that is empty is none; a base gets the path that OTLP gives it."""
    assert find_endpoint(environ, configured) == found


@pytest.mark.parametrize(
    "off", [{"OTEL_SDK_DISABLED": "True"}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_EXPORTER": "console"}]
)
def test_it_can_be_switched_off_as_everywhere(off: dict[str, str]) -> None:
    """Even where what is switched off could not be used."""
    assert find_endpoint({BASE: "no address", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **off}, HERE) is None


@pytest.mark.parametrize("on", [{"OTEL_SDK_DISABLED": "false"}, {"OTEL_TRACES_EXPORTER": "console, otlp"}])
def test_what_does_not_switch_it_off_does_not(on: dict[str, str]) -> None:
    assert find_endpoint({BASE: HERE, **on}, None) == f"{HERE}/v1/traces"


@pytest.mark.parametrize(
    ("environ", "key", "words"),
    [
        ({BASE: "collector:4318"}, BASE, "begins with http"),
        ({BASE: "http://user:hunter22@collector"}, BASE, "OTEL_EXPORTER_OTLP_HEADERS"),
        ({TRACES: "http://collector/?token=1"}, TRACES, "query"),
        ({TRACES: "http://collector:port"}, TRACES, "not a valid address"),
        ({BASE: HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL", "4318"),
        (
            {BASE: HERE, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "http/protobuf only",
        ),
    ],
)
def test_what_can_not_be_used_is_named_and_not_repeated(environ: dict[str, str], key: str, words: str) -> None:
    """An address may hold a password."""
    with pytest.raises(ConfigError, match=words) as caught:
        find_endpoint(environ, None)

    assert caught.value.key == key
    assert "hunter22" not in str(caught.value)


def test_the_more_specific_protocol_counts() -> None:
    """A program beside us may want gRPC for its metrics."""
    environ = {
        BASE: HERE,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    }

    assert find_endpoint(environ, None) == f"{HERE}/v1/traces"
