"""An OTLP receiver on loopback: it decodes what it gets, and behaves as badly as it is told to."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

Value = str | bool | int | float | list[str]


@dataclass(frozen=True)
class Received:
    """A span as it arrived; ids in hex, None at the root of a trace."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    start: int
    end: int
    client: bool
    failed: bool
    error: str
    attributes: dict[str, Value]
    links: list[tuple[str, str]]
    scope: str
    resource: dict[str, Value]


@dataclass
class Receiver:
    """What arrived, and how the next requests are answered.

    Attributes:
        status: of each answer.
        refuse: spans of each request that the answer says were not taken.
        location: sent along, for redirects.
        hold: an answer waits for this.
    """

    endpoint: str = ""
    spans: list[Received] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    refuse: int = 0
    location: str | None = None
    hold: threading.Event | None = None

    def named(self, name: str) -> list[Received]:
        """Return the spans whose name begins so."""
        return [span for span in self.spans if span.name.startswith(name)]

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Decode one request."""
        self.paths.append(path)
        self.headers.append(headers)
        if self.status != 200:
            return
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _values(resource_spans.resource.attributes)
            for scope_spans in resource_spans.scope_spans:
                self.spans += [_received(span, scope_spans.scope.name, resource) for span in scope_spans.spans]


def _received(span: Any, scope: str, resource: dict[str, Value]) -> Received:  # noqa: ANN401 - protobuf has no types
    return Received(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        client=span.kind == 3,
        failed=span.status.code == 2,
        error=span.status.message,
        attributes=_values(span.attributes),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        scope=scope,
        resource=resource,
    )


def _values(attributes: Any) -> dict[str, Value]:  # noqa: ANN401 - as above
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:  # noqa: ANN401 - as above
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


@contextmanager
def open_receiver() -> Generator[Receiver]:
    """Listen on 127.0.0.1 while the block lasts."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Take one request."""
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            if receiver.hold is not None:
                receiver.hold.wait(30)
            answer = ExportTraceServiceResponse()
            if receiver.refuse:
                answer.partial_success.rejected_spans = receiver.refuse
                answer.partial_success.error_message = "too old"
            content = answer.SerializeToString()
            try:
                self.send_response(receiver.status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(content)))
                if receiver.location is not None:
                    self.send_header("location", receiver.location)
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # who asked did not wait

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="receiver")
    thread.start()
    receiver.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        if receiver.hold is not None:
            receiver.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
