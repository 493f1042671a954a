"""The provider of the test kit does what its script says, when it says so."""

import pytest
import trio
from trio.testing import MockClock

from agent_pipeline.control.call import Attempt
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import ConnectionLostError
from agent_pipeline.testing import ScriptedProvider, Step


async def test_steps_are_taken_in_order_and_the_last_is_repeated(autojump_clock: MockClock) -> None:
    """A script need not be as long as the test."""
    provider = ScriptedProvider(Step("first", latency=2), Step("last", connecting=1, usage=Usage(1, 1)))
    attempts = [Attempt(number) for number in (1, 2, 3)]

    assert [await provider.send(attempt) for attempt in attempts] == ["first", "last", "last"]

    assert provider.attempts == [(1, 0), (2, 2), (3, 3)]
    assert [attempt.usage for attempt in attempts] == [None, Usage(1, 1), Usage(1, 1)]
    assert trio.current_time() == 4


async def test_an_attempt_tells_when_it_left_and_what_it_met(autojump_clock: MockClock) -> None:
    """Cancelled while connecting it has sent nothing, later it has; usage and status come with the end."""
    error = ConnectionLostError("reset")
    provider = ScriptedProvider(Step(error=error, connecting=2, latency=2, usage=Usage(1), status_code=502))
    early, late, whole = Attempt(1), Attempt(1), Attempt(1)

    with trio.move_on_after(1):
        await provider.send(early)
    with trio.move_on_after(3):
        await provider.send(late)
    with pytest.raises(ConnectionLostError):
        await provider.send(whole)

    assert [attempt.dispatched for attempt in (early, late, whole)] == [False, True, True]
    assert (late.usage, late.status_code) == (None, None)
    assert (whole.usage, whole.status_code) == (Usage(1), 502)
    assert provider.in_flight == 0


async def test_attempts_at_once_are_counted(autojump_clock: MockClock) -> None:
    """What a bound on requests in flight is measured with; without a script every attempt succeeds at once."""
    provider = ScriptedProvider()

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(provider.send, Attempt(number))

    assert provider.most_in_flight == 3
    assert provider.in_flight == 0
