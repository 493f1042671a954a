"""What all requests of a gate came to, and those that other processes make in its place."""

from dataclasses import dataclass, field

from agent_pipeline.domain.usage import AttemptRecord, Usage


@dataclass(slots=True)
class Counts:
    """Sums since a gate was made.

    Attributes:
        requests: calls for which an HTTP request left; one that was refused or given up before is none.
        attempts: these HTTP requests, of those that have ended.
        usage: tokens the answers reported.
        unknown_cost: whether one had no known price.
    """

    requests: int = 0
    attempts: int = 0
    usage: Usage = field(default_factory=Usage)
    unknown_cost: bool = False

    def take(self, attempt: AttemptRecord, *, calls: int = 0) -> None:
        """Count an attempt that was made elsewhere, at its end, and `calls` that it is the first of."""
        self.requests += calls
        if attempt.outcome is not None:
            self.attempts += attempt.sent
            self.usage += attempt.usage or Usage()
            self.unknown_cost |= attempt.cost_micro_usd is None
