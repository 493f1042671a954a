"""Limits per minute by themselves: no window holds more, wherever it begins and whenever requests arrive in truth."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.control.allowance import Allowance
from agent_pipeline.control.rate import RUN, WINDOW, RateLog


def most_in_a_minute(arrivals: list[tuple[float, int]]) -> tuple[int, int]:
    """Return the most requests and tokens in any 60 s, both ends included."""
    most = (0, 0)
    for begin, _ in arrivals:
        inside = [tokens for at, tokens in arrivals if begin <= at <= begin + 60]
        most = (max(most[0], len(inside)), max(most[1], sum(inside)))
    return most


@given(
    seed=st.integers(0, 1_000_000),
    requests=st.one_of(st.none(), st.integers(1, 12)),
    tokens=st.one_of(st.none(), st.integers(100, 400)),
)
def test_no_minute_at_the_provider_passes_a_limit(seed: int, requests: int | None, tokens: int | None) -> None:
    """Whatever the latencies, whatever is reported, and wherever between sending and end each request arrived."""
    rng = random.Random(seed)
    log = RateLog(requests, tokens)
    arrivals: list[tuple[float, int]] = []
    open_: list[tuple[float, float, int, int]] = []  # end, sending, worst case, actual
    now = 0.0
    for _ in range(150):
        now += rng.choice([0.0, 0.3, 2.0, 9.0])
        for one in sorted(one for one in open_ if one[0] <= now):
            open_.remove(one)
            log.settle(one[0], reserved=one[2], actual=one[3])
            arrivals.append((rng.choice([one[0], one[1], rng.uniform(one[1], one[0])]), one[3]))
        worst = rng.randrange(1, 101)
        if log.reserve_nowait(now, worst):
            open_.append((now + rng.choice([0.0, 1.0, 20.0, 90.0]), now, worst, rng.randrange(worst + 1)))

    for end, sent, worst, actual in sorted(open_):
        log.settle(max(end, now), reserved=worst, actual=actual)
        arrivals.append((rng.choice([sent, end]), actual))
    most_requests, most_tokens = most_in_a_minute(arrivals)
    assert requests is None or most_requests <= requests
    assert tokens is None or most_tokens <= tokens


def test_a_request_counts_until_a_minute_after_its_end() -> None:
    """It may have arrived in its last instant."""
    log = RateLog(1)
    assert log.reserve_nowait(0, 0)
    assert not log.reserve_nowait(100, 0)
    log.settle(100, reserved=0, actual=0)

    assert log.earliest(100, 0) == 100 + WINDOW
    assert not log.reserve_nowait(100 + WINDOW - 0.001, 0)
    assert log.reserve_nowait(100 + WINDOW, 0)


def test_tokens_count_by_their_worst_case_then_by_what_was_reported() -> None:
    """Room that was not used is there for the next at once."""
    log = RateLog(tokens_per_minute=100)
    assert log.reserve_nowait(0, 80)
    assert not log.reserve_nowait(0, 30)
    assert log.earliest(0, 30) == 0  # it may be reported smaller

    log.settle(1, reserved=80, actual=20)

    assert log.reserve_nowait(1, 80)
    assert not log.reserve_nowait(1, 1)


def test_what_was_never_sent_leaves_nothing_behind() -> None:
    """A reservation that is taken back is as if it had not been."""
    log = RateLog(1, 10)
    assert log.reserve_nowait(0, 10)
    log.release(10)

    assert log.reserve_nowait(0, 10)


def test_a_worst_case_over_the_limit_goes_alone() -> None:
    """Bytes bound the tokens three or four times over; refused, it could never go at all."""
    log = RateLog(tokens_per_minute=100)
    assert log.reserve_nowait(0, 500)
    assert not log.reserve_nowait(0, 1)
    log.settle(1, reserved=500, actual=90)

    assert log.reserve_nowait(1, 10)
    assert not log.reserve_nowait(1, 500)
    log.settle(2, reserved=10, actual=10)
    assert log.earliest(2, 500) == 2 + WINDOW


def test_memory_does_not_grow_with_the_requests() -> None:
    """A million requests an hour are kept as runs of a tenth of a second, of the last minute."""
    log = RateLog()
    for number in range(100_000):
        assert log.reserve_nowait(number / 300, 1)
        log.settle(number / 300, reserved=1, actual=1)

    assert len(log._runs) <= WINDOW / RUN + 1


def test_a_limit_that_is_set_later_knows_what_was_sent_before() -> None:
    """A minute is a minute, whenever the limit came."""
    log = RateLog()
    for _ in range(5):
        log.reserve_nowait(0, 1)
        log.settle(0, reserved=1, actual=1)
    log.configure(5, None)

    assert not log.reserve_nowait(30, 1)
    assert log.limits == (5, None)


def test_the_stricter_of_configured_and_announced_holds() -> None:
    """A provider may allow less than the user thinks, and the user less than the provider."""
    log = RateLog(60, None)

    log.announce(30, 1_000)
    assert log.limits == (30, 1_000)
    log.announce(90, None)
    assert log.limits == (60, 1_000)
    log.configure(None, 500)
    assert log.limits == (90, 500)


def test_a_pause_holds_without_limits_too() -> None:
    """Nothing is left, says the provider."""
    log = RateLog()
    log.pause(10)
    log.pause(5)

    assert log.earliest(1, 1) == 10
    assert not log.reserve_nowait(9.9, 1)
    assert log.reserve_nowait(10, 1)


@pytest.mark.parametrize(
    ("allowance", "per_minute"),
    [
        (Allowance(60, 59, 1.0), 60),  # a bucket that refills once a second
        (Allowance(60, 30, 30.0), 60),
        (Allowance(60, 30, 59.0), 60),  # a window that began just now
        (Allowance(10, 9, 0.1), None),  # ten per second
        (Allowance(14_400, 14_370, 180.0), None),  # per day
        (Allowance(60, 60, 0.0), None),
        (Allowance(60, None, 1.0), None),
        (Allowance(60, 59, None), None),
        (Allowance(None, 59, 1.0), None),
    ],
)
def test_a_limit_is_one_per_minute_where_its_refill_says_so(allowance: Allowance, per_minute: int | None) -> None:
    """The same header tells limits per second and per day; one per second would slow a run down sixty times."""
    assert allowance.per_minute() == per_minute


@pytest.mark.parametrize(
    ("allowance", "pause"),
    [(Allowance(60, 0, 7.5), 7.5), (Allowance(60, 0, None), 0), (Allowance(60, 1, 7.5), 0), (Allowance(60), 0)],
)
def test_nothing_left_is_a_pause(allowance: Allowance, pause: float) -> None:
    """Only where its end is told, too."""
    assert allowance.pause() == pause
