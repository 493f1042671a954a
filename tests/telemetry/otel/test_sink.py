"""The sink as the run drives it: spans out of events, losses into the run's own count, never a wait."""

import json
import logging
import threading
from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest
from pydantic_core import to_json
from tests.telemetry.attempts import ATTEMPT
from tests.telemetry.otel.receiver import open_receiver
from tests.telemetry.recorders import Recorder

from agent_pipeline.domain.events import (
    AttemptFinished,
    Event,
    PipelineStarted,
    SdkTraceItem,
    StageFinished,
)
from agent_pipeline.domain.export_events import ExportFailed
from agent_pipeline.domain.sdk_span import SdkSpan, SpanLine
from agent_pipeline.domain.trace_id import trace_id_of
from agent_pipeline.telemetry import Redactor, Telemetry, open_telemetry
from agent_pipeline.telemetry.otel import OtlpSink, SpanTracer
from agent_pipeline.telemetry.otel.exporter import quiet_logger
from agent_pipeline.telemetry.otel.outbox import Loss
from agent_pipeline.telemetry.otel.sink import SpansLostError

RUN = "trial-2026-11-21_09h05m00s-abcdef"
STARTED = PipelineStarted(RUN, "trial", "/logs", "1", ["a"], 1, 1, simulator=True)
NOW = datetime(2026, 11, 21, 9, 5, tzinfo=UTC)


class Scribe:
    """Draws a span of its name, as OpenInference's processor does."""

    def __init__(self, tracer: SpanTracer) -> None:
        self._tracer = tracer

    def draw(self, span: object) -> None:
        if span == "fails":
            raise RuntimeError("no")
        root = self._tracer.start_span("trace", attributes={})
        if span == "never began":
            root.end()
            return
        drawn = self._tracer.start_span(str(span), start_time=5, attributes={"kind": "AGENT"})
        drawn.end(9)
        root.end()


def sdk(item: str, span_id: str, parent: str | None, *, document: str | None = "7", session: int = 1) -> SdkTraceItem:
    """Return the event of a span of the SDK, made in stage `a`."""
    trace = None if document is None else trace_id_of(RUN, document, session)
    return SdkTraceItem(SpanLine("{}", SdkSpan(item, span_id, parent, document, "a", 1, trace)))


async def tell(endpoint: str, *events: Event, recorder: Recorder | None = None, patience: float = 5) -> Telemetry:
    """Emit these to a sink for this endpoint, behind a recorder of all events."""
    sink = OtlpSink(endpoint, sdk_spans=Scribe, redactor=Redactor(["hunter22"]), patience=patience)
    async with open_telemetry([recorder or Recorder(), sink]) as telemetry:
        for event in events:
            telemetry.emit(event)
    return telemetry


async def test_spans_of_the_sdk_stand_between_their_stage_and_the_attempt() -> None:
    """An agent's first span hangs below the stage, the others below each other, the request below who asked."""
    request = replace(ATTEMPT, document_id="7", stage="a", span_id="span_2")

    with open_receiver() as receiver:
        events = (sdk("response", "span_2", "span_1"), AttemptFinished(request), sdk("agent", "span_1", None))
        telemetry = await tell(f"{receiver.endpoint}/v1/traces", STARTED, *events, StageFinished("7", "a", 1, 1, None))

    of = {span.name: span for span in receiver.spans}
    assert of["agent"].parent_id == of["stage a"].span_id
    assert of["response"].parent_id == of["agent"].span_id
    assert of["chat gpt-5-nano"].parent_id == of["response"].span_id
    assert of["agent"].attributes["agent_pipeline.sdk.span_id"] == "span_1"
    assert of["agent"].attributes["kind"] == "AGENT"
    assert set(of) == {"agent", "response", "stage a", "chat gpt-5-nano", "run trial"}
    assert telemetry.dropped == {}
    assert telemetry.statistics().written["otlp"] == 5


async def test_spans_of_another_run_and_of_no_document_are_not_ours() -> None:
    """The SDK tells its processors of everything in the process."""
    with open_receiver() as receiver:
        foreign = (sdk("other", "1", None, session=2), sdk("none", "2", None, document=None), SdkTraceItem("{}"))
        await tell(f"{receiver.endpoint}/v1/traces", STARTED, *foreign)

    assert [span.name for span in receiver.spans] == ["run trial"]


def test_for_every_other_sink_a_span_is_its_line() -> None:
    """Sinks of a user's own make a mapping of an event and JSON of that; the SDK's object must not get in their way."""
    event = sdk("agent", "1", None)

    assert json.dumps(asdict(event)) == json.dumps({"line": "{}"})
    assert to_json(event.line) == b'"{}"'
    assert event == SdkTraceItem("{}")
    assert "agent" not in repr(event)


async def test_a_span_that_can_not_be_drawn_loses_only_itself() -> None:
    """One that never began is none."""
    with open_receiver() as receiver:
        events = (sdk("fails", "1", None), sdk("never began", "3", None), sdk("fine", "2", None))
        telemetry = await tell(f"{receiver.endpoint}/v1/traces", STARTED, *events)

    assert [span.name for span in receiver.spans] == ["fine", "run trial"]
    assert telemetry.dropped == {"otlp": 1}


async def test_secrets_do_not_leave() -> None:
    with open_receiver() as receiver:
        failed = replace(ATTEMPT, outcome="failed", error="key hunter22 is wrong", model="hunter22")
        await tell(f"{receiver.endpoint}/v1/traces", STARTED, AttemptFinished(failed))

    assert "hunter22" not in repr(receiver.spans)
    assert receiver.named("chat")[0].error == "key [redacted] is wrong"


async def test_what_the_last_flush_loses_is_counted_too_and_harms_no_other_sink() -> None:
    """Nobody is there: all spans are lost, and no event of the files is."""
    recorder = Recorder()
    with open_receiver() as receiver:
        receiver.status = 500
        events = [StageFinished("7", "a", cycle, 1, None) for cycle in range(5)]
        telemetry = await tell(f"{receiver.endpoint}/v1/traces", STARTED, *events, recorder=recorder)

    statistics = telemetry.statistics()
    assert statistics.dropped == {"otlp": 6}  # and the run's own
    assert statistics.written["otlp"] == 0
    assert statistics.written["recorder"] >= 6
    assert statistics.errors == {"otlp": f"{receiver.endpoint}/v1/traces: HTTP 500 Internal Server Error"}


async def test_a_loss_in_the_middle_of_a_run_is_told_once() -> None:
    """In an hour-long run nobody wants to learn it at the end, nor every second."""
    with open_receiver() as receiver:
        receiver.status = 500
        sink = OtlpSink(f"{receiver.endpoint}/v1/traces", sdk_spans=Scribe, period=0.01)
        told: list[Event] = []
        sink.start(told.append)
        sink.handle(STARTED, NOW)
        for cycle in range(2):
            sink.handle(StageFinished("7", "a", cycle, 1, None), NOW)
            while (loss := _flushed(sink)) is None:
                threading.Event().wait(0.001)
            assert loss == 1
        receiver.status = 200
        sink.close()
        sink.stop()

    assert told == [ExportFailed(f"{receiver.endpoint}/v1/traces", 1, "HTTP 500 Internal Server Error")]
    assert [span.name for span in receiver.spans] == ["run trial"]


def _flushed(sink: OtlpSink) -> int | None:
    from agent_pipeline.telemetry import LinesLostError  # noqa: PLC0415 - of this helper alone

    try:
        sink.flush()
    except LinesLostError as error:
        return error.count
    return None


async def test_a_late_loss_takes_back_what_was_counted_as_written() -> None:
    """Spans leave later than their events; the two counts still add up to all there were."""

    class Late(Recorder):
        def flush(self) -> None:
            if len(self.events) == 3:
                raise SpansLostError(Loss(3, "gone"), "there")

    async with open_telemetry([Late("late")], threaded=False) as telemetry:
        for cycle in range(4):
            telemetry.emit(StageFinished("7", "a", cycle, 1, None))

    statistics = telemetry.statistics()
    assert (statistics.written, statistics.dropped) == ({"late": 1}, {"late": 3})
    assert statistics.errors == {"late": "there: gone"}


async def test_a_server_that_hangs_costs_the_end_its_patience_and_no_more() -> None:
    with open_receiver() as receiver:
        receiver.hold = threading.Event()
        telemetry = await tell(f"{receiver.endpoint}/v1/traces", STARTED, patience=0.1)

    assert telemetry.dropped == {"otlp": 1}


async def test_opentelemetry_s_complaints_do_not_reach_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """We tell of losses ourselves; and its logger is afterwards as it was."""
    before = list(quiet_logger().handlers)
    with open_receiver() as receiver:
        receiver.status = 500
        await tell(f"{receiver.endpoint}/v1/traces", STARTED)

    assert capfd.readouterr() == ("", "")
    assert quiet_logger().handlers == before
    assert logging.getLogger("opentelemetry").handlers == []


async def test_after_the_end_no_thread_is_left() -> None:
    with open_receiver() as receiver:
        await tell(f"{receiver.endpoint}/v1/traces", STARTED)

    assert not [thread for thread in threading.enumerate() if thread.name == "otlp"]
