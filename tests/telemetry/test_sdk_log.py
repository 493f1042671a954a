"""The SDK's own log is caught whole, silently, and without anybody's texts."""

import importlib.util
import logging
import runpy
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from tests.telemetry.writers import wait_writers_ended

from agent_pipeline.domain.events import AttemptFinished
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.telemetry import HttpLogSink, ParsedLine, Redactor, SdkLogCapture, Sink, open_telemetry, parse_line

SDK = logging.getLogger("openai.agents")
PROMPT = "Rewrite this text, please"


def read(path: Path) -> list[ParsedLine]:
    """Return the lines of the file."""
    return [parse_line(line) for line in path.read_text().splitlines()]


def test_logger_names_and_defaults_are_those_of_the_sdk() -> None:
    """A renamed logger would leave the file empty; read from its source, since importing it takes seconds."""
    sdk = importlib.util.find_spec("agents")
    assert sdk is not None
    assert sdk.origin is not None
    folder = Path(sdk.origin).parent

    flags = runpy.run_path(str(folder / "_debug.py"))

    assert 'getLogger("openai.agents")' in (folder / "logger.py").read_text()
    assert 'getLogger("openai.agents.tracing")' in (folder / "tracing" / "logger.py").read_text()
    assert (flags["DONT_LOG_MODEL_DATA"], flags["DONT_LOG_TOOL_DATA"]) == (True, True)


@pytest.mark.parametrize("threaded", [True, False])
async def test_records_of_any_thread_and_child_logger_are_written(tmp_path: Path, *, threaded: bool) -> None:
    """Tools run in threads, tracing has a logger of its own."""
    path = tmp_path / "sdk.log"

    async with open_telemetry([SdkLogCapture(path)], threaded=threaded) as telemetry:
        SDK.debug("Running agent %s (turn %s)", "writer", 1)
        await trio.to_thread.run_sync(lambda: logging.getLogger("openai.agents.tracing").warning("no exporter"))

    lines = read(path)
    assert telemetry.dropped == {}
    assert [(line.level, line.event, line.fields) for line in lines] == [
        ("DEBUG", "openai.agents", {"message": "Running agent writer (turn 1)"}),
        ("WARNING", "openai.agents.tracing", {"message": "no exporter"}),
    ]


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize("capture_first", [True, False])
async def test_http_records_made_on_the_writers_thread_are_in_it(
    tmp_path: Path, make_attempt: Callable[..., AttemptRecord], *, threaded: bool, capture_first: bool
) -> None:
    """They come back through the queue that is being emptied, up to the last one."""
    path = tmp_path / "sdk.log"
    sinks: list[Sink] = [SdkLogCapture(path), HttpLogSink()]
    if not capture_first:
        sinks.reverse()

    with trio.fail_after(10):
        async with open_telemetry(sinks, threaded=threaded) as telemetry:
            for number in range(300):
                telemetry.emit(AttemptFinished(make_attempt(number=number)))

    assert [line.event for line in read(path)] == ["openai.agents.http"] * 300
    assert telemetry.dropped == {}


async def test_texts_are_kept_out_unless_asked_for(tmp_path: Path) -> None:
    """The environment may have told the SDK to log everything; the file of a run is not the place."""
    with pytest.raises(ValueError, match=PROMPT) as caught:
        raise ValueError(PROMPT)
    raised = caught.value
    quiet, full = SdkLogCapture(tmp_path / "a"), SdkLogCapture(tmp_path / "b", content=True)

    async with open_telemetry([quiet]), open_telemetry([full]):
        SDK.debug("LLM resp:\n%s\n", PROMPT)
        SDK.debug("Rewind target %d (first 300 chars): %s", 3, PROMPT)
        SDK.warning("%s", "Error getting response")
        SDK.debug("args %s %s", {"text": PROMPT}, ValueError)
        SDK.debug("mapped %(text)s", {"text": PROMPT})
        SDK.error("%s: %s", "Tool failed", raised, exc_info=raised)

    messages = [line.fields["message"] for line in read(tmp_path / "a")]
    assert PROMPT not in (tmp_path / "a").read_text()
    assert messages == [
        f"LLM resp:\n<{len(PROMPT)} characters>\n",
        f"Rewind target 3 (first 300 chars): <{len(PROMPT)} characters>",
        "Error getting response",
        "args <dict> ValueError",
        "mapped %(text)s",
        "Tool failed: ValueError (ValueError)",
    ]
    shown = [line.fields["message"] for line in read(tmp_path / "b")]
    assert shown[0] == f"LLM resp:\n{PROMPT}\n"
    assert shown[4] == f"mapped {PROMPT}"
    assert "Traceback" in shown[5]


async def test_broken_record_is_told_and_stops_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Logging would print a traceback to stderr."""
    path = tmp_path / "sdk.log"

    async with open_telemetry([SdkLogCapture(path)]):
        SDK.debug("two %s %s", 1)
        SDK.debug("next")

    first, second = read(path)
    assert "could not be formatted: TypeError" in first.fields["message"]
    assert second.fields["message"] == "next"
    assert capfd.readouterr().err == ""


async def test_secrets_are_redacted(tmp_path: Path) -> None:
    """A header in a debug line is the usual leak."""
    path = tmp_path / "sdk.log"

    async with open_telemetry([SdkLogCapture(path, redactor=Redactor(["hunter 22"]), content=True)]):
        SDK.debug("headers %s, %s", {"Authorization": "Bearer abc.def"}, "hunter 22")

    assert read(path)[0].fields["message"] == "headers {'Authorization': '[redacted]'}, [redacted]"


async def test_logger_is_as_it_was_after_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Also when two runs overlap; and meanwhile no DEBUG record floods the root's handlers."""
    before = (SDK.level, SDK.propagate, list(SDK.handlers))
    SDK.setLevel(logging.ERROR)
    root_handler = logging.StreamHandler()
    logging.getLogger().addHandler(root_handler)

    try:
        async with open_telemetry([SdkLogCapture(tmp_path / "a")]):
            async with open_telemetry([SdkLogCapture(tmp_path / "b")]):
                SDK.debug("one")
            SDK.debug("two")
        after = (SDK.level, SDK.propagate, list(SDK.handlers))
        SDK.debug("three")
    finally:
        logging.getLogger().removeHandler(root_handler)
        SDK.setLevel(before[0])

    assert after == (logging.ERROR, *before[1:])
    assert [line.fields["message"] for line in read(tmp_path / "a")] == ["one", "two"]
    assert [line.fields["message"] for line in read(tmp_path / "b")] == ["one"]
    assert capfd.readouterr().err == ""


async def test_handler_is_gone_even_when_a_sink_is_stuck(tmp_path: Path) -> None:
    """The next run in this process must not feed the queue of this one."""
    gate = threading.Event()

    class Stuck(HttpLogSink):
        name = "stuck"

        def close(self) -> None:
            gate.wait()

    before = list(SDK.handlers)
    async with open_telemetry([Stuck(), SdkLogCapture(tmp_path / "a")], flush_timeout=0.1):
        SDK.debug("x")
    after = list(SDK.handlers)
    gate.set()
    await wait_writers_ended()

    assert after == before
