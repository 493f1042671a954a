"""What the tests of this folder do with a ledger, with values that do not matter where none are given."""

import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent_pipeline.domain.document import Artifact, Outcome
from agent_pipeline.domain.stage_result import ResultKey, StageResult
from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.ledger import Ledger, Session, open_ledger
from agent_pipeline.ledger.commit import Connect

AT = datetime(2026, 11, 20, 9, 5, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
SHA = "0" * 64
ARTIFACT = Artifact(document_id="1", path="/out/a.md", sha256="f" * 64, size_bytes=12)
ATTEMPT = AttemptRecord(
    attempt_id="a1",
    document_id="1",
    stage="review",
    cycle=2,
    role="reviewer",
    provider="openai",
    model="small",
    number=1,
    sent=True,
    outcome="succeeded",
    status_code=200,
    error_code=None,
    error=None,
    wait_seconds=0.25,
    wait_reason="admission",
    latency_seconds=1.5,
    usage=Usage(input_tokens=10, output_tokens=4, cached_input_tokens=3, reasoning_tokens=2),
    reserved_tokens=100,
    charged_tokens=14,
    cost_micro_usd=1234,
    provider_request_id="req-1",
    method="POST",
    path="/v1/responses",
    started_at=AT,
    call_id="c1",
    trace_id="trace_1",
    span_id="span_1",
)
DISPATCHED = replace(
    ATTEMPT,
    outcome=None,
    status_code=None,
    latency_seconds=0.0,
    usage=None,
    charged_tokens=100,
    cost_micro_usd=5000,
    provider_request_id=None,
)
"""What is recorded of the same attempt as its first byte leaves."""


async def begin_session(ledger: Ledger, *, run_id: str = "r", at: datetime = AT, pid: int = 7) -> Session:
    """Begin a session of the run `r`."""
    return await ledger.begin_session(
        run_id=run_id,
        name="smoke",
        started_at=at,
        config_sha256=SHA,
        version="0.1.0",
        config_path="/in/smoke.yaml",
        options_json='{"limit": 5}',
        pid=pid,
        host="here",
    )


@asynccontextmanager
async def open_session(
    path: Path, *, create: bool = True, threaded: bool = True, connect: Connect | None = None
) -> AsyncGenerator[Ledger]:
    """Open a ledger and begin a session in it."""
    async with open_ledger(path, create=create, threaded=threaded, connect=connect) as ledger:
        await begin_session(ledger)
        yield ledger


async def begin(ledger: Ledger, document_id: str, *, position: int = 1, source: str | None = "in.md") -> None:
    """Begin a document."""
    await ledger.begin_document(
        document_id=document_id,
        position=position,
        source=source,
        content_sha256=SHA,
        plan_sha256="p" * 64,
        trace_id="trace_1",
        started_at=AT,
    )


async def reopen(ledger: Ledger, document_id: str, *, position: int = 1, at: datetime = AT) -> None:
    """Take up a document of an earlier session, with another content, plan and trace."""
    await ledger.reopen_document(
        document_id=document_id,
        position=position,
        source="again.md",
        content_sha256="1" * 64,
        plan_sha256="q" * 64,
        trace_id="trace_2",
        started_at=at,
    )


async def finish(
    ledger: Ledger,
    document_id: str,
    *,
    outcome: Outcome = "failed",
    error: str | None = "never approved",
    artifact: Artifact | None = None,
    at: datetime = AT,
) -> None:
    """Finish a document, as failed if nothing else is said."""
    has_failed = outcome == "failed"
    await ledger.finish_document(
        document_id,
        outcome=outcome,
        error_code="rejected" if has_failed else None,
        error=error if has_failed else None,
        failed_stage="review" if has_failed else None,
        reworks=2,
        artifact=artifact,
        ended_at=at,
    )


async def save(ledger: Ledger, output_json: str, *, document_id: str = "1", cycle: int = 1, sha: str = SHA) -> None:
    """Save a result of the stage `route`."""
    await ledger.save_stage_result(StageResult(document_id, ResultKey("route", cycle, sha), output_json, AT, AT))


async def write_two_sessions(path: Path) -> None:
    """Write a run with rows of every kind, one of them without all that may be missing."""
    async with open_session(path) as ledger:
        await begin(ledger, "2", position=2)
        ledger.record_attempt(DISPATCHED)
    async with open_ledger(path) as ledger:
        await begin_session(ledger, at=LATER, pid=8)
        await begin(ledger, "1", position=1, source=None)
        ledger.record_attempt(replace(ATTEMPT, attempt_id="a0"))
        ledger.record_attempt(replace(DISPATCHED, attempt_id="a2", call_id="", trace_id=None, span_id=None))
        await save(ledger, '{"n": 1}')
        await finish(ledger, "1", outcome="succeeded", artifact=ARTIFACT, at=LATER)
        await ledger.finish_run(outcome="completed", reason=None, ended_at=LATER)


def run_and_kill(script: str, path: Path) -> list[str]:
    """Run a script that is killed by its own SIGKILL, with the ledger's path; return the lines it wrote."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, timeout=60, check=False, text=True
    )
    assert done.returncode == -9, done.stderr
    return done.stdout.splitlines()


def state_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return when each file of a folder was changed, and what it holds."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def change(path: Path, *statements: str) -> None:
    """Change a ledger as nothing of ours would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
