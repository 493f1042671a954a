"""How long the limits of a run let it take at the most: timeouts times attempts, along the deadline ladder."""

import math
from dataclasses import dataclass

from agent_pipeline.config.limits import LimitsConfig, RetryConfig


@dataclass(frozen=True, slots=True)
class WorstCase:
    """Seconds on the clock at the most; None is unlimited.

    Attributes:
        request: all attempts of one request and the pauses between them. Pauses for a 429 are not among them: they
            use up no attempt, and end with the stage.
        stage: one pass through one stage.
        document: all of its stages.
        run: None also where the number of documents is not known beforehand.
    """

    request: float | None
    stage: float | None
    document: float | None
    run: float | None


def worst_case(limits: LimitsConfig, documents: int | None) -> WorstCase:
    """Add up what the limits allow; an inner rung never outlasts an outer one.

    Args:
        limits: of the run.
        documents: how many there are, None where that is not known.
    """
    timeouts = limits.timeouts
    run = math.inf if timeouts.run is None else timeouts.run
    document = min(run, math.inf if timeouts.document is None else timeouts.document)
    stage = min(document, math.inf if timeouts.stage is None else timeouts.stage)
    attempt = math.inf if timeouts.attempt is None else timeouts.attempt
    request = min(stage, limits.retry.max_attempts * attempt + longest_pauses(limits.retry))
    whole = run if documents is None else min(run, math.ceil(documents / limits.documents_in_flight) * document)
    return WorstCase(*(None if math.isinf(one) else one for one in (request, stage, document, whole)))


def longest_pauses(retry: RetryConfig) -> float:
    """Return the sum of the longest pauses between the attempts of one request, in seconds."""
    return sum(min(retry.initial_delay * 2.0 ** min(n, 60), retry.max_delay) for n in range(retry.max_attempts - 1))


def crowded_minute(limits: LimitsConfig, documents: int | None) -> str | None:
    """Return what is wrong with many documents under few requests per minute; None where their waits fit.

    All documents in flight take turns, so one waits for as many requests as there are others; that counts against its
    stage.

    Args:
        limits: of the run.
        documents: how many there are, None where that is not known.
    """
    per_minute, stage = limits.requests_per_minute, worst_case(limits, None).stage
    if per_minute is None or stage is None:
        return None
    at_once = limits.documents_in_flight if documents is None else min(limits.documents_in_flight, documents)
    wait = at_once * 60.0 / per_minute
    if wait < stage:
        return None
    fitting = max(1, math.ceil(stage * per_minute / 60.0) - 1)
    return (
        f"{at_once:,} documents in flight at {per_minute:,} requests a minute: one waits up to {wait:,.0f} s for its "
        f"turn, which is not less than its stage's {stage:,.0f} s, so documents will fail; set documents_in_flight to "
        f"at most {fitting:,}, or raise the stage timeout"
    )
