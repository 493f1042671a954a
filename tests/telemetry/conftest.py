"""Events and sinks that the telemetry tests share."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agent_pipeline.domain.usage import AttemptRecord, Usage

AttemptFactory = Callable[..., AttemptRecord]


@pytest.fixture
def at() -> datetime:
    """The moment of an event."""
    return datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def make_attempt(at: datetime) -> AttemptFactory:
    """Build an attempt that went well; keyword arguments change its fields."""
    good = AttemptRecord(
        attempt_id="a1",
        document_id="7",
        stage="transform",
        cycle=1,
        role="writer",
        provider="openai",
        model="gpt-5-nano",
        number=1,
        sent=True,
        outcome="succeeded",
        status_code=200,
        error_code=None,
        error=None,
        wait_seconds=0.25,
        wait_reason="admission",
        latency_seconds=1.25,
        usage=Usage(input_tokens=10, output_tokens=5),
        reserved_tokens=100,
        charged_tokens=15,
        cost_micro_usd=None,
        provider_request_id="req_1",
        method="POST",
        path="/v1/responses",
        started_at=at,
    )

    def make(**changes: object) -> AttemptRecord:
        return replace(good, **changes)  # type: ignore[arg-type]  # names are checked by replace itself

    return make
