"""The adaptive limit by itself: every change, its reason, and what leaves it alone."""

import pytest

from agent_pipeline.control.concurrency import (
    FIRST_PROBE,
    GROWTH_HOLD,
    TRIAL,
    AdaptiveLimit,
    LimitChange,
)


def a_round(limit: AdaptiveLimit, now: float, *, in_flight: int | None = None) -> list[LimitChange]:
    """Answer as many requests as may be in flight, all of them there at once."""
    level = limit.limit
    numbers = [limit.on_send() for _ in range(level)]
    changes = [limit.on_success(now, number=number, in_flight=in_flight or level) for number in numbers]
    return [change for change in changes if change is not None]


def refuse(limit: AdaptiveLimit, now: float, *, left: int) -> LimitChange | None:
    """Refuse one request, with so many left in flight."""
    return limit.on_rate_limited(now, number=limit.on_send(), in_flight=left)


def test_it_doubles_while_all_goes_well_up_to_its_maximum() -> None:
    """A generous provider is used within a few rounds."""
    limit = AdaptiveLimit(20, 1, 100)

    changes = [change for now in range(4) for change in a_round(limit, now)]

    assert changes == [
        LimitChange(20, 40, "doubled"),
        LimitChange(40, 80, "doubled"),
        LimitChange(80, 100, "doubled"),
    ]


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    """Ten documents say nothing about what a hundred could do."""
    limit = AdaptiveLimit(20, 1, 100)

    assert [a_round(limit, now, in_flight=10) for now in range(9)] == [[]] * 9


def test_answers_to_requests_from_before_a_change_do_not_count() -> None:
    """They were made under another limit."""
    limit = AdaptiveLimit(2, 1, 100)
    early = [limit.on_send() for _ in range(8)]
    a_round(limit, 0)
    assert limit.limit == 4

    assert all(limit.on_success(1, number=number, in_flight=4) is None for number in early)
    assert a_round(limit, 2) == [LimitChange(4, 8, "doubled")]


def test_an_episode_of_refusals_takes_a_fifth_once() -> None:
    """Twenty refused at one moment are one piece of news; one sent after that is another."""
    limit = AdaptiveLimit(20, 1, 100)
    numbers = [limit.on_send() for _ in range(20)]

    changes = [limit.on_rate_limited(0.1, number=number, in_flight=19 - at) for at, number in enumerate(numbers)]

    assert changes == [LimitChange(20, 16, "rate_limited"), *[None] * 19]
    assert refuse(limit, 5, left=15) == LimitChange(16, 12, "rate_limited")


def test_a_refusal_just_after_a_step_up_begins_an_episode() -> None:
    """Sent before the step, refused after it: only an episode's own requests are counted once."""
    limit = AdaptiveLimit(2, 1, 100)
    early = limit.on_send()
    a_round(limit, 0)

    assert limit.on_rate_limited(1, number=early, in_flight=3) == LimitChange(4, 3, "rate_limited")


@pytest.mark.parametrize(("limit", "new"), [(1, None), (2, 1), (3, 2), (4, 3), (9, 7), (10, 8)])
def test_a_decrease_is_at_least_one_and_ends_at_the_minimum(limit: int, new: int | None) -> None:
    """Whole numbers: a fifth of two is nothing."""
    change = refuse(AdaptiveLimit(limit, 1, 10), 0, left=limit - 1)

    assert change == (None if new is None else LimitChange(limit, new, "rate_limited"))


def test_what_was_let_in_tells_a_capacity_exactly() -> None:
    """Of 40 at once 10 are refused: 30 have room, and that is where it goes and stays."""
    limit = AdaptiveLimit(20, 1, 100)
    a_round(limit, 0)
    numbers = [limit.on_send() for _ in range(10)]

    for at, number in enumerate(numbers):
        limit.on_rate_limited(0.05, number=number, in_flight=39 - at)
    assert limit.limit == 32
    assert refuse(limit, 5, left=30) == LimitChange(32, 25, "rate_limited")

    assert a_round(limit, 8) == [LimitChange(25, 30, "recovered")]
    assert [a_round(limit, now) for now in (10, 20, 31, 60, 90)] == [[]] * 5


def test_it_looks_upwards_rarely_and_more_rarely_when_refused() -> None:
    """Each look costs a pause: after 120 seconds, then after 240."""
    limit = AdaptiveLimit(10, 1, 100)
    refuse(limit, 0, left=9)
    a_round(limit, TRIAL)
    looked: list[float] = []

    for now in range(30, 1_000, 10):
        for change in a_round(limit, now):
            if change.reason == "probed" and now >= FIRST_PROBE:
                looked.append(now)
                refuse(limit, now, left=change.old)

    assert looked == [120, 360, 840]


def settled(capacity: int) -> AdaptiveLimit:
    """Return a limit that has found a capacity below its maximum of 200, at time 10."""
    limit = AdaptiveLimit((capacity + 2) // 2, 1, 200)
    a_round(limit, 0)
    refuse(limit, 0.05, left=capacity)
    for now in range(1, 9):
        if limit.limit > capacity:
            refuse(limit, now, left=capacity)
    a_round(limit, 10)
    assert limit.limit == capacity
    return limit


def test_a_capacity_that_grew_is_found_in_growing_steps() -> None:
    """Each after a trial of twenty seconds, none over a quarter."""
    limit = settled(10)

    changes = [change for now in range(11, 240) for change in a_round(limit, now)]

    assert [change.new for change in changes] == [11, 13, 16, 20, 25, 31]
    assert [change.reason for change in changes] == ["probed"] + ["confirmed"] * 5


def test_a_look_upwards_that_is_refused_later_gives_up_what_it_gained() -> None:
    """A bucket of requests lets a level that is a little too high go well for longer than a trial."""
    limit = settled(40)
    for now in (125, 146, 167):
        assert len(a_round(limit, now)) == 1
    assert limit.limit == 47

    refuse(limit, 175, left=46)

    assert a_round(limit, 180) == [LimitChange(37, 40, "recovered")]


def test_a_look_upwards_refused_at_once_and_then_again_gives_up_what_it_gained() -> None:
    """An empty bucket refuses at once, too; what it let in is no capacity."""
    limit = settled(40)
    for now in (125, 146, 167):
        a_round(limit, now)
    refuse(limit, 167.5, left=45)
    assert a_round(limit, 170) == [LimitChange(37, 45, "recovered")]

    refuse(limit, 200, left=44)

    assert a_round(limit, 205) == [LimitChange(36, 40, "recovered")]


def test_a_look_upwards_that_found_much_is_narrowed_down_not_given_up() -> None:
    """Between the last trial that was passed and what was refused."""
    limit = settled(10)
    for now in range(11, 240):
        a_round(limit, now)
    assert limit.limit == 31

    refuse(limit, 235, left=30)

    assert a_round(limit, 238) == [LimitChange(24, 28, "probed")]
    assert a_round(limit, 257) == []
    assert a_round(limit, 258) == [LimitChange(28, 29, "probed")]
    assert a_round(limit, 279) == []


def test_a_level_that_had_gone_well_and_is_refused_is_left_in_growing_steps() -> None:
    """A capacity in requests per second fluctuates; one that fell is followed."""
    limit = settled(100)
    levels: list[int] = []

    for now in (12, 16, 20, 24):
        refuse(limit, now, left=limit.limit - 1)
        a_round(limit, now + 2)
        levels.append(limit.limit)

    assert levels == [96, 90, 79, 70]


def test_trouble_only_stops_growth() -> None:
    """A 5xx says nothing about how many may be in flight."""
    limit = AdaptiveLimit(20, 1, 100)
    limit.on_failure(0)

    assert limit.limit == 20
    assert a_round(limit, GROWTH_HOLD - 0.1) == []
    assert a_round(limit, GROWTH_HOLD) == [LimitChange(20, 40, "doubled")]


def test_one_failure_among_many_answers_stops_growth_for_two_rounds_only() -> None:
    """A provider of which one answer in a hundred fails would never be used to its limit."""
    limit = AdaptiveLimit(20, 1, 200)
    limit.on_failure(0)

    assert a_round(limit, 1) == []
    assert a_round(limit, 2) == [LimitChange(20, 40, "doubled")]


def test_each_failure_begins_the_two_rounds_anew() -> None:
    """Where one answer in twenty fails, growing would only add to the trouble."""
    limit = AdaptiveLimit(20, 1, 200)
    changes: list[LimitChange] = []
    for second in range(10):
        limit.on_failure(second)
        changes += a_round(limit, second + 0.5)

    assert changes == []


def test_bounds_move_the_limit_only_where_it_is_outside() -> None:
    """What was found out is kept."""
    limit = AdaptiveLimit(20, 1, 100)

    assert limit.set_bounds(0, 1, 200) is None
    assert limit.set_bounds(0, 1, 3) == LimitChange(20, 3, "configured")
    assert limit.set_bounds(0, 8, 30) == LimitChange(3, 8, "configured")
    assert a_round(limit, 1) == [LimitChange(8, 16, "doubled")]


@pytest.mark.parametrize("bounds", [(0, 0, 5), (1, 2, 5), (6, 1, 5)])
def test_bounds_are_in_order(bounds: tuple[int, int, int]) -> None:
    """Said at the making, not at the first refusal."""
    with pytest.raises(ValueError, match="is wanted"):
        AdaptiveLimit(*bounds)


def test_new_bounds_are_in_order() -> None:
    """A bad edit changes nothing."""
    limit = AdaptiveLimit(3, 1, 5)

    with pytest.raises(ValueError, match="is wanted"):
        limit.set_bounds(0, 6, 5)

    assert a_round(limit, 0) == [LimitChange(3, 5, "doubled")]
