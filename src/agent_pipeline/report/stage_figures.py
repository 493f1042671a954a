"""What each stage took: how long its passes and requests were, how they were spread, what they cost."""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from math import log10

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.ledger import StageResultRow
from agent_pipeline.report.shares import quantile

BARS = 24
_LEAST, _MOST = 0.01, 1000.0
"""Seconds at both ends of the histogram, which is logarithmic: models take between 10 ms and 20 minutes."""


@dataclass(slots=True)
class StageFigures:
    """One stage; `stage` is "" for requests that no stage made.

    Attributes:
        passes: seconds of each pass that ended well.
        latencies: seconds of each request that was answered.
        waited: seconds before requests were sent, in all.
        outcomes: of its requests.
    """

    stage: str
    passes: "array[float]" = field(default_factory=lambda: array("d"))
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    waited: float = 0.0
    worked: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    tokens: int = 0
    micro_usd: int = 0
    unknown_cost: bool = False

    def take_result(self, result: StageResultRow) -> None:
        """Count a pass that ended well."""
        self.passes.append(max((result.ended_at - result.started_at).total_seconds(), 0.0))

    def take_attempt(self, attempt: AttemptRecord) -> None:
        """Count a request."""
        self.outcomes[attempt.outcome or "unfinished"] += 1
        self.refused += attempt.status_code == 429
        self.waited += attempt.wait_seconds
        self.worked += attempt.latency_seconds
        self.tokens += attempt.charged_tokens
        self.micro_usd += attempt.cost_micro_usd or 0
        self.unknown_cost = self.unknown_cost or attempt.cost_micro_usd is None
        if attempt.outcome == "succeeded":
            self.latencies.append(attempt.latency_seconds)

    @property
    def attempts(self) -> int:
        """Its HTTP requests."""
        return self.outcomes.total()

    @property
    def cost(self) -> int | None:
        """Micro-dollars, None where a price is unknown."""
        return None if self.unknown_cost else self.micro_usd

    def spread(self) -> "Spread":
        """Return how long passes and requests took; sorts them."""
        passes, latencies = sorted(self.passes), sorted(self.latencies)
        return Spread(
            quantile(passes, 0.5),
            quantile(passes, 0.95),
            quantile(latencies, 0.5),
            quantile(latencies, 0.95),
            latencies[-1] if latencies else None,
            histogram(self.latencies),
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """Durations in seconds; None where nothing was measured. `bars` are shares of the highest, from 0 to 1."""

    pass_p50: float | None
    pass_p95: float | None
    p50: float | None
    p95: float | None
    longest: float | None
    bars: tuple[float, ...]


def histogram(values: "array[float]") -> tuple[float, ...]:
    """Return how values spread over logarithmic steps from 10 ms to 1,000 s, as shares of the highest."""
    counts = [0] * BARS
    for value in values:
        clamped = min(max(value, _LEAST), _MOST)
        counts[min(int(log10(clamped / _LEAST) / log10(_MOST / _LEAST) * BARS), BARS - 1)] += 1
    highest = max(counts)
    return tuple(count / highest for count in counts) if highest else ()
