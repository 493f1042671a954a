"""Spans of a run over workers: what arrives at an OTLP endpoint is what a run in one process sends there."""

import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from agents import custom_span, trace
from tests.integration.project import IN_THIS_PROCESS, make_project, prose
from tests.integration.spread import Provider, local, run_over_workers, with_engine
from tests.telemetry.otel.receiver import Received, Receiver, open_receiver

from agent_pipeline.bridge import OpenInferenceSpans
from agent_pipeline.compose import RunOptions
from agent_pipeline.domain.document import Document
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.stage import stage
from agent_pipeline.telemetry.otel import OtlpSink

SDK = "openinference.instrumentation.openai_agents"


@stage
async def traced(document: Document, context: StageContext) -> Document:
    """Trace something that can't leave the process."""
    del context
    with trace("own"), custom_span("own", {"lock": threading.Lock()}):
        return document


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An endpoint."""
    with open_receiver() as receiver:
        yield receiver


def _options(receiver: Receiver) -> RunOptions:
    sink = OtlpSink(f"{receiver.endpoint}/v1/traces", sdk_spans=partial(OpenInferenceSpans, include_texts=True))
    return RunOptions(include_texts=True, sinks=(sink,))


def _told(spans: list[Received]) -> Counter[str]:
    """Return what spans say, but for ids and times."""
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    told = Counter[str]()
    for span in spans:
        parent = by_id.get((span.trace_id, span.parent_id or ""))
        said = {
            key: value
            for key, value in span.attributes.items()
            if not (key.endswith("id") and key != "agent_pipeline.document.id") and "duration" not in key
        }
        told[repr((span.name, None if parent is None else parent.name, span.failed, sorted(said.items())))] += 1
    return told


def test_spans_of_the_sdk_arrive_from_workers_too(tmp_path: Path, receiver: Receiver) -> None:
    """Below their stages, with texts where these are wanted; the SDK's own objects stay where they were made."""
    project = with_engine(make_project(tmp_path, prose(30), stages=IN_THIS_PROCESS))

    run_over_workers(project, Provider(), options=_options(receiver))
    over_workers = [span for span in receiver.spans if span.scope == SDK]
    receiver.spans.clear()
    run_over_workers(local(project), Provider(), options=_options(receiver))
    here = [span for span in receiver.spans if span.scope == SDK]

    assert len(here) >= 30
    assert _told(over_workers) == _told(here)


def test_a_span_that_can_t_travel_costs_only_itself(tmp_path: Path, receiver: Receiver) -> None:
    """Its line is in the traces all the same, and the run log says which it was."""
    own = f"{__name__}:{traced.name}"
    project = with_engine(make_project(tmp_path, prose(3), stages=[own]), workers=1)

    result = run_over_workers(project, Provider(), options=_options(receiver))

    assert result is not None
    assert result.documents.succeeded == 3
    assert not [span for span in receiver.spans if span.scope == SDK]
    assert len(receiver.named("document")) == 3
    (run,) = project.runs()
    assert run.joinpath("trial.log").read_text(encoding="utf-8").count("event=span_not_carried") == 3
    (traces,) = project.logs.rglob("trace_dump-*")
    assert traces.read_text(encoding="utf-8").count('"trace.span"') == 3
