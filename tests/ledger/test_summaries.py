"""What SQLite adds up is what one gets by adding up the rows by hand."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.runs.sample import Sample, copy_sample, make_sample

from agent_pipeline.ledger import LedgerReader, open_reader

MILLISECOND = 0.001
"""What SQLite knows times to; twice that may be off between two."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A run with documents of every outcome and failed requests."""
    return make_sample(tmp_path_factory.mktemp("summaries") / "project")


@pytest.fixture
def ledger(made: Sample) -> Iterator[LedgerReader]:
    """What it left, as of now."""
    with open_reader(made.run.ledger) as reader:
        yield reader


def test_outcomes_are_counted(ledger: LedgerReader) -> None:
    """A document is counted once."""
    assert ledger.outcomes() == {"succeeded": 3, "failed": 2, "skipped": 1}


def test_totals_are_the_sums_of_the_rows(ledger: LedgerReader) -> None:
    """Retries are attempts of one request."""
    rows = [row.attempt for row in ledger.attempts()]

    totals = ledger.totals()

    assert totals.attempts == len(rows)
    assert totals.requests == len({row.call_id for row in rows}) == len(rows) - 2
    assert (totals.failed, totals.rate_limited) == (2, 0)
    assert totals.usage.input_tokens == sum(row.usage.input_tokens for row in rows if row.usage is not None)
    assert totals.spent.tokens == sum(row.charged_tokens for row in rows)
    assert totals.spent.micro_usd == sum(row.cost_micro_usd or 0 for row in rows)
    assert not totals.unknown_cost


def test_the_totals_of_documents_make_the_whole(ledger: LedgerReader) -> None:
    """Nothing is told twice."""
    parts = [ledger.totals_of(one) for one in ledger.document_ids()]

    assert sum(part.spent.tokens for part in parts) == ledger.totals().spent.tokens
    assert ledger.totals_of("no such document").attempts == 0


def test_percentiles_are_by_the_nearest_rank(ledger: LedgerReader) -> None:
    """So that each is a time that some pass really took."""
    found = {one.stage: one for one in ledger.stage_times()}

    assert list(found) == ["route", "transform", "review", "name", "remark"]
    for stage, times in found.items():
        rows = [row for row in ledger.stage_results() if row.stage == stage]
        seconds = sorted((row.ended_at - row.started_at).total_seconds() for row in rows)
        ranks = [seconds[math.ceil(share * len(seconds)) - 1] for share in (0.5, 0.95, 1.0)]
        assert times.passes == len(seconds)
        assert [times.p50, times.p95, times.longest] == pytest.approx(ranks, abs=0.002)


def test_documents_that_failed_alike_are_told_together(ledger: LedgerReader) -> None:
    """With the first of them as the example."""
    groups = [(one.outcome, one.error_code, one.stage, one.documents, one.example_id) for one in ledger.failures()]

    assert groups == [("failed", "rejected", "review", 1, "3"), ("failed", "document_invalid", None, 1, "5")]


def test_the_example_is_the_first_of_its_group(made: Sample, tmp_path: Path) -> None:
    """By its position, not by its row."""
    sample = copy_sample(made, tmp_path / "copy")
    sample.sql(
        "UPDATE documents SET outcome = 'failed', error_code = 'rejected', failed_stage = 'review', error = 'mine' "
        "WHERE document_id IN ('2', '6')",
    )

    with open_reader(sample.run.ledger) as reader:
        first = next(reader.failures())

    assert (first.documents, first.example_id, first.example_error) == (3, "2", "mine")


def test_waits_are_summed_by_their_reason(ledger: LedgerReader) -> None:
    """Requests that did not wait are none of them."""
    waited = [row.attempt for row in ledger.attempts() if row.attempt.wait_reason is not None]

    sums = list(ledger.waits())

    assert {one.reason: one.attempts for one in sums} == Counter(one.wait_reason for one in waited)
    assert sum(one.seconds for one in sums) == pytest.approx(sum(one.wait_seconds for one in waited))


def test_models_are_told_by_role(ledger: LedgerReader) -> None:
    """A role may have had a fallback, or another model in the middle of the run."""
    models = {one.role: (one.provider, one.model) for one in ledger.models()}

    assert set(models.values()) == {("openai", "gpt-5-mini")}
    assert sum(one.attempts for one in ledger.models()) == ledger.totals().attempts


def test_the_slowest_come_first(ledger: LedgerReader) -> None:
    """And no more than were asked for."""
    latencies = sorted((row.attempt.latency_seconds for row in ledger.attempts()), reverse=True)

    assert [row.attempt.latency_seconds for row in ledger.slowest_attempts(3)] == latencies[:3]
    took = [(row.ended_at - row.started_at).total_seconds() for row in ledger.slowest_stage_results(4)]
    assert len(took) == 4
    assert all(before >= after - 2 * MILLISECOND for before, after in pairwise(took))
    assert len(list(ledger.slowest_documents(2))) == 2


def test_a_document_is_found_at_its_position(ledger: LedgerReader) -> None:
    """Positions count from 1."""
    found = ledger.document_at(4)

    assert found is not None
    assert found.document_id == "4"
    assert ledger.document_at(0) is None
