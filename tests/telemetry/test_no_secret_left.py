"""Whatever a secret looks like, and wherever an event carries it, no sink writes it."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hypothesis import assume, example, given
from hypothesis import strategies as st
from tests.telemetry.attempts import ATTEMPT, MOMENT

from agent_pipeline.domain.events import (
    AgentEvent,
    AttemptFinished,
    DocumentStarted,
    Event,
    PipelineFailure,
    Review,
    SdkLogRecord,
    SdkTraceItem,
    StageMessage,
)
from agent_pipeline.telemetry import (
    REDACTED,
    EventsSink,
    HttpLogSink,
    OpenFile,
    Redactor,
    ReviewsSink,
    RunLogSink,
    SdkLogCapture,
    SdkTraceSink,
    parse_line,
)
from agent_pipeline.telemetry.line_file import LineSink

HTTP = logging.getLogger("openai.agents.http")
KINDS = (RunLogSink, EventsSink, ReviewsSink, SdkTraceSink, SdkLogCapture)

odd = st.text(st.characters() | st.sampled_from(" \"'\\/=+%\n\t\x7f\x85\u2028é🙂"), max_size=6)
secrets = st.text(st.characters() | st.sampled_from(" \"'\\/=+%&\n\t\x7f\x85\u2028é🙂"), min_size=8, max_size=20)


def events_with(text: str) -> Iterator[Event]:
    """Yield one event for each way a foreign text can take."""
    yield PipelineFailure("1", text, text, "stage_failed", f"it said {text}")
    yield StageMessage(text, "1", "s", {text: [text, {"deep": text}], "plain": text, "n": 1})
    yield Review("1", "review", 1, approved=True, issues=text, suggestions=text)
    yield AgentEvent("tool_start", "1", "s", agent=text, detail=text)
    yield DocumentStarted(text, 1, text, 5)
    yield AttemptFinished(replace(ATTEMPT, error=text, provider_request_id=text, document_id=text, role=text))
    arguments = json.dumps({"text": text})
    yield SdkTraceItem(json.dumps({"span": {"input": [text], "arguments": arguments, text: 1}}))
    yield SdkTraceItem(json.dumps({"span": arguments}, ensure_ascii=False))
    yield SdkLogRecord(MOMENT.timestamp(), "DEBUG", "openai.agents", f"answered:\n{text}\n{arguments}")


def written(kind: type[LineSink], redactor: Redactor, text: str) -> str:
    """Return what a sink makes of the events."""
    descriptor = os.memfd_create("sink")
    # The copy is the sink's to close.
    sink = kind(Path("memory"), redactor=redactor, open_with=lambda _: OpenFile(os.dup(descriptor)))
    assert isinstance(sink, KINDS)
    LineSink.start(sink, lambda _: None)
    for event in events_with(text):
        if sink.accepts(type(event)):
            sink.handle(event, MOMENT)
    sink.close()
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read().decode()


def texts_in(value: object) -> Iterator[str]:
    """Yield every text of a JSON value, and of the JSON inside it."""
    if isinstance(value, str):
        yield value
        with suppress(ValueError, RecursionError):
            yield from texts_in(json.loads(value))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_in(key)
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


def texts_of(kind: type[LineSink], content: str) -> Iterator[str]:
    """Yield the file as it is, and every text that somebody who reads it back gets."""
    yield content
    for line in content.split("\n")[:-1]:
        if kind in {RunLogSink, SdkLogCapture}:
            parsed = parse_line(line)
            yield parsed.event
            yield from texts_in(parsed.fields)
        else:
            yield from texts_in(json.loads(line))


class Records(logging.Handler):
    """Keeps what listeners of the HTTP logger get."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts += [record.getMessage(), *(str(value) for value in vars(record).values())]


def http_records(redactor: Redactor, text: str) -> list[str]:
    """Return what the HTTP logger's listeners get of the events."""
    records, before = Records(), HTTP.level
    HTTP.addHandler(records)
    HTTP.setLevel(logging.DEBUG)
    try:
        for event in events_with(text):
            HttpLogSink(redactor=redactor).handle(event, MOMENT)
    finally:
        HTTP.removeHandler(records)
        HTTP.setLevel(before)
    return records.texts


@given(known=secrets, before=odd, after=odd)
@example(known="00000000", before="", after="\ud800")
@example(known='a "b" c\\', before="\\", after='"')
@example(known="\u2028é\u2028é\u2028é\u2028é", before="", after="")
def test_no_sink_writes_a_secret(known: str, before: str, after: str) -> None:
    """Quotes, escapes and blanks in it or beside it hide it from nobody."""
    neutral = Redactor()
    assume(all(known not in text for kind in KINDS for text in texts_of(kind, written(kind, neutral, ""))))
    assume(known not in REDACTED)
    redactor = Redactor([known])
    text = f"{before}{known}{after}"

    found = [seen for kind in KINDS for seen in texts_of(kind, written(kind, redactor, text))]
    found += http_records(redactor, text)

    assert [seen for seen in found if known in seen.replace(REDACTED, "\0")] == []
    assert all(any(REDACTED in line for line in written(kind, redactor, text).split("\n")) for kind in KINDS)
