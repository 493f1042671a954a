"""The rungs above the attempt: which one fires, and what is kept."""

import pytest
import trio
from trio.testing import MockClock

from agent_pipeline.control.deadline import deadline_rung
from agent_pipeline.errors import DeadlineExceededError


async def test_the_rung_that_fires_is_named(autojump_clock: MockClock) -> None:
    """A user has to know which line of the config to change."""
    with (
        pytest.raises(DeadlineExceededError, match=r"^the 30 s document timeout ran out while reading$") as caught,
        deadline_rung("run", 100),
        deadline_rung("document", 30, during="reading"),
        deadline_rung("stage", 50),
    ):
        await trio.sleep_forever()

    assert trio.current_time() == 30
    assert (caught.value.rung, caught.value.timeout) == ("document", 30)


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
