"""Posting spans: to the named server alone, by OpenTelemetry's own variables, and every loss has a reason."""

import math
import os
import threading
import time
from pathlib import Path

import opentelemetry.trace
import pytest
from tests.telemetry.otel.receiver import Receiver, open_receiver

from agent_pipeline.telemetry.otel.draft import Draft
from agent_pipeline.telemetry.otel.exporter import LONGEST_REQUEST, OtlpExporter
from agent_pipeline.telemetry.otel.outbox import Loss


def span(number: int = 1) -> Draft:
    """Return a span."""
    return Draft(
        name=f"s{number}", trace_id=number, span_id=number, parent_id=None, start=1, end=2, attributes={"n": number}
    )


def post(receiver: Receiver, *drafts: Draft, left: float = math.inf) -> Loss | None:
    """Post these and let go of the connection."""
    exporter = OtlpExporter(f"{receiver.endpoint}/v1/traces")
    deadline = time.monotonic() + left
    try:
        return exporter.deliver(drafts or [span()], lambda: deadline - time.monotonic())
    finally:
        exporter.close()


def test_spans_arrive_as_they_were_drawn() -> None:
    draft = Draft(
        name="chat m",
        trace_id=0xAB,
        span_id=0xCD,
        parent_id=0xEF,
        start=5,
        end=7,
        attributes={"text": "ä", "number": 3, "many": ["a", "b"], "yes": True},
        client=True,
        failed=True,
        error="no",
        link=(1, 2),
        by_sdk=True,
    )

    with open_receiver() as receiver:
        assert post(receiver, draft) is None
    (found,) = receiver.spans

    assert (found.trace_id, found.span_id, found.parent_id) == (f"{0xAB:032x}", f"{0xCD:016x}", f"{0xEF:016x}")
    assert (found.name, found.start, found.end, found.client, found.failed, found.error) == (
        "chat m",
        5,
        7,
        True,
        True,
        "no",
    )
    assert found.attributes == {"text": "ä", "number": 3, "many": ["a", "b"], "yes": True}
    assert found.links == [(f"{1:032x}", f"{2:016x}")]
    assert found.scope == "openinference.instrumentation.openai_agents"
    assert found.resource["service.name"] == "agent-pipeline"


def test_the_standard_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs collectors has them set already."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "night-shift")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test,service.version=9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc,x-tenant=t")

    with open_receiver() as receiver:
        post(receiver)

    resource, headers = receiver.spans[0].resource, receiver.headers[0]
    assert (resource["service.name"], resource["service.version"]) == ("night-shift", "9")
    assert resource["deployment.environment"] == "test"
    assert (headers["authorization"], headers["x-tenant"]) == ("Basic abc", "t")
    assert headers["content-type"] == "application/x-protobuf"


def test_a_trace_is_sampled_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million documents are too many for most backends."""
    everything = OtlpExporter("http://127.0.0.1:9/v1/traces")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    quarter = OtlpExporter("http://127.0.0.1:9/v1/traces")
    traces = [number * 0x9E3779B97F4A7C15 % 2**64 for number in range(400)]

    taken = [trace for trace in traces if quarter.is_wanted(trace)]

    assert all(everything.is_wanted(trace) for trace in traces)
    assert 80 < len(taken) < 120
    assert taken == [trace for trace in traces if quarter.is_wanted(trace)]


def test_the_environment_s_proxy_and_netrc_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody gets the spans, or a password, but who was named; the guard of these tests would see a proxy's name."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter22\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    with open_receiver() as receiver:
        assert post(receiver) is None

    assert len(receiver.spans) == 1
    assert "authorization" not in receiver.headers[0]


def test_opentelemetry_s_global_state_is_untouched() -> None:
    """A host program has its own."""
    before = opentelemetry.trace.get_tracer_provider()
    with open_receiver() as receiver:
        post(receiver)

    assert opentelemetry.trace.get_tracer_provider() is before
    assert type(before).__name__ == "ProxyTracerProvider"


def test_no_connection_is_left_open() -> None:
    """The proof of a run's end would name it."""
    with open_receiver() as receiver:
        before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - only how many
        post(receiver)
        while len(os.listdir("/dev/fd")) > before:  # noqa: PTH208 - until the other end has seen it
            time.sleep(0.001)


@pytest.mark.parametrize(
    ("status", "location", "why"),
    [
        (400, None, "HTTP 400 Bad Request"),
        (401, None, "HTTP 401 Unauthorized"),
        (500, None, "HTTP 500 Internal Server Error"),
        (302, "http://elsewhere.invalid/", "HTTP 302 Found"),
    ],
)
def test_an_answer_that_is_no_success_loses_the_batch(status: int, location: str | None, why: str) -> None:
    """A redirect too: it is not followed, and what is behind it has got nothing."""
    with open_receiver() as receiver:
        receiver.status, receiver.location = status, location
        loss = post(receiver, span(1), span(2))

    assert loss == Loss(2, why)
    assert len(receiver.paths) == 1


def test_what_the_server_refuses_of_a_batch_is_counted() -> None:
    with open_receiver() as receiver:
        receiver.refuse = 2
        loss = post(receiver, span(1), span(2), span(3))

    assert loss == Loss(2, "refused: too old")


def test_nobody_there_is_said_in_a_few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    loss = post(Receiver(endpoint="http://127.0.0.1:9"))
    nameless = post(Receiver(endpoint="http://collector.invalid"))

    assert loss == Loss(1, "ConnectionError: Connection refused")
    assert nameless is not None
    assert nameless.why.startswith("ConnectionError: ")
    assert len(nameless.why) < 100


@pytest.mark.parametrize(("variable", "left"), [("0.2", math.inf), ("60", 0.2)])
def test_a_server_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch, variable: str, left: float) -> None:
    """By the environment's timeout, by what is left of the run's end, and by ours where that is the shortest."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", variable)
    with open_receiver() as receiver:
        receiver.hold = threading.Event()
        begun = time.monotonic()
        loss = post(receiver, left=left)
        waited = time.monotonic() - begun

    assert loss == Loss(1, "no answer within 0.2 s")
    assert waited < LONGEST_REQUEST


@pytest.mark.parametrize("status", [429, 503])
def test_at_the_end_nothing_is_paused_for(status: int) -> None:
    """In the middle of a run the exporter tries again after a second or more; the end is waited for."""
    with open_receiver() as receiver:
        receiver.status = status
        begun = time.monotonic()
        refused = post(receiver, left=4)
        gone = post(Receiver(endpoint="http://127.0.0.1:9"), left=4)
        waited = time.monotonic() - begun

    assert refused is not None
    assert refused.why.startswith(f"HTTP {status} ")
    assert gone == Loss(1, "ConnectionError: Connection refused")
    assert waited < 0.9
    assert len(receiver.paths) == 1


def test_without_time_nothing_is_sent() -> None:
    with open_receiver() as receiver:
        loss = post(receiver, left=0)

    assert loss == Loss(1, "there was no time left")
    assert receiver.paths == []
