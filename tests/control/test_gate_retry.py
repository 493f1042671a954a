"""Which errors are tried again, how often and when, through the gate."""

import pytest
import trio
from tests.control.test_retry import FINAL, RETRIED
from tests.control.world import make_call, make_world
from trio.testing import MockClock

from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.errors import (
    ConnectionLostError,
    LocalResourceError,
    ModelProtocolError,
    ProviderError,
    RateLimitedError,
    ServerError,
)
from agent_pipeline.testing import ScriptedProvider, Step


@pytest.mark.parametrize("error", RETRIED, ids=lambda error: error.code)
async def test_a_passing_failure_is_tried_again_after_full_jitter(
    error: ProviderError, autojump_clock: MockClock
) -> None:
    """Attempts at the ceilings of the envelope: 0.5, 1, 2, 4 seconds apart."""
    world = make_world(policy=RetryPolicy(max_attempts=5))
    provider = ScriptedProvider(Step(error=error))

    with pytest.raises(type(error)) as caught:
        await world.gate.call(make_call(), provider.send)

    assert caught.value is error
    assert provider.attempts == [(1, 0), (2, 0.5), (3, 1.5), (4, 3.5), (5, 7.5)]
    assert [(record.number, record.wait_seconds, record.wait_reason) for record in world.records] == [
        (1, 0, None), (2, 0.5, "backoff"), (3, 1, "backoff"), (4, 2, "backoff"), (5, 4, "backoff"),
    ]  # fmt: skip
    assert world.lane().cooldown == 0
    world.assert_nothing_is_held()


@pytest.mark.parametrize("error", [*FINAL, LocalResourceError("no files left")], ids=lambda error: error.code)
async def test_a_lasting_failure_is_exactly_one_request(error: Exception, autojump_clock: MockClock) -> None:
    """Sending it again costs time and money for the same answer."""
    world, provider = make_world(), ScriptedProvider(Step(error=error))

    with pytest.raises(type(error)):
        await world.gate.call(make_call(), provider.send)

    assert provider.attempts == [(1, 0)]
    assert trio.current_time() == 0
    world.assert_nothing_is_held()


async def test_a_bad_answer_is_asked_for_once_more(autojump_clock: MockClock) -> None:
    """Two requests, whatever max_attempts is."""
    world, provider = make_world(), ScriptedProvider(Step(error=ModelProtocolError("html")))

    with pytest.raises(ModelProtocolError):
        await world.gate.call(make_call(), provider.send)

    assert provider.attempts == [(1, 0), (2, 0.5)]


async def test_an_answer_ends_the_attempts(autojump_clock: MockClock) -> None:
    """The second attempt's answer is the call's."""
    world = make_world()
    provider = ScriptedProvider(Step(error=ConnectionLostError("reset")), Step(answer="second"))

    assert await world.gate.call(make_call(), provider.send) == "second"

    assert provider.attempts == [(1, 0), (2, 0.5)]


@pytest.mark.parametrize(("asked", "at", "reason"), [(0.25, 0.5, "backoff"), (7.0, 7.0, "retry_after")])
async def test_a_server_error_waits_at_least_as_long_as_asked(
    asked: float, at: float, reason: str, autojump_clock: MockClock
) -> None:
    """`Retry-After` is a floor of the backoff, and concerns this request alone."""
    world = make_world()
    provider = ScriptedProvider(Step(error=ServerError("busy", status_code=503, retry_after=asked)), Step())

    await world.gate.call(make_call(), provider.send)

    assert provider.attempts == [(1, 0), (2, at)]
    assert (world.records[1].wait_seconds, world.records[1].wait_reason) == (at, reason)


async def test_a_rate_limit_between_failures_neither_uses_nor_refunds_an_attempt(autojump_clock: MockClock) -> None:
    """Numbers go on where they were; the pauses do not add up."""
    lost, limited = ConnectionLostError("reset"), RateLimitedError("slow down", retry_after=90)
    world = make_world(policy=RetryPolicy(max_attempts=2))
    provider = ScriptedProvider(*[Step(error=error) for error in (limited, lost, limited, limited, lost)])

    with pytest.raises(ConnectionLostError):
        await world.gate.call(make_call(), provider.send)

    assert provider.attempts == [(1, 0), (1, 90), (2, 90.5), (2, 180.5), (2, 270.5)]


async def test_each_call_has_attempts_of_its_own(autojump_clock: MockClock) -> None:
    """One document's failures are not another's."""
    world = make_world(policy=RetryPolicy(max_attempts=2))

    for _ in range(3):
        provider = ScriptedProvider(Step(error=ConnectionLostError("reset")), Step())
        await world.gate.call(make_call(), provider.send)
        assert [number for number, _ in provider.attempts] == [1, 2]
