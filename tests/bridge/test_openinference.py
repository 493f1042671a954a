"""The SDK's spans by OpenInference's names: drawn one by one, the SDK left alone, and without texts by default."""

from types import SimpleNamespace
from typing import Any

import pytest
from agents.run_internal import tool_execution
from agents.tracing import get_trace_provider
from agents.tracing.span_data import GenerationSpanData, HandoffSpanData, SpanData

from agent_pipeline.bridge import OpenInferenceSpans
from agent_pipeline.telemetry.otel import SpanTracer
from agent_pipeline.telemetry.otel.draft import Draft
from agent_pipeline.telemetry.otel.tracer import Place

TEXT = "a giraffe"
LLM = GenerationSpanData(
    input=[{"role": "user", "content": TEXT}],
    output=[{"role": "assistant", "content": TEXT}],
    model="m",
    model_config={"temperature": 1},
    usage={"input_tokens": 3, "output_tokens": 2},
)


def draw(data: SpanData, *, include_texts: bool = False, error: object = None, began: bool = True) -> Draft | None:
    """Return what becomes of a span that a stage made itself, with texts and all."""
    tracer = SpanTracer()
    spans = OpenInferenceSpans(tracer, include_texts=include_texts)
    tracer.expect(Place(1, 2, 3, {"ours": True}))
    spans.draw(
        SimpleNamespace(
            trace_id="trace_1",
            span_id="span_1",
            parent_id="span_0",
            started_at="2026-11-21T09:05:00+00:00" if began else None,
            ended_at="2026-11-21T09:05:01.500000+00:00",
            span_data=data,
            error=error,
        )
    )
    return tracer.drawn()


@pytest.mark.parametrize("include_texts", [False, True])
def test_texts_stay_here_unless_the_run_keeps_them(*, include_texts: bool) -> None:
    """The SDK holds back its own only; a stage may make spans too."""
    draft = draw(LLM, include_texts=include_texts)

    assert draft is not None
    assert (TEXT in repr(draft)) == include_texts
    assert draft.attributes["openinference.span.kind"] == "LLM"
    assert draft.attributes["ours"] is True
    assert (draft.trace_id, draft.span_id, draft.parent_id) == (1, 2, 3)
    assert draft.end - draft.start == 1_500_000_000


def test_the_environment_may_hide_texts_that_the_run_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that OpenInference's users know."""
    monkeypatch.setenv("OPENINFERENCE_HIDE_INPUTS", "true")
    monkeypatch.setenv("OPENINFERENCE_HIDE_OUTPUTS", "true")

    assert TEXT not in repr(draw(LLM, include_texts=True))


def test_an_error_is_one_and_a_handoff_has_its_name() -> None:
    failed = draw(HandoffSpanData("a", "b"), error={"message": "no", "data": None})

    assert failed is not None
    assert (failed.name, failed.failed) == ("handoff to b", True)
    assert failed.error is not None
    assert failed.error.startswith("no")


def test_a_span_that_never_began_is_not_drawn() -> None:
    """Nor does the SDK's trace become a span: our document's stands for it."""
    assert draw(LLM, began=False) is None


def test_the_sdk_s_own_processors_are_left_alone() -> None:
    """They belong to the process, and so do its functions."""
    provider: Any = get_trace_provider()
    before = provider._multi_processor._processors
    patched_by_instrumentors = tool_execution.execute_function_tool_calls

    draw(LLM)

    assert provider._multi_processor._processors is before
    assert tool_execution.execute_function_tool_calls is patched_by_instrumentors
