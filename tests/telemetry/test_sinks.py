"""Each file holds what the contract says, and nothing a secret could hide in."""

import json
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import cast

import pytest

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.domain.events import (
    AgentEvent,
    AttemptFinished,
    ClientSkipped,
    DocumentStarted,
    Event,
    PipelineFailure,
    PipelineStarted,
    Review,
    SdkTraceItem,
    StageFinished,
    StageMessage,
)
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.telemetry import (
    REDACTED,
    EventsSink,
    HttpLogSink,
    ParsedLine,
    Redactor,
    ReviewsSink,
    RunLogSink,
    SdkTraceSink,
    open_telemetry,
    parse_line,
)
from agent_pipeline.telemetry.line_file import LineSink

KEY = "sk-proj-abcdefghijkl"


async def write(sink: LineSink, *events: Event, at: datetime, dropped: int = 0) -> list[str]:
    """Send events through a whole telemetry and return the file's lines."""
    assert isinstance(sink, RunLogSink | EventsSink | ReviewsSink | SdkTraceSink)
    async with open_telemetry([sink], threaded=False, clock=lambda: at) as telemetry:
        for event in events:
            telemetry.emit(event)
    assert sum(telemetry.dropped.values()) == dropped
    text = sink.path.read_text(encoding="utf-8")
    assert not text or text.endswith("\n")
    return text.split("\n")[:-1]


async def run_log(path: Path, *events: Event, at: datetime, redactor: Redactor | None = None) -> list[ParsedLine]:
    """Return the run log of these events, read back."""
    sink = RunLogSink(path / "run.log", redactor=redactor or Redactor())
    return [parse_line(line) for line in await write(sink, *events, at=at)]


async def test_run_log_line_is_as_the_contract_shows_it(tmp_path: Path, at: datetime) -> None:
    """Scripts read these lines."""
    lines = await write(
        RunLogSink(tmp_path / "run.log"),
        DocumentStarted("1", 1, None, 300),
        ClientSkipped("no_api_key", "openai"),
        PipelineFailure("1", "review", None, "rejected", 'said "no"\nagain'),
        at=at,
    )

    assert lines == [
        "2026-11-20T10:00:00.123Z INFO DOCUMENT_STARTED doc=1 position=1 size_bytes=300",
        "2026-11-20T10:00:00.123Z WARNING OPENAI_CLIENT skip reason=no_api_key provider=openai",
        (
            "2026-11-20T10:00:00.123Z ERROR PIPELINE_FAILURE doc=1 stage=review error_code=rejected "
            'error="said \\"no\\"\\nagain"'
        ),
    ]


async def test_attempt_is_one_flat_line(
    tmp_path: Path, at: datetime, make_attempt: Callable[..., AttemptRecord]
) -> None:
    """A failed one warns; who looks for a slow or failed request greps one line."""
    good = AttemptFinished(make_attempt())
    bad = AttemptFinished(make_attempt(outcome="failed", status_code=500, error="boom boom", usage=None))

    first, second = await run_log(tmp_path, good, bad, at=at)

    assert (first.level, first.event, second.level) == ("INFO", "ATTEMPT", "WARNING")
    assert first.fields == {
        "doc": "7", "stage": "transform", "cycle": "1", "role": "writer", "attempt": "1", "status": "200",
        "outcome": "succeeded", "latency": "1.25", "wait": "0.25", "wait_reason": "admission", "input_tokens": "10",
        "output_tokens": "5", "charged_tokens": "15", "provider": "openai", "model": "gpt-5-nano", "method": "POST",
        "path": "/v1/responses", "request_id": "req_1", "attempt_id": "a1",
    }  # fmt: skip
    assert second.fields["error"] == "boom boom"
    assert "input_tokens" not in second.fields


async def test_message_of_a_stage_has_its_own_word_and_keys(tmp_path: Path, at: datetime) -> None:
    """`ROUTED route=code` is what its author wrote; nothing a stage says can break the line or hide a value."""
    messages = (
        StageMessage("ROUTED", "1", "route", {"route": "code", "confidence": 0.5, "sure": True, "why": None}),
        StageMessage("odd word=\n", "1", "route", {"a b": 1, "a=b": 2, "doc": "own", "": [1, "x"]}),
    )

    first, second = await run_log(tmp_path, *messages, at=at)

    assert (first.event, first.fields) == (
        "ROUTED",
        {"doc": "1", "stage": "route", "route": "code", "confidence": "0.5", "sure": "true"},
    )
    assert (second.event, second.fields) == (
        "odd_word__",
        {"doc": "1", "stage": "route", "a_b": "1", "a_b_": "2", "doc_": "own", "_": '[1,"x"]'},
    )


async def test_events_keep_their_types(
    tmp_path: Path, at: datetime, make_attempt: Callable[..., AttemptRecord]
) -> None:
    """Programs read this file; an attempt stands flat in its event's place."""
    events = (
        StageFinished("1", "route", 1, 0.25, None),
        AgentEvent("agent_start", "1", "route", "router"),
        AttemptFinished(make_attempt()),
        PipelineStarted("r", "p", "/run", "1", ["route"], 1, 2, simulator=True),
    )

    stage, agent, attempt, started = map(json.loads, await write(EventsSink(tmp_path / "events.jsonl"), *events, at=at))

    assert stage == {
        "at": "2026-11-20T10:00:00.123456Z", "event": "STAGE_FINISHED", "document_id": "1", "stage": "route",
        "cycle": 1, "duration_seconds": 0.25, "error_code": None,
    }  # fmt: skip
    assert (agent["event"], agent["step"]) == ("AGENT_EVENT", "agent_start")
    assert (attempt["event"], attempt["number"], attempt["started_at"]) == ("ATTEMPT", 1, "2026-11-20T10:00:00.123456Z")
    assert attempt["usage"] == {
        "input_tokens": 10, "output_tokens": 5, "cached_input_tokens": 0, "reasoning_tokens": 0
    }  # fmt: skip
    assert (started["stages"], started["simulator"]) == (["route"], True)


async def test_event_that_can_not_be_encoded_loses_only_itself(tmp_path: Path, at: datetime) -> None:
    """A stage may put anything into its values."""
    bad = StageMessage("X", "1", "s", {"value": cast("JsonValue", object())})

    lines = await write(EventsSink(tmp_path / "e"), _stage(1), bad, _stage(2), at=at, dropped=1)

    assert [json.loads(line)["cycle"] for line in lines] == [1, 2]


async def test_text_no_encoding_likes_is_kept_on_one_line(tmp_path: Path, at: datetime) -> None:
    """Models send half surrogates and odd separators."""
    text = "a\ud800\u2028b\x85c"
    events = (
        StageMessage("X", "1", "s", {"v": text}),
        StageMessage("X", "1", "s", {"v": "é\u2028\x85", "n": float("nan")}),
    )

    lines = await write(EventsSink(tmp_path / "e"), *events, at=at)

    assert all(line.splitlines() == [line] for line in lines)
    assert [json.loads(line)["values"] for line in lines] == [{"v": text}, {"v": "é\u2028\x85", "n": None}]


async def test_reviews_hold_verdicts_only(tmp_path: Path, at: datetime) -> None:
    """One line per verdict, to be read by a person who tunes the prompts."""
    lines = await write(
        ReviewsSink(tmp_path / "r"),
        _stage(1),
        Review("1", "review", 2, approved=False, issues="x", suggestions="y"),
        at=at,
    )

    assert [json.loads(line) for line in lines] == [
        {"at": "2026-11-20T10:00:00.123456Z", "document_id": "1", "stage": "review", "cycle": 2, "approved": False,
         "issues": "x", "suggestions": "y"}
    ]  # fmt: skip


async def test_trace_items_are_written_as_they_came(tmp_path: Path, at: datetime) -> None:
    """They are evidence; only secrets go, and only items are here."""
    odd = '{"n":  1.50, "text": "ä"}'
    secret = json.dumps({"span": {"headers": {"Authorization": f"Bearer {KEY}"}, "text": f'a "{KEY}"\n'}})
    events = (SdkTraceItem(odd), SdkTraceItem(secret), SdkTraceItem('{"a":\n1}'), SdkTraceItem("torn"), _stage(1))

    lines = await write(SdkTraceSink(tmp_path / "t"), *events, at=at, dropped=1)

    assert lines[0] == odd
    assert json.loads(lines[1]) == {"span": {"headers": {"Authorization": REDACTED}, "text": f'a "{REDACTED}"\n'}}
    assert lines[2:] == ['{"a":1}']


async def test_raw_lines_are_not_in_the_logs(tmp_path: Path, at: datetime) -> None:
    """They have files of their own."""
    item = SdkTraceItem('{"object": "trace"}')

    assert await write(RunLogSink(tmp_path / "a"), item, at=at) == []
    assert await write(EventsSink(tmp_path / "b"), item, at=at) == []


async def test_no_file_holds_a_secret(tmp_path: Path, at: datetime) -> None:
    """Neither by value nor by its looks; the lines can still be read."""
    redactor = Redactor(["hunter 2=2"])
    text = f'set api_key=" or hunter 2=2 or {KEY}'
    failure = PipelineFailure("1", "route", None, "stage_failed", text)
    message = StageMessage(f"USED {KEY}", "1", "s", {"api_key": "plain", "hunter 2=2": ["hunter 2=2"], "n": 1})
    review = Review("1", "review", 1, approved=True, issues=text, suggestions="")

    lines = [
        *await write(RunLogSink(tmp_path / "a", redactor=redactor), failure, message, review, at=at),
        *await write(EventsSink(tmp_path / "b", redactor=redactor), failure, message, review, at=at),
        *await write(ReviewsSink(tmp_path / "c", redactor=redactor), review, at=at),
    ]

    assert not [line for line in lines if KEY in line or "hunter" in line or "plain" in line]
    parsed = [parse_line(line) for line in lines[:3]]
    assert parsed[0].fields["error"] == f'set api_key="{REDACTED}{REDACTED} or {REDACTED}'
    assert parsed[1].event == f"USED_{REDACTED}"
    assert parsed[1].fields["api_key"] == REDACTED
    assert parsed[1].fields["n"] == "1"
    assert all(isinstance(json.loads(line), dict) for line in lines[3:])


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, logging.DEBUG),
        ({"outcome": "failed", "status_code": 503}, logging.ERROR),
        ({"outcome": "failed", "status_code": None}, logging.ERROR),
        ({"outcome": "failed", "status_code": 429}, logging.WARNING),
        ({"outcome": "failed", "status_code": 200}, logging.WARNING),
        ({"outcome": "cancelled", "status_code": None}, logging.WARNING),
    ],
)
async def test_attempt_is_a_record_of_the_http_logger(
    caplog: pytest.LogCaptureFixture, at: datetime, make_attempt: Callable[..., AttemptRecord],
    changes: dict[str, object], level: int,
) -> None:  # fmt: skip
    """Who has logging set up sees requests there, as text and as attributes."""
    caplog.set_level(logging.DEBUG, "openai.agents.http")
    event = AttemptFinished(make_attempt(error=f"no {KEY}", **changes))

    async with open_telemetry([HttpLogSink()], threaded=False, clock=lambda: at) as telemetry:
        telemetry.emit(event)

    (record,) = caplog.records
    assert (record.name, record.levelno, record.created) == ("openai.agents.http", level, at.timestamp())
    message = record.getMessage()
    assert message.startswith("method=POST path=/v1/responses role=writer attempt=1 ")
    assert f'error="no {REDACTED}"' in message
    assert "request_id=req_1" in message
    shown = {
        name: getattr(record, name) for name in ("method", "path", "role", "attempt", "status", "error", "wait_reason")
    }
    assert shown == {
        "method": "POST", "path": "/v1/responses", "role": "writer", "attempt": 1,
        "status": event.attempt.status_code, "error": f"no {REDACTED}", "wait_reason": "admission",
    }  # fmt: skip


async def test_http_log_leaves_the_logger_as_it_was(
    capfd: pytest.CaptureFixture[str], make_attempt: Callable[..., AttemptRecord]
) -> None:
    """Where nobody listens, logging prints warnings to stderr; a run's screen is not the place."""
    logger = logging.getLogger("openai.agents.http")
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    before = list(logger.handlers)

    try:
        async with open_telemetry([HttpLogSink()], threaded=False) as telemetry:
            telemetry.emit(AttemptFinished(make_attempt(outcome="failed", status_code=500)))
    finally:
        root.handlers = handlers

    assert logger.handlers == before
    assert capfd.readouterr().err == ""


def _stage(cycle: int) -> StageFinished:
    return StageFinished("1", "route", cycle, 0.25, None)
