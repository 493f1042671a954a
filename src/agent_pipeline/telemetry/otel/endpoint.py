"""Where spans go, if anywhere: OpenTelemetry's own variables first, then the pipeline file."""

from collections.abc import Mapping

from agent_pipeline.config.base_url import check_otlp_endpoint
from agent_pipeline.errors import ConfigError

TRACES_PATH = "/v1/traces"
"""What OTLP over HTTP adds to a base address."""

PROTOCOL = "http/protobuf"

SINK_NAME = "otlp"
"""Under which losses are counted; here, so that who only counts imports no OpenTelemetry."""

_BASE, _TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def find_endpoint(environ: Mapping[str, str], configured: str | None) -> str | None:
    """Return the address that spans are posted to; None where nothing is to be sent.

    `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is taken as it is, `OTEL_EXPORTER_OTLP_ENDPOINT` and the address of the
    pipeline file are bases. `OTEL_SDK_DISABLED=true`, and an `OTEL_TRACES_EXPORTER` that is not `otlp`, switch it off.
    A variable that is empty counts as not set, as OpenTelemetry wants it.

    Args:
        environ: the variables.
        configured: `telemetry.otlp_endpoint`.

    Raises:
        ConfigError: an address can't be used, or another protocol is asked for.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporters and "otlp" not in (one.strip() for one in exporters.split(",")):
        return None
    found = _of_environment(environ) or (None if configured is None else _with_path(configured))
    if found is not None:
        _check_protocol(environ)
    return found


def _of_environment(environ: Mapping[str, str]) -> str | None:
    for name, path in ((_TRACES, False), (_BASE, True)):
        address = environ.get(name, "").strip()
        if address:
            try:
                check_otlp_endpoint(address)
            except ValueError as exc:
                raise ConfigError(str(exc), key=name) from None
            return _with_path(address) if path else address
    return None


def _with_path(base: str) -> str:
    base = base.rstrip("/")
    return base if base.endswith(TRACES_PATH) else base + TRACES_PATH


def _check_protocol(environ: Mapping[str, str]) -> None:
    for name in _PROTOCOLS:
        protocol = environ.get(name, "").strip()
        if protocol and protocol != PROTOCOL:
            problem = (
                f"spans are sent as {PROTOCOL} only (usually port 4318); "
                f"set {_PROTOCOLS[0]}={PROTOCOL}, or OTEL_SDK_DISABLED=true to send nothing"
            )
            raise ConfigError(problem, key=name)
        if protocol:
            return
