"""An attempt that went well, and the moment of it."""

from datetime import UTC, datetime

from agent_pipeline.domain.usage import AttemptRecord, Usage

MOMENT = datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)

ATTEMPT = AttemptRecord(
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
    started_at=MOMENT,
)
