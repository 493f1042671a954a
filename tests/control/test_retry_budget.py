"""Retries that a lane's calls may make together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.control.retry_budget import CAPACITY, FLOOR, RetryBudget


def spend(budget: RetryBudget, failures: int, now: float = 0.0) -> int:
    """Fail so often; return how many were granted another attempt."""
    granted = 0
    for _ in range(failures):
        budget.fail()
        granted += budget.grant(now)
    return granted


def test_a_full_budget_lasts_to_its_half() -> None:
    """The rule of gRPC: retries stop when half of the tokens, or fewer, are left."""
    budget = RetryBudget(capacity=10, floor=0)

    assert [spend(budget, 1) for _ in range(7)] == [1, 1, 1, 1, 0, 0, 0]
    assert budget.tokens == 3


def test_ten_successes_pay_for_one_retry() -> None:
    """Exactly: 0.1 added ten times is not 1.0 in floats."""
    budget = RetryBudget(capacity=10, floor=0)
    spend(budget, 6)
    assert budget.tokens == 4

    for _ in range(19):
        budget.succeed()
    assert spend(budget, 0) == 0
    assert budget.tokens == 5.9

    budget.succeed()
    assert (budget.tokens, budget.grant(0)) == (6, True)


def test_tokens_stay_between_none_and_all() -> None:
    """A long outage takes no longer to get over than a short one; a long success buys no storm."""
    budget = RetryBudget(capacity=4, floor=0)
    spend(budget, 100)
    assert budget.tokens == 0
    budget.refill()
    budget.succeed()
    assert budget.tokens == 4


def test_the_floor_grants_so_many_a_second() -> None:
    """Whatever else fails, and no more than that after a long silence."""
    budget = RetryBudget(capacity=0, floor=2.0)

    assert [spend(budget, 5, now) for now in (0.0, 0.25, 0.5, 1.0, 60.0)] == [2, 0, 1, 1, 2]


@pytest.mark.parametrize(("floor", "granted"), [(0.0, 0), (0.5, 2)])
def test_a_floor_below_one_a_second_is_still_a_retry_now_and_then(floor: float, granted: int) -> None:
    """None is none, and a half is one in two seconds."""
    budget = RetryBudget(capacity=0, floor=floor)

    assert sum(spend(budget, 1, now) for now in (0.0, 1.0, 2.0, 3.0)) == granted


@pytest.mark.parametrize(("capacity", "floor"), [(-1, 0.0), (1, -0.1), (1, float("nan")), (1, float("inf"))])
def test_nonsense_is_refused(capacity: int, floor: float) -> None:
    """A budget without a bound is none."""
    with pytest.raises(ValueError, match="retry budget"):
        RetryBudget(capacity, floor)


@given(st.lists(st.sampled_from(["fail", "succeed"]), max_size=400), st.floats(0.001, 1.0))
def test_retries_are_a_tenth_of_the_successes_and_what_was_there(events: list[str], step: float) -> None:
    """The promise, counted by hand: half of the capacity, a tenth of the successes, the floor's of the time."""
    budget, granted, successes, now = RetryBudget(20, 2.0), 0, 0, 0.0
    for event in events:
        now += step
        if event == "succeed":
            budget.succeed()
            successes += 1
        else:
            budget.fail()
            granted += budget.grant(now)
    assert granted <= 10 + successes / 10 + 2.0 * (now + 1)


def test_the_defaults_are_a_tenth_of_a_thousand_documents() -> None:
    """With nothing but failures, 1,000 requests and 100 retries, and ten a second."""
    assert (spend(RetryBudget(), 1_000), CAPACITY, FLOOR) == (99 + 10, 200, 10.0)
