"""What other processes do for a run is counted as what its own gate does."""

from dataclasses import replace

from tests.engines.pretended import record

from agent_pipeline.control.counts import Counts
from agent_pipeline.domain.usage import Usage


def test_an_attempt_is_counted_at_its_end_and_if_it_left() -> None:
    """It is heard of twice; one that never left is no request."""
    counts = Counts()
    first = record("a1", "1", "write")

    counts.take(first, calls=1)
    assert counts == Counts(requests=1)
    counts.take(replace(first, outcome="succeeded", usage=Usage(3, 1)))
    counts.take(replace(first, outcome="cancelled", sent=False))

    assert counts == Counts(requests=1, attempts=1, usage=Usage(3, 1))


def test_an_attempt_without_a_price_leaves_the_cost_unknown() -> None:
    """For all of the run, whatever comes after it."""
    counts = Counts()

    counts.take(replace(record("a1", "1", "write"), outcome="succeeded", cost_micro_usd=None))
    counts.take(replace(record("a2", "1", "write"), outcome="succeeded"))

    assert (counts.unknown_cost, counts.attempts) == (True, 2)
