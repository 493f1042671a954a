"""A run's figures, counted in its ledger, finished, killed or going on."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime

from agent_pipeline.ledger import LedgerReader
from agent_pipeline.runs.state import is_simulated
from agent_pipeline.telemetry.exposition import SECONDS, Metric, Sample, histogram

_PREFIX = "agent_pipeline"
_UNFINISHED = "unfinished"
_OUTCOMES = ("succeeded", "failed", "skipped", "cancelled", _UNFINISHED)

Labels = Mapping[str, str]


def metrics_of(ledger: LedgerReader) -> Iterator[Metric]:
    """Yield the figures of a run as of the moment the ledger was opened at; a handful of queries, whatever its size."""
    own = {"pipeline": ledger.run.name, "run": ledger.run.run_id}
    yield from _run(ledger, own)
    yield _documents(ledger, own)
    results = [Sample({**own, "stage": stage}, count) for stage, count in ledger.stage_counts()]
    yield Metric(f"{_PREFIX}_stage_results", "Results of stages that are kept.", "gauge", results)
    yield from _attempts(ledger, own)
    yield from _waits(ledger, own)
    latencies = [
        sample
        for one in ledger.latency_counts(SECONDS)
        for sample in histogram({**own, "provider": one.provider, "model": one.model}, one.counts, one.seconds)
    ]
    yield Metric(f"{_PREFIX}_attempt_seconds", "Seconds from sending a request to its end.", "histogram", latencies)


def _run(ledger: LedgerReader, own: Labels) -> Iterator[Metric]:
    run = ledger.run
    info = {
        **own,
        "version": run.version,
        "outcome": run.outcome or _UNFINISHED,
        "reason": run.reason or "",
        "simulator": str(is_simulated(run)).lower(),
    }
    yield Metric(f"{_PREFIX}_run_info", "The run; its last session's outcome.", "gauge", [Sample(info, 1)])
    for name, text, at in (("started", "began", run.started_at), ("ended", "ended", run.ended_at)):
        yield Metric(f"{_PREFIX}_run_{name}_timestamp_seconds", f"When the run {text}.", "gauge", [*_moment(own, at)])
    sessions = sum(1 for _ in ledger.sessions())
    yield Metric(f"{_PREFIX}_run_sessions", "Processes that worked on the run.", "gauge", [Sample(own, sessions)])


def _moment(own: Labels, at: datetime | None) -> Iterator[Sample]:
    if at is not None:
        yield Sample(own, at.timestamp())


def _documents(ledger: LedgerReader, own: Labels) -> Metric:
    counts: dict[tuple[str, str], int] = {(outcome, ""): 0 for outcome in _OUTCOMES}
    for one in ledger.document_counts():
        counts[one.outcome or _UNFINISHED, one.error_code or ""] = one.count
    samples = [Sample({**own, "outcome": outcome, "error": error}, count) for (outcome, error), count in counts.items()]
    return Metric(f"{_PREFIX}_documents", "Documents, by how they ended.", "gauge", samples)


def _attempts(ledger: LedgerReader, own: Labels) -> Iterator[Metric]:
    """Yield what requests came to: how they ended, tokens, money."""
    ended: list[Sample] = []
    tokens: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
    charged: defaultdict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0, 0, 0, 0])
    for one in ledger.attempt_counts():
        whose = (one.role, one.provider, one.model)
        status = "" if one.status_code is None else str(one.status_code)
        labels = {**_whose(own, whose), "outcome": one.outcome or _UNFINISHED, "status": status}
        ended.append(Sample(labels, one.count))
        for kind in ("input", "output", "cached_input", "reasoning"):
            tokens[*whose, kind] += getattr(one.usage, f"{kind}_tokens")
        more = (one.spent.tokens, one.spent.unknown_tokens, one.spent.micro_usd / 1e6, one.unpriced)
        charged[whose] = [sum_ + value for sum_, value in zip(charged[whose], more, strict=True)]
    yield Metric(f"{_PREFIX}_attempts_total", "HTTP requests sent, by how they ended.", "counter", ended)
    reported = [Sample({**_whose(own, whose), "kind": kind}, count) for (*whose, kind), count in tokens.items()]
    yield Metric(f"{_PREFIX}_tokens_total", "Tokens that answers reported.", "counter", reported)
    for place, (name, text) in enumerate(
        (
            ("charged_tokens", "Tokens charged on the budget."),
            ("unknown_tokens", "The part of them that nobody reported."),
            ("cost_usd", "Dollars, of requests with a known price."),
            ("unpriced_attempts", "HTTP requests without a known price."),
        )
    ):
        samples = [Sample(_whose(own, whose), sums[place]) for whose, sums in charged.items()]
        yield Metric(f"{_PREFIX}_{name}_total", text, "counter", samples)


def _whose(own: Labels, whose: tuple[str, ...] | list[str]) -> dict[str, str]:
    return {**own, **dict(zip(("role", "provider", "model"), whose, strict=True))}


def _waits(ledger: LedgerReader, own: Labels) -> Iterator[Metric]:
    waits = sorted(ledger.waits(), key=lambda one: one.reason)
    counts = [Sample({**own, "reason": one.reason}, one.attempts) for one in waits]
    seconds = [Sample({**own, "reason": one.reason}, one.seconds) for one in waits]
    yield Metric(f"{_PREFIX}_waits_total", "HTTP requests that waited, by the longest reason.", "counter", counts)
    yield Metric(f"{_PREFIX}_wait_seconds_total", "Seconds they waited before they went.", "counter", seconds)
