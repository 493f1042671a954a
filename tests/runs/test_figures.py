"""Figures of checking a run: memory and time for one of many documents."""

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent_pipeline.domain.events import AttemptFinished, DocumentFinished, DocumentStarted, Event, PipelineStarted
from agent_pipeline.domain.trace_id import trace_id_of
from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.ledger.rows import attempt_row
from agent_pipeline.ledger.schema import connect
from agent_pipeline.runs.directory import RunDirectory, create_run_directory
from agent_pipeline.telemetry import EventsSink, RunLogSink

pytestmark = pytest.mark.slow

BEGAN = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def attempt_of(run_id: str, number: int) -> AttemptRecord:
    """Return the one request of a document."""
    document = f"document {number}"
    return AttemptRecord(
        attempt_id=f"{number:016x}",
        document_id=document,
        stage="look",
        cycle=1,
        role="reader",
        provider="openai",
        model="gpt-5-mini",
        number=1,
        sent=True,
        outcome="succeeded",
        status_code=200,
        error_code=None,
        error=None,
        wait_seconds=0.0,
        wait_reason=None,
        latency_seconds=0.5,
        usage=Usage(10, 5),
        reserved_tokens=100,
        charged_tokens=15,
        cost_micro_usd=3,
        provider_request_id=f"req_{number}",
        method="POST",
        path="/v1/responses",
        started_at=BEGAN + timedelta(milliseconds=number),
        call_id=f"{number:016x}",
        trace_id=trace_id_of(run_id, document, 1),
        span_id=f"span_{number}",
    )


def write_ledger(run: RunDirectory, count: int) -> None:
    """Write the rows of as many documents."""
    at = BEGAN.isoformat(timespec="microseconds")
    connection = connect(run.ledger)
    connection.execute("BEGIN")
    connection.execute(
        "INSERT INTO run VALUES (?, 'many', ?, ?, 'completed', NULL, 'x', '0', 'x.yaml', '{}')", (run.run_id, at, at)
    )
    connection.execute("INSERT INTO sessions VALUES (1, 1, 'here', '0', 'x', ?, ?, 'completed', NULL)", (at, at))
    for number in range(1, count + 1):
        attempt = attempt_of(run.run_id, number)
        connection.execute(
            "INSERT INTO documents (document_id, position, content_sha256, outcome, error_code, trace_id, session, "
            "started_at, ended_at) VALUES (?, ?, 'x', 'failed', 'rejected', ?, 1, ?, ?)",
            (attempt.document_id, number, attempt.trace_id, at, at),
        )
        row = attempt_row(attempt, 1)
        names = ", ".join(f":{name}" for name in row)
        connection.execute(f"INSERT INTO attempts ({', '.join(row)}) VALUES ({names})", row)  # noqa: S608 - our names
    connection.execute("COMMIT")
    connection.close()


def write_logs(run: RunDirectory, count: int) -> None:
    """Write what the sinks would have written."""
    sinks: list[RunLogSink | EventsSink] = [RunLogSink(run.log), EventsSink(run.events)]
    started = PipelineStarted(run.run_id, "many", str(run.path), "0", ["look"], 1, 1, simulator=True)
    for sink in sinks:
        sink.start(lambda _: None)
        sink.handle(started, BEGAN)
        for number in range(1, count + 1):
            attempt = attempt_of(run.run_id, number)
            document = str(attempt.document_id)
            told: list[Event] = [
                DocumentStarted(document, number, None, 10),
                AttemptFinished(attempt),
                DocumentFinished(document, "failed", 0, None, "rejected", 0.5),
            ]
            for event in told:
                sink.handle(event, attempt.started_at)
            if number % 256 == 0:
                sink.flush()
        sink.close()
    run.reviews.touch()


def write_traces(run: RunDirectory, count: int) -> None:
    """Write a trace with one span for each document."""
    with run.sdk_traces.open("w", encoding="utf-8") as file:
        for number in range(1, count + 1):
            attempt = attempt_of(run.run_id, number)
            metadata = {"run_id": run.run_id, "document_id": attempt.document_id}
            span = {"object": "trace.span", "id": attempt.span_id, "trace_id": attempt.trace_id}
            trace = {"object": "trace", "id": attempt.trace_id, "metadata": metadata}
            file.write(f"{json.dumps(span)}\n{json.dumps(trace)}\n")


def make_run(logs: Path, count: int) -> RunDirectory:
    """Write a run of so many documents as its parts would have written it."""
    run = create_run_directory(logs, "many", now=BEGAN)
    (run.path / "config.yaml").touch()
    write_ledger(run, count)
    write_logs(run, count)
    write_traces(run, count)
    return run


def check(run: RunDirectory) -> tuple[int, float]:
    """Check a run in a process of its own; return the most memory it took (MB), and seconds."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "agent_pipeline", "verify", str(run.path)]
    pid = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_maxrss // (1024 * 1024 if sys.platform == "darwin" else 1024), time.monotonic() - begun


def test_memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    """A run of a million documents must be checkable on the machine that made it."""
    few, _ = check(make_run(tmp_path / "few", 500))
    many, took = check(make_run(tmp_path / "many", 50_000))

    print(f"500 documents: {few} MB; 50,000 documents: {many} MB, {took:.1f} s")  # noqa: T201 - a figure
    assert many - few <= 16
