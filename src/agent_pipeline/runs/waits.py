"""For what requests waited before they were sent, added up, and whose doing that is."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from agent_pipeline.domain.usage import AttemptRecord, WaitReason
from agent_pipeline.ledger import WaitSum

Owner = Literal["our limit", "the provider", "our budget", "our retry policy"]


@dataclass(frozen=True, slots=True)
class Cause:
    """What a wait is for, in words, and who could end it."""

    owner: Owner
    words: str


CAUSES: dict[WaitReason, Cause] = {
    "admission": Cause("our limit", "for a place among the requests in flight"),
    "rate": Cause("our limit", "for room in the requests or tokens per minute"),
    "cooldown": Cause("the provider", "for the pause of all requests to the model that a 429 began"),
    "retry_after": Cause("the provider", "as long as the provider's Retry-After said"),
    "breaker": Cause("the provider", "for a provider that failed for all"),
    "budget": Cause("our budget", "for budget that others held or, on Ray, the driver had yet to lend"),
    "backoff": Cause("our retry policy", "between two attempts"),
}


def waits_of(attempts: Iterable[AttemptRecord]) -> tuple[WaitSum, ...]:
    """Add up the waits of these requests by the reason of their longest part; the longest sum first."""
    sums: dict[WaitReason, WaitSum] = {}
    for attempt in attempts:
        if attempt.wait_reason is None:
            continue
        known = sums.get(attempt.wait_reason, WaitSum(attempt.wait_reason, 0, 0.0, 0.0))
        sums[attempt.wait_reason] = WaitSum(
            known.reason,
            known.attempts + 1,
            known.seconds + attempt.wait_seconds,
            max(known.longest, attempt.wait_seconds),
        )
    return tuple(sorted(sums.values(), key=lambda one: -one.seconds))
