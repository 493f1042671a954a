"""A lane: places first come, first served, and one pause for all."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.concurrency import AdaptiveLimit
from agent_pipeline.control.lane import Lane, LaneStatistics
from agent_pipeline.control.line import WaitIsTooLongError
from agent_pipeline.domain.usage import WaitReason


def fixed(limit: int) -> Lane:
    """Return a lane whose limit stays."""
    return Lane(AdaptiveLimit(limit, limit, limit))


async def test_places_are_bounded_and_given_in_order(autojump_clock: MockClock) -> None:
    """Nobody overtakes; nobody is over the limit."""
    lane, order = fixed(3), list[int]()

    async def hold(number: int) -> None:
        place = await lane.acquire(None, tokens=0)
        order.append(number)
        assert lane.statistics().in_flight <= 3
        await trio.sleep(1)
        lane.release(place)

    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(hold, number)
            await wait_all_tasks_blocked()
        assert lane.statistics() == LaneStatistics(in_flight=3, limit=3, waiting=9, cooldown=0)

    assert order[:3] == [0, 1, 2]
    assert [set(order[start : start + 3]) for start in (3, 6, 9)] == [{3, 4, 5}, {6, 7, 8}, {9, 10, 11}]
    assert trio.current_time() == 4
    assert lane.statistics() == LaneStatistics(in_flight=0, limit=3, waiting=0, cooldown=0)


async def test_a_waiter_that_is_cancelled_holds_no_place(autojump_clock: MockClock) -> None:
    """A place lost is lost for the rest of the run."""
    lane = fixed(1)
    place = await lane.acquire(None, tokens=0)

    with trio.move_on_after(1):
        await lane.acquire(None, tokens=0)
    lane.release(place)

    assert lane.statistics().in_flight == 0
    assert lane.acquire_nowait(0) is not None


@pytest.mark.parametrize(("bound", "reason"), [(2, "budget"), (1, "admission")])
async def test_what_a_suspended_place_stands_for_is_waited_for(
    bound: int, reason: WaitReason, autojump_clock: MockClock
) -> None:
    """One place of two is kept by who waits for budget; where only one is left, that one is in use."""
    lane, waits = Lane(AdaptiveLimit(2, 1, 2)), dict[WaitReason, float]()
    sent, kept = [await lane.acquire(None, tokens=0) for _ in range(2)]
    lane.suspend(kept)
    lane.set_bounds(1, bound)

    with trio.move_on_after(5):
        await lane.acquire(None, tokens=0, waits=waits)

    assert waits == {reason: 5}
    lane.release(sent)
    lane.release(kept)


async def test_a_pause_is_never_shortened(autojump_clock: MockClock) -> None:
    """A second 429 that asks for less takes nothing back."""
    lane = fixed(1)
    assert lane.cooldown_end() < 0
    lane.cool_down(90)
    lane.cool_down(5)
    assert lane.statistics().cooldown == 90
    await trio.sleep(10)
    lane.cool_down(100)

    assert lane.cooldown_end() == 110
    await lane.acquire(None, tokens=0)
    assert trio.current_time() == 110
    assert lane.statistics().cooldown == 0


async def test_a_wait_that_is_known_to_be_too_long_is_not_begun(autojump_clock: MockClock) -> None:
    """And leaves nobody in the line."""
    lane = fixed(1)
    lane.cool_down(90)

    with pytest.raises(WaitIsTooLongError) as caught:
        await lane.acquire(None, tokens=0, deadline=50)

    assert (caught.value.until, trio.current_time(), lane.statistics().waiting) == (90, 0, 0)
