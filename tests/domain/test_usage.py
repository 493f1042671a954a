"""Tokens add up part by part, and parts are not counted twice."""

from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.domain.usage import Usage

counts = st.integers(0, 10**9)
usages = st.builds(Usage, counts, counts, counts, counts)


def test_usage_adds_up_part_by_part() -> None:
    """Four different columns of a bill; a mix-up would be money."""
    assert Usage(1, 20, 300, 4000) + Usage(5, 60, 700, 8000) == Usage(6, 80, 1000, 12000)


def test_cached_and_reasoning_tokens_are_not_added_to_the_total() -> None:
    """They are parts of input and output; a provider's total has them already."""
    assert Usage(input_tokens=10, output_tokens=4, cached_input_tokens=8, reasoning_tokens=3).total_tokens == 14


@given(parts=st.lists(usages))
def test_the_total_of_a_sum_is_the_sum_of_the_totals(parts: list[Usage]) -> None:
    """A run's total is the same however its attempts are grouped."""
    assert sum(parts, Usage()).total_tokens == sum(part.total_tokens for part in parts)
