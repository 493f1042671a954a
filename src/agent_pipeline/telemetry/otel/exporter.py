"""Drafts as OpenTelemetry's spans, posted to an endpoint; the one place that imports OpenTelemetry."""

import logging
import math
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import requests
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from agent_pipeline.telemetry.otel.draft import Draft
from agent_pipeline.telemetry.otel.outbox import Loss

LONGEST_REQUEST = 5.0
"""Seconds that one request may take, with its repetitions; a run's end waits for the one under way."""

_NAME = "agent-pipeline"
_VERSION = version("agent-pipeline")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_LONGEST_REASON = 200


class OtlpExporter:
    """Posts spans to one endpoint with its own connections; OpenTelemetry's global state is left alone.

    Headers, certificates and compression are those of the OTEL_EXPORTER_OTLP_ variables, the resource is that of
    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, the sampler that of OTEL_TRACES_SAMPLER. A proxy or a .netrc of the
    environment is not used: nobody gets the spans but who was named.
    """

    def __init__(self, endpoint: str) -> None:
        self._session = _Session()
        self._exporter = OTLPSpanExporter(endpoint, timeout=_request_timeout(), session=self._session)
        self._resource = _resource()
        self._sampler = TracerProvider(resource=self._resource, shutdown_on_exit=False).sampler
        self._scope = InstrumentationScope(_NAME, _VERSION)
        self._sdk_scope = InstrumentationScope("openinference.instrumentation.openai_agents")

    def is_wanted(self, trace_id: int) -> bool:
        """Say whether a trace is to be sent; always alike, so that a trace comes whole or not at all."""
        decision = self._sampler.should_sample(None, trace_id, "document").decision
        return decision is Decision.RECORD_AND_SAMPLE

    def deliver(self, drafts: Sequence[Draft], left: Callable[[], float]) -> Loss | None:
        """Post a batch; return what did not arrive, None where all did.

        Args:
            drafts: to send.
            left: seconds until it has to be over.
        """
        session = self._session
        session.begin(left)
        if self._exporter.export([self._span(draft) for draft in drafts]) is not SpanExportResult.SUCCESS:
            return Loss(len(drafts), session.failure or "the spans could not be encoded")
        return session.partial_loss()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()  # all that the exporter's shutdown does, which also wants to be the first to do it

    def _span(self, draft: Draft) -> ReadableSpan:
        return ReadableSpan(
            name=draft.name,
            context=_context(draft.trace_id, draft.span_id),
            parent=None if draft.parent_id is None else _context(draft.trace_id, draft.parent_id),
            resource=self._resource,
            attributes=draft.attributes,
            links=() if draft.link is None else (Link(_context(*draft.link)),),
            kind=SpanKind.CLIENT if draft.client else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, draft.error) if draft.failed else Status(),
            start_time=draft.start,
            end_time=draft.end,
            instrumentation_scope=self._sdk_scope if draft.by_sdk else self._scope,
        )


class _Session(requests.Session):
    """Goes to the named server itself, never for long, and remembers what came of the last request."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.failure: str | None = None
        self._left: Callable[[], float] = lambda: math.inf
        self._answer = b""
        self._tries = 0

    def begin(self, left: Callable[[], float]) -> None:
        """Begin with a new batch."""
        self._left, self._answer, self.failure, self._tries = left, b"", None, 0

    def request(self, *args: Any, **options: Any) -> requests.Response:  # noqa: ANN401 - as the class above has it
        """Send a request within the time that is left; a redirect is a failure, since it is not followed.

        While there is no hurry the exporter tries again after a pause. At the end it does so once, and at once, for a
        connection that the server closed meanwhile.
        """
        left = self._left()
        self._tries += 1
        is_last = left < math.inf and self._tries > 1
        if left <= 0:
            self.failure = self.failure or "there was no time left"
            raise requests.RequestException(self.failure)
        options["timeout"] = min(float(options.get("timeout") or LONGEST_REQUEST), left)
        try:
            answer = super().request(*args, **options)
        except requests.RequestException as exc:
            self.failure = _reason(exc, options["timeout"])
            if is_last:
                raise requests.RequestException(self.failure) from None  # of no kind that is tried again
            raise
        self.failure = None if answer.ok and not answer.is_redirect else f"HTTP {answer.status_code} {answer.reason}"
        if "protobuf" in answer.headers.get("content-type", ""):
            self._answer = answer.content  # not the answer itself: it would keep its connection open after the end
        if 300 <= answer.status_code < 400 or (self.failure and left < math.inf):
            raise requests.RequestException(self.failure)
        return answer

    def partial_loss(self) -> Loss | None:
        """Return what a server that took the batch says it did not take of it."""
        try:
            partial = ExportTraceServiceResponse.FromString(self._answer).partial_success
        except DecodeError:
            return None
        refused = partial.rejected_spans
        return Loss(refused, f"refused: {partial.error_message}"[:_LONGEST_REASON]) if refused > 0 else None


def quiet_logger() -> logging.Logger:
    """Return the logger that OpenTelemetry's exporter complains to; its complaints are counted and told by us."""
    return logging.getLogger("opentelemetry.exporter.otlp")


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)


def _resource() -> Resource:
    """Return what describes this process; the environment's words win over ours."""
    found = Resource.create()
    ours = {} if SERVICE_VERSION in found.attributes else {SERVICE_VERSION: _VERSION}
    if str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        ours[SERVICE_NAME] = _NAME
    return found.merge(Resource(ours))


def _request_timeout() -> float:
    """Return the timeout of the environment, where it is a shorter one than ours."""
    for name in _TIMEOUTS:
        try:
            return min(max(float(os.environ.get(name, "")), 0.1), LONGEST_REQUEST)
        except ValueError:
            continue
    return LONGEST_REQUEST


def _reason(error: BaseException, timeout: float) -> str:
    """Return in a few words why a request failed: the cause at the bottom, which the library buries."""
    if isinstance(error, requests.Timeout):
        return f"no answer within {timeout:.1f} s"
    deepest: BaseException = error
    for _ in range(10):  # a cycle of causes must not hold us
        below = deepest.__cause__ or deepest.__context__ or getattr(deepest, "reason", None)
        if not isinstance(below, BaseException):
            break
        deepest = below
    told = getattr(deepest, "strerror", None) or str(deepest) or type(deepest).__name__
    return f"{type(error).__name__}: {told}"[:_LONGEST_REASON]
