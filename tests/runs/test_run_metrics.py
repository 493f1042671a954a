"""A run's figures are those of its ledger, counted another way."""

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from typing import Any

import pytest
from tests.runs.sample import Sample, go_on, kill
from tests.telemetry.prometheus_text import read_prometheus

from agent_pipeline.ledger import open_reader
from agent_pipeline.runs.metrics import metrics_of
from agent_pipeline.telemetry.exposition import SECONDS, exposition


class Figures:
    """The samples of a run, by metric and labels."""

    def __init__(self, sample: Sample) -> None:
        with open_reader(sample.run.ledger) as ledger:
            self.samples = read_prometheus("".join(exposition(metrics_of(ledger))))
        self.own = {("pipeline", "trial"), ("run", sample.run.run_id)}

    def of(self, name: str) -> dict[frozenset[tuple[str, str]], float]:
        """Return a metric's samples by the labels that not all have."""
        found = {labels: value for (one, labels), value in self.samples.items() if one == f"agent_pipeline_{name}"}
        assert all(labels >= self.own for labels in found)
        return {labels - self.own: value for labels, value in found.items()}

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return a metric's samples summed by some labels, without those that are 0."""
        sums: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for found, value in self.of(name).items():
            sums[tuple(dict(found)[label] for label in labels)] += value
        return {key: value for key, value in sums.items() if value}


def rows(sample: Sample, query: str) -> list[tuple[Any, ...]]:
    """Ask the ledger, past what is tested."""
    with closing(sqlite3.connect(sample.run.ledger)) as connection:
        return connection.execute(query).fetchall()


def as_texts(values: tuple[object, ...]) -> tuple[str, ...]:
    """Return what a label says of these."""
    return tuple("" if value is None else str(value) for value in values)


def test_figures_are_those_of_the_rows(sample: Sample) -> None:
    sample.sql("UPDATE attempts SET input_tokens = NULL, output_tokens = NULL, cost_micro_usd = NULL WHERE rowid = 4")
    figures = Figures(sample)
    attempts = rows(
        sample,
        "SELECT role, model, outcome, status_code, input_tokens, output_tokens, charged_tokens, cost_micro_usd, "
        "wait_reason, latency_seconds FROM attempts",
    )
    documents = rows(sample, "SELECT outcome, error_code FROM documents")

    assert figures.by("documents", "outcome", "error") == Counter(map(as_texts, documents))
    assert figures.by("attempts_total", "role", "model", "outcome", "status") == Counter(
        as_texts(row[:4]) for row in attempts
    )
    for kind, place in (("input", 4), ("output", 5)):
        reported = figures.by("tokens_total", "kind")[kind,]
        assert reported == sum(row[place] or 0 for row in attempts)
    charged = Counter({("",): 0})
    unknown, cost = 0.0, 0.0
    for row in attempts:
        charged[str(row[0]),] += row[6]
        unknown += row[6] if row[4] is None else 0
        cost += (row[7] or 0) / 1e6
    assert figures.by("charged_tokens_total", "role") == {key: value for key, value in charged.items() if value}
    assert sum(figures.of("unknown_tokens_total").values()) == unknown > 0
    assert sum(figures.of("cost_usd_total").values()) == pytest.approx(cost)
    assert sum(figures.of("unpriced_attempts_total").values()) == sum(row[7] is None for row in attempts) > 0
    assert figures.by("waits_total", "reason") == Counter((str(row[8]),) for row in attempts if row[8] is not None)
    assert sum(figures.of("stage_results").values()) == rows(sample, "SELECT count(*) FROM stage_results")[0][0]
    assert figures.of("run_sessions") == {frozenset(): 1}


def test_the_histogram_counts_every_request_that_is_over(sample: Sample) -> None:
    """One on a bound belongs below it; one under way has no latency yet."""
    sample.sql(
        "UPDATE attempts SET latency_seconds = 0.1",
        "UPDATE attempts SET latency_seconds = 301 WHERE rowid = 1",
        "UPDATE attempts SET latency_seconds = 0.11 WHERE rowid = 2",
        "UPDATE attempts SET outcome = NULL WHERE rowid = 3",
    )
    count = int(str(rows(sample, "SELECT count(*) FROM attempts")[0][0])) - 1

    buckets = Figures(sample).by("attempt_seconds_bucket", "le")

    assert buckets["0.1",] == count - 2
    assert [buckets[f"{bound:g}",] for bound in SECONDS[1:]] == [count - 1] * (len(SECONDS) - 1)
    assert buckets["+Inf",] == count
    assert Figures(sample).of("attempt_seconds_count").popitem()[1] == count
    assert Figures(sample).by("attempts_total", "outcome")["unfinished",] == 1


def test_a_run_that_is_not_over_says_so(sample: Sample) -> None:
    """Killed, or going on: the ledger can't tell the two apart."""
    kill(sample)
    sample.sql("UPDATE documents SET outcome = NULL, ended_at = NULL, error_code = NULL WHERE position = 1")

    figures = Figures(sample)

    assert figures.by("run_info", "outcome") == {("unfinished",): 1}
    assert figures.of("run_ended_timestamp_seconds") == {}
    assert figures.by("documents", "outcome")["unfinished",] == 1


def test_a_run_that_went_on_counts_its_sessions(sample: Sample) -> None:
    go_on(sample)

    figures = Figures(sample)

    assert figures.of("run_sessions") == {frozenset(): 2}
    assert sum(figures.of("attempts_total").values()) == rows(sample, "SELECT count(*) FROM attempts")[0][0]


@pytest.mark.parametrize(("options", "simulator"), [({"offline": True}, "true"), ({}, "false")])
def test_a_simulated_run_is_told_from_a_real_one(sample: Sample, options: object, simulator: str) -> None:
    """Its money was never spent."""
    sample.sql(f"UPDATE run SET options_json = '{json.dumps(options)}'")  # noqa: S608 - of this test's own values

    assert Figures(sample).by("run_info", "simulator") == {(simulator,): 1}
