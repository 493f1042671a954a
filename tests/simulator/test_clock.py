"""Time and the windows in which the simulator counts: exact, since they judge the client's own limits."""

from collections.abc import Sequence

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from agent_pipeline.simulator.clock import Clock, SlidingWindow, trio_time

COMINGS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=30)
"""Seconds since the last, and how much comes."""


def test_time_is_trios_and_stands_still_outside() -> None:
    """So that it can be virtual, and that rules need no run of Trio."""
    read: list[float] = []

    async def wait() -> None:
        read.append(trio_time())
        await trio.sleep(7.5)
        read.append(trio_time())

    trio.run(wait, clock=MockClock(autojump_threshold=0))

    assert read == [0, 7.5]
    assert trio_time() == 0


def test_time_goes_on_where_a_new_run_begins_at_zero() -> None:
    """A simulator outlives the runs that crash in front of it."""
    readings = iter([3.0, 5.0, 0.0, 0.5, 0.0])
    clock = Clock(lambda: next(readings))

    assert [clock.now() for _ in range(5)] == [3, 5, 5, 5.5, 5.5]


@given(comings=COMINGS)
def test_the_sum_is_what_came_in_the_last_period(comings: Sequence[tuple[int, int]]) -> None:
    """Counted by hand: from the moment it comes until just before a period has passed."""
    window, now, came = SlidingWindow(60), 0, list[tuple[int, int]]()

    for pause, amount in comings:
        now += pause
        came.append((now, amount))

        assert window.add(now, amount) == window.sum(now) == sum(much for at, much in came if now < at + 60)


@given(comings=COMINGS, most=st.integers(0, 20))
def test_the_time_to_wait_is_the_shortest_that_is_enough(comings: Sequence[tuple[int, int]], most: int) -> None:
    """Told to clients, who come back exactly then."""
    window, now = SlidingWindow(60), 0
    for pause, amount in comings:
        now += pause
        window.add(now, amount)

    wait = window.seconds_until(now, most)

    same = SlidingWindow(60)
    now = 0
    for pause, amount in comings:
        now += pause
        same.add(now, amount)
    if wait:
        assert same.sum(now + wait - 0.5) > most
    assert same.sum(now + wait) <= most


def test_what_never_fits_waits_for_an_empty_window() -> None:
    """There is no better answer to who asks for more than there ever is."""
    assert SlidingWindow(60).seconds_until(0, -1) == 60
