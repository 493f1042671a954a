"""Spans drawn from events: each under its parent, whatever ends first, named as the conventions want it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes, url_attributes
from tests.telemetry.attempts import ATTEMPT

from agent_pipeline.domain.document import Outcome
from agent_pipeline.domain.events import (
    AttemptFinished,
    ClientConfigured,
    DocumentFinished,
    DocumentStarted,
    Event,
    PipelineFailure,
    PipelineFinished,
    PipelineStarted,
    StageFinished,
    StageReused,
)
from agent_pipeline.domain.trace_id import trace_id_of
from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.telemetry.otel.draft import Draft, nanoseconds
from agent_pipeline.telemetry.otel.ids import sdk_span
from agent_pipeline.telemetry.otel.spans import RunSpans

AT = datetime(2026, 11, 21, 9, 5, tzinfo=UTC)
RUN = "trial-2026-11-21_09h05m00s-abcdef"


def attempt(**changes: object) -> AttemptRecord:
    """Return an attempt with these values."""
    return replace(ATTEMPT, **changes)  # type: ignore[arg-type]


def begun(session: int = 1) -> RunSpans:
    """Return the spans of a run that has begun."""
    spans = RunSpans()
    assert (
        spans.take(ClientConfigured("openai", "https://api.example:8443/v1", 1, 1, 1, 1, simulator=False), AT) is None
    )
    started = PipelineStarted(RUN, "trial", "/logs", "1", ["a", "b"], 1, 1, simulator=True, session=session)
    assert spans.take(started, AT) is None
    return spans


def drawn(spans: RunSpans, event: Event, seconds: float) -> Draft:
    """Return the span that ends so many seconds after the beginning."""
    draft = spans.take(event, AT + timedelta(seconds=seconds))
    assert draft is not None
    return draft


def test_every_span_hangs_below_the_one_it_is_part_of_though_that_ends_later() -> None:
    """Two documents at once, and an attempt of a plain call beside one of the SDK's."""
    spans = begun()
    ours = trace_id_of(RUN, "1", 1)
    plain = attempt(document_id="1", stage="a", cycle=2, span_id=None)
    asked = replace(plain, attempt_id="other", span_id="span_9")
    spans.take(DocumentStarted("1", 1, "file:x", 7), AT)
    spans.take(DocumentStarted("2", 2, None, 7), AT)

    attempts = [drawn(spans, AttemptFinished(one), 1) for one in (plain, asked)]
    stages = [drawn(spans, StageFinished(one, "a", 2, 1.0, None), 2) for one in ("1", "2")]
    documents = [drawn(spans, DocumentFinished(one, "succeeded", 0, None, None, 3.0), 3) for one in ("1", "2")]
    end = PipelineFinished("completed", None, 0, 2, 2, 0, 0, 0, 1, 1, 9, 4.0)
    run = drawn(spans, end, 4)

    assert attempts[0].parent_id == stages[0].span_id
    assert attempts[1].parent_id == sdk_span("span_9")
    assert [stage.parent_id for stage in stages] == [document.span_id for document in documents]
    assert {one.trace_id for one in (*attempts, stages[0], documents[0])} == {int(ours.removeprefix("trace_"), 16)}
    assert len({one.trace_id for one in (*documents, run)}) == 3
    assert [document.link for document in documents] == [(run.trace_id, run.span_id)] * 2
    assert [one.parent_id for one in (*documents, run)] == [None] * 3
    assert len({one.span_id for one in (*attempts, *stages, *documents, run)}) == 7


def test_what_a_lost_worker_had_under_way_is_the_document_s() -> None:
    """The agent's span never ends, and the stage's is that of the worker that came after it."""
    spans = begun()
    plain = attempt(document_id="1", stage="a", span_id=None, outcome="failed", error_code="interrupted")

    found = [drawn(spans, AttemptFinished(one), 1) for one in (plain, replace(plain, span_id="span_9"))]
    document = drawn(spans, DocumentFinished("1", "succeeded", 0, None, None, 3.0), 3)

    assert [one.parent_id for one in found] == [document.span_id] * 2


def test_passes_through_a_stage_and_sessions_of_a_run_are_spans_of_their_own() -> None:
    """Rework repeats a stage, resume a document; a trace that has ended is never added to."""
    ids = [
        (draft.trace_id, draft.span_id)
        for session in (1, 2)
        for cycle in (1, 2)
        for draft in [drawn(begun(session), StageFinished("1", "a", cycle, 1.0, None), 1)]
    ]

    assert len(set(ids)) == 4
    assert len({trace for trace, _ in ids}) == 2


def test_times_are_those_of_the_events() -> None:
    spans = begun()
    spans.take(DocumentStarted("1", 1, None, 7), AT + timedelta(seconds=1))
    request = attempt(document_id="1", started_at=AT + timedelta(seconds=2), latency_seconds=0.5)

    found = [
        drawn(spans, AttemptFinished(request), 9),
        drawn(spans, StageFinished("1", "a", 1, 1.5, None), 3),
        drawn(spans, StageReused("1", "b", 1), 3),
        drawn(spans, DocumentFinished("1", "succeeded", 0, None, None, 99.0), 4),
        drawn(spans, DocumentFinished("never begun", "skipped", 0, None, None, 0.25), 4),
        drawn(spans, PipelineFinished("completed", None, 0, 1, 1, 0, 0, 0, 1, 1, 9, 5.0), 5),
    ]

    seconds = [((one.start - nanoseconds(AT)) / 1e9, (one.end - nanoseconds(AT)) / 1e9) for one in found]
    assert seconds == [(2, 2.5), (1.5, 3), (3, 3), (1, 4), (3.75, 4), (0, 5)]


def test_an_attempt_says_what_it_is_by_the_names_of_the_conventions() -> None:
    """Backends compute tokens and money from them."""
    request = attempt(
        document_id="1",
        provider="openai",
        model="gpt-5-mini",
        path="/v1/responses",
        method="POST",
        status_code=429,
        outcome="failed",
        error_code="rate_limited",
        error="slow down",
        usage=Usage(10, 5, 3, 2),
        cost_micro_usd=None,
    )

    draft = drawn(begun(), AttemptFinished(request), 1)

    names = {
        gen_ai_attributes.GEN_AI_OPERATION_NAME: "chat",
        gen_ai_attributes.GEN_AI_PROVIDER_NAME: "openai",
        gen_ai_attributes.GEN_AI_REQUEST_MODEL: "gpt-5-mini",
        gen_ai_attributes.GEN_AI_USAGE_INPUT_TOKENS: 10,
        gen_ai_attributes.GEN_AI_USAGE_OUTPUT_TOKENS: 5,
        gen_ai_attributes.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: 3,
        gen_ai_attributes.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: 2,
        http_attributes.HTTP_REQUEST_METHOD: "POST",
        http_attributes.HTTP_RESPONSE_STATUS_CODE: 429,
        url_attributes.URL_PATH: "/v1/responses",
        server_attributes.SERVER_ADDRESS: "api.example",
        server_attributes.SERVER_PORT: 8443,
        error_attributes.ERROR_TYPE: "rate_limited",
        "agent_pipeline.run.id": RUN,
        "agent_pipeline.document.id": "1",
    }
    assert {name: draft.attributes.get(name) for name in names} == names
    assert "agent_pipeline.cost_micro_usd" not in draft.attributes
    assert (draft.name, draft.client, draft.failed, draft.error) == ("chat gpt-5-mini", True, True, "slow down")


def test_embeddings_are_called_what_they_are() -> None:
    draft = drawn(begun(), AttemptFinished(attempt(path="/v1/embeddings", model="e")), 1)

    assert draft.name == "embeddings e"


def test_a_request_of_no_document_belongs_to_the_run() -> None:
    spans = begun()
    request = drawn(spans, AttemptFinished(attempt(document_id=None)), 1)
    run = spans.cut_off(AT + timedelta(seconds=2))

    assert run is not None
    assert (request.trace_id, request.parent_id) == (run.trace_id, run.span_id)


@pytest.mark.parametrize(
    ("outcome", "code", "failed", "kind"),
    [
        ("succeeded", None, False, None),
        ("failed", "stage_failed", True, "stage_failed"),
        ("cancelled", None, True, "cancelled"),
        ("skipped", None, False, None),
    ],
)
def test_a_document_says_how_it_ended(outcome: Outcome, code: str | None, failed: bool, kind: str | None) -> None:  # noqa: FBT001
    spans = begun()
    if code is not None:
        spans.take(PipelineFailure("1", "a", None, code, "what went wrong"), AT)

    draft = drawn(spans, DocumentFinished("1", outcome, 2, None, code, 1.0), 1)

    assert (draft.failed, draft.attributes.get("error.type")) == (failed, kind)
    assert draft.attributes["agent_pipeline.document.outcome"] == outcome
    assert draft.error == (None if code is None else "what went wrong")


def test_a_run_that_breaks_off_has_a_span_too_and_no_run_has_two() -> None:
    """Its documents are linked to it."""
    spans = begun()
    last = spans.cut_off(AT + timedelta(seconds=2))

    assert last is not None
    assert (last.failed, last.attributes["agent_pipeline.run.outcome"]) == (True, "incomplete")
    assert spans.cut_off(AT) is None
    assert RunSpans().cut_off(AT) is None


def test_nothing_is_remembered_of_documents_that_are_over() -> None:
    """A run has a million."""
    spans = begun()
    for number in range(100):
        spans.take(DocumentStarted(str(number), number, None, 1), AT)
        spans.take(PipelineFailure(str(number), None, None, "e", "x"), AT)
        spans.take(DocumentFinished(str(number), "failed", 0, None, "e", 1.0), AT)

    assert (spans._documents, spans._failures) == ({}, {})


def test_before_the_run_began_there_is_nothing_to_draw() -> None:
    spans = RunSpans()
    for event in (
        AttemptFinished(attempt(document_id="1")),
        StageFinished("1", "a", 1, 1.0, None),
        DocumentFinished("1", "succeeded", 0, None, None, 1.0),
        PipelineFinished("completed", None, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0),
    ):
        assert spans.take(event, AT) is None
