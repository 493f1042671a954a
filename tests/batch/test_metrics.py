"""Figures that fit the results, in three forms that say the same; Prometheus' text is read back by its own grammar."""

import json
import re

import pytest
from tests.batch.flavours import StatusError, answers, item, mock_items, raises, run
from tests.telemetry.prometheus_text import read_prometheus

from agent_pipeline.batch import MockAgent, ParallelBatchProcessor, ProcessorConfig
from agent_pipeline.batch.metrics import BatchMetrics


def figures() -> BatchMetrics:
    """Return the figures of a batch of six items: four succeed, one after a 429 and one after a failure."""
    items = [
        *mock_items(2, MockAgent(latency=2)),
        item("limited", raises(StatusError(429, {"retry-after": "10"}), None)),
        item("shaky", raises(StatusError(500, usage={"input_tokens": 9, "cached_input_tokens": 4}), None)),
        item("bad", raises(ValueError("x"))),
        item("slow", answers(delay=1000)),
    ]

    async def scenario() -> BatchMetrics:
        processor = ParallelBatchProcessor[None, str, object](
            ProcessorConfig(max_workers=1, initial_wait=0, tokens_per_attempt=6)
        )
        for one in items:
            await processor.add_work(one)
        assert processor.metrics().items_waiting == 6
        await processor.process_all()
        return processor.metrics()

    return run("trio", scenario)


def test_figures_are_those_of_the_results() -> None:
    data = figures().to_dict()

    assert data["items"] == {
        "ended": 6,
        "succeeded": 4,
        "failed": 2,
        "waiting": 0,
        "active": 0,
        "results_waiting": 0,
    }
    assert data["errors"] == {"call_failed": 1, "item_deadline_exceeded": 1}
    assert (data["attempts"], data["rate_limits"]) == (7, 1)
    assert data["tokens"] == {
        "input_tokens": 10 + 10 + 3 + 9 + 3,
        "output_tokens": 10 + 10 + 2 + 2,
        "cached_input_tokens": 4,
        "reasoning_tokens": 0,
        "unknown": 12,  # held for the two that never told: the one cut off, and the one that raised a bug
    }
    assert data["seconds"] == pytest.approx(  # after a pause all go again step by step, so one more waits 0.1 s
        {
            "queued": 2 + 4 + 14 + 14 + 14.1,
            "waiting": 0,
            "cooldown": 10.1,
            "backoff": 0,
            "executing": 124,
            "duration": 134.1,
        }
    )
    assert data["item_seconds"] == pytest.approx({"p50": 14, "p95": 134.1, "p99": 134.1})


def test_json_and_prometheus_say_the_same() -> None:
    metrics = figures()
    samples = read_prometheus(metrics.to_prometheus({"batch": 'a "b"\\\nc'}))
    own = ("batch", 'a "b"\\\nc')

    def sample(name: str, **labels: str) -> float:
        return samples[f"agent_pipeline_batch_{name}", frozenset({own, *labels.items()})]

    assert json.loads(metrics.to_json()) == metrics.to_dict()
    assert (sample("items_total", outcome="succeeded"), sample("items_total", outcome="failed")) == (4, 2)
    assert sample("failures_total", code="item_deadline_exceeded") == 1
    assert sample("tokens_total", kind="input") == 35
    assert sample("phase_seconds_total", phase="cooldown") == pytest.approx(10.1)
    assert sample("item_seconds_bucket", le="2.5") == 1
    assert sample("item_seconds_bucket", le="+Inf") == sample("item_seconds_count") == 6
    assert sample("item_seconds_sum") == pytest.approx(2 + 4 + 14 + 14 + 14.1 + 134.1)


def test_statsd_says_it_too() -> None:
    lines = figures().to_statsd("mine").splitlines()

    assert "mine.items.succeeded:4|g" in lines
    assert "mine.errors.item_deadline_exceeded:1|g" in lines
    assert "mine.item_seconds.p50:14|g" in lines
    assert all(re.fullmatch(r"mine\.[\w.-]+:-?[\d.e+-]+\|g", line) for line in lines)
    assert len(lines) == len(set(lines)) > 20


def test_before_anything_ended_there_are_no_percentiles() -> None:
    metrics = ParallelBatchProcessor[None, str, object]().metrics()

    assert metrics.to_dict()["item_seconds"] == {"p50": None, "p95": None, "p99": None}
    assert "item_seconds" not in metrics.to_statsd()
    assert read_prometheus(metrics.to_prometheus())["agent_pipeline_batch_item_seconds_count", frozenset()] == 0


def test_without_labels_there_are_no_braces() -> None:
    samples = read_prometheus(figures().to_prometheus())

    assert samples["agent_pipeline_batch_attempts_total", frozenset()] == 7


@pytest.mark.parametrize("name", ["", "1a", "a-b", "__own", "ä"])
def test_a_label_needs_a_name_that_prometheus_takes(name: str) -> None:
    with pytest.raises(ValueError, match="Prometheus label"):
        figures().to_prometheus({name: "x"})
