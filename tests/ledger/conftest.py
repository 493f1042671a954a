"""Ledgers, rows and ways to look at them that the tests of this folder share."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.ledger import Ledger

AT = datetime(2026, 11, 20, 9, 5, tzinfo=UTC)
SHA = "0" * 64

Rows = list[dict[str, object]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger under test lives."""
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
def query(path: Path) -> Callable[[str], Rows]:
    """Ask the ledger under test."""

    def ask(sql: str) -> Rows:
        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]

    return ask


@pytest.fixture
def attempt() -> Callable[..., AttemptRecord]:
    """Make an attempt's record, with some values replaced."""
    plain = AttemptRecord(
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
    )
    return lambda **changes: replace(plain, **changes)


@pytest.fixture
def begin() -> Callable[[Ledger, str], Awaitable[None]]:
    """Begin a document with values that do not matter."""

    async def begin_document(ledger: Ledger, document_id: str) -> None:
        await ledger.begin_document(
            document_id=document_id, position=1, source="in.md", content_sha256=SHA, started_at=AT
        )

    return begin_document


@pytest.fixture
def finish() -> Callable[[Ledger, str], Awaitable[None]]:
    """Finish a document as failed, with values that do not matter."""

    async def finish_document(ledger: Ledger, document_id: str) -> None:
        await ledger.finish_document(
            document_id,
            outcome="failed",
            error_code="rejected",
            error="never approved",
            failed_stage="review",
            reworks=2,
            artifact=None,
            ended_at=AT,
        )

    return finish_document
