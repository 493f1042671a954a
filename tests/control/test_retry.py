"""The retry policy: which errors use up what, and how long the pauses are."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.control.world import LongestJitter

from agent_pipeline.control.retry import Retries, RetryPolicy
from agent_pipeline.errors import (
    AnswerTooLargeError,
    AttemptTimeoutError,
    CertificateError,
    ConnectionLostError,
    CredentialsRejectedError,
    IncompleteAnswerError,
    ModelNotFoundError,
    ModelProtocolError,
    ProviderError,
    ProviderUnreachableError,
    QuotaExhaustedError,
    RateLimitedError,
    RequestRejectedError,
    ServerError,
    StreamTruncatedError,
)

RETRIED = [
    ProviderUnreachableError("refused"),
    ConnectionLostError("reset"),
    AttemptTimeoutError(attempt=1, rung="read", timeout=1),
    ServerError("busy", status_code=503),
]
FINAL = [
    ProviderError("other"),
    CertificateError("self-signed"),
    RequestRejectedError("bad", status_code=400),
    CredentialsRejectedError("no", status_code=401),
    ModelNotFoundError("no", status_code=404),
    QuotaExhaustedError("no", status_code=402),
    AnswerTooLargeError("long"),
    IncompleteAnswerError("cut"),
]


def retries(policy: RetryPolicy | None = None) -> Retries:
    """Return a fresh count whose jitter draws the ceiling."""
    return Retries(policy or RetryPolicy(), LongestJitter())


def limited(retry_after: float | None = None) -> RateLimitedError:
    """Return a 429."""
    return RateLimitedError("slow down", retry_after=retry_after)


@given(
    failures=st.integers(1, 5_000),
    seed=st.integers(),
    initial=st.floats(0, 100, allow_nan=False),
    longest=st.floats(0, 1_000, allow_nan=False),
)
def test_a_pause_lies_between_nothing_and_its_ceiling(failures: int, seed: int, initial: float, longest: float) -> None:
    """Full jitter: any number of failures, no overflow, never over the longest pause."""
    policy = RetryPolicy(initial_delay=initial, max_delay=longest)

    delay = policy.delay(failures, random.Random(seed))

    assert 0 <= delay <= longest
    assert delay <= initial * 2 ** min(failures - 1, 60)


def test_ceilings_double_up_to_the_longest_pause() -> None:
    """The envelope of the pauses, exactly."""
    policy = RetryPolicy(initial_delay=0.5, max_delay=60)

    ceilings = [policy.delay(failures, LongestJitter()) for failures in range(1, 10)]

    assert ceilings == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_jitter_fills_the_whole_envelope() -> None:
    """Equal jitter, or none, would let callers come back together."""
    rng, policy = random.Random(1), RetryPolicy(initial_delay=1)

    drawn = sorted(policy.delay(1, rng) for _ in range(1_000))

    assert drawn[0] < 0.01
    assert drawn[-1] > 0.99
    assert 0.45 < drawn[500] < 0.55


@pytest.mark.parametrize("error", FINAL, ids=lambda error: error.code)
def test_an_error_that_another_attempt_can_not_help_ends_the_call(error: ProviderError) -> None:
    """Exactly one request, whatever the policy would allow."""
    assert not retries(RetryPolicy(max_attempts=100)).spend(error)


@pytest.mark.parametrize("error", RETRIED, ids=lambda error: error.code)
def test_attempts_are_used_up_one_by_one(error: ProviderError) -> None:
    """Three allowed are three made."""
    count = retries(RetryPolicy(max_attempts=3))

    assert [count.number, count.spend(error), count.number, count.spend(error), count.number, count.spend(error)] == [
        1, True, 2, True, 3, False,
    ]  # fmt: skip


def test_a_rate_limit_uses_up_no_attempt() -> None:
    """It says nothing about the request."""
    count = retries(RetryPolicy(max_attempts=1, max_rate_limits=4))

    assert [count.spend(limited()) for _ in range(4)] == [True] * 4
    assert count.number == 1
    assert not count.spend(limited())


def test_only_rate_limits_in_a_row_add_up() -> None:
    """A request that got through to fail otherwise shows that the limit is not all there is."""
    count = retries(RetryPolicy(max_attempts=9, max_rate_limits=1))

    assert count.spend(limited())
    assert count.spend(ConnectionLostError("reset"))
    assert count.spend(limited())
    assert not count.spend(limited())


@pytest.mark.parametrize("error", [ModelProtocolError("html"), StreamTruncatedError("torn")])
def test_a_bad_answer_is_asked_for_once_more(error: ModelProtocolError) -> None:
    """Who answers wrongly twice will again; other failures between do not wash it off."""
    count = retries()

    assert count.spend(error)
    assert count.spend(ConnectionLostError("reset"))
    assert not count.spend(error)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, (0.5, "backoff")), (0.0, (0.5, "backoff")), (0.5, (0.5, "backoff")), (0.75, (0.75, "retry_after"))],
)
def test_what_the_provider_asks_for_is_a_floor(asked: float | None, expected: tuple[float, str]) -> None:
    """One wait, the longer of the two; never both, never less than the backoff."""
    for error in (limited(asked), ServerError("busy", status_code=503, retry_after=asked)):
        count = retries()
        count.spend(error)

        assert count.pause(error) == expected


def test_pauses_grow_with_rate_limits_in_a_row_and_with_failures() -> None:
    """Each kind has a count of its own."""
    count, lost = retries(), ConnectionLostError("reset")
    pauses = []
    for error in (limited(), limited(), limited(), lost, limited(), lost):
        assert count.spend(error)
        pauses.append(count.pause(error)[0])

    assert pauses == [0.5, 1, 2, 0.5, 0.5, 1]
