"""Senders that can't take back what they handed on, or find out late that nothing was sent."""

import pytest
import trio
from tests.control.world import WORST, make_call, make_world
from trio.testing import MockClock

from agent_pipeline.control.call import Attempt
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.errors import (
    AttemptTimeoutError,
    ConnectionLostError,
    ProviderError,
    ProviderUnreachableError,
    RateLimitedError,
    RequestRejectedError,
    ServerError,
    StreamBrokenError,
)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionLostError("gone"),
        ServerError("down", status_code=200),
        RateLimitedError("slow down"),
        RequestRejectedError("no", status_code=200),
    ],
    ids=lambda error: error.code,
)
async def test_no_attempt_follows_one_whose_answer_was_handed_on_in_part(
    error: ProviderError, autojump_clock: MockClock
) -> None:
    """It would begin anew. The record says what went wrong, the caller that there is half an answer."""
    world = make_world()
    attempts: list[int] = []

    async def send(attempt: Attempt) -> None:
        attempts.append(attempt.number)
        attempt.dispatch()
        attempt.handed_on = True
        await trio.sleep(1)
        raise error

    with pytest.raises(StreamBrokenError) as caught:
        await world.gate.call(make_call(), send)

    assert caught.value.__cause__ is error
    assert (attempts, trio.current_time()) == ([1], 1)
    (record,) = world.records
    assert record.error_code == error.code
    world.assert_nothing_is_held()


async def test_attempt_that_takes_too_long_is_broken_if_a_part_was_handed_on(autojump_clock: MockClock) -> None:
    """The gate itself cuts it off, so the sender can't say so."""
    world = make_world(attempt_timeout=30)
    attempts: list[int] = []

    async def send(attempt: Attempt) -> None:
        attempts.append(attempt.number)
        attempt.dispatch()
        attempt.handed_on = attempt.number == 2
        await trio.sleep_forever()

    with pytest.raises(StreamBrokenError, match="30 s attempt timeout"):
        await world.gate.call(make_call(), send)

    assert attempts == [1, 2], "nothing of the first was handed on"
    world.assert_nothing_is_held()


@pytest.mark.parametrize(
    ("error", "charged"),
    [
        (ProviderUnreachableError("refused"), 0),
        (AttemptTimeoutError(attempt=1, rung="connect", timeout=5), 0),
        (RequestRejectedError("the client does not know this param"), 0),
        (AttemptTimeoutError(attempt=1, rung="read", timeout=5), WORST),
        (ConnectionLostError("gone"), WORST),
        (RequestRejectedError("said inside an answer", status_code=200), WORST),
    ],
    ids=["unreachable", "connect timeout", "refused here", "read timeout", "lost", "refused inside an answer"],
)
async def test_what_never_left_after_all_costs_nothing(
    error: ProviderError, charged: int, autojump_clock: MockClock
) -> None:
    """A sender that can't watch its bytes says `dispatch` before it hands the request to somebody else's client."""
    world = make_world(tokens=10 * WORST, policy=RetryPolicy(max_attempts=1))

    async def send(attempt: Attempt) -> None:
        attempt.dispatch()
        await trio.sleep(1)
        raise error

    with pytest.raises(type(error)):
        await world.gate.call(make_call(), send)

    (record,) = world.records
    assert record.charged_tokens == charged
    world.assert_nothing_is_held()
