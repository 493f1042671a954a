"""The rungs above the attempt: which one fires, and what is kept."""

import pytest
import trio
from trio.testing import MockClock

from agent_pipeline.control.deadline import deadline_rung, on_ladder, run_timeout_passed, time_left
from agent_pipeline.errors import AttemptTimeoutError, DeadlineExceededError


async def test_the_rung_that_fires_is_named(autojump_clock: MockClock) -> None:
    """A user has to know which line of the config to change."""
    with (
        pytest.raises(
            DeadlineExceededError,
            match=r"^the 30 s document timeout ran out while reading \(70.0 s of the run timeout left\)$",
        ) as caught,
        deadline_rung("run", 100),
        deadline_rung("document", 30, during="reading"),
        deadline_rung("stage", 50),
    ):
        await trio.sleep_forever()

    assert trio.current_time() == 30
    assert (caught.value.rung, caught.value.timeout) == ("document", 30)


async def test_each_rung_tells_what_it_has_left(autojump_clock: MockClock) -> None:
    """Whoever raises the rung that fired wants to know how far that would carry."""
    with deadline_rung("document", 100), deadline_rung("stage", 30):
        await trio.sleep(10)
        inside = time_left()
    await trio.sleep(1)

    assert list(inside.items()) == [("stage", 20.0), ("document", 90.0)]
    assert time_left() == {}
    assert str(AttemptTimeoutError(attempt=2, rung="read", timeout=5, left=inside)) == (
        "attempt 2 exceeded its 5 s read timeout (20.0 s of the stage timeout, 90.0 s of the document timeout left)"
    )


async def test_only_the_runs_own_timeout_counts_for_who_was_cancelled(autojump_clock: MockClock) -> None:
    """A document that a signal cancels just as its own time is over was cancelled by the signal."""
    with on_ladder("run", 20, deadline=20), on_ladder("document", 5, deadline=5):
        await trio.sleep(10)
        early = run_timeout_passed()
        await trio.sleep(10)
        late = run_timeout_passed()

    assert early is None
    assert late is not None
    assert (late.rung, late.timeout) == ("run", 20)


async def test_an_outer_cancellation_is_not_the_rungs(autojump_clock: MockClock) -> None:
    """Ctrl-C at the very instant of a deadline is still a cancellation."""
    with trio.move_on_after(30) as outer, deadline_rung("stage", 30):
        await trio.sleep_forever()

    assert outer.cancelled_caught


async def test_a_result_that_came_just_after_the_deadline_is_kept(autojump_clock: MockClock) -> None:
    """It was paid for."""
    with deadline_rung("stage", 30):
        with trio.CancelScope(shield=True):
            await trio.sleep(31)
        result = "late"

    assert result == "late"


async def test_no_timeout_never_fires(autojump_clock: MockClock) -> None:
    """None is unlimited."""
    with deadline_rung("run", None):
        await trio.sleep(80_000)

    assert trio.current_time() == 80_000


async def test_errors_of_the_block_go_out_unchanged(autojump_clock: MockClock) -> None:
    """The ladder adds nothing to what it did not cause."""
    for timeout in (None, 30):
        with pytest.raises(KeyError), deadline_rung("stage", timeout):
            raise KeyError
