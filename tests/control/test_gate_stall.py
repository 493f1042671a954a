"""An attempt that gets nothing for too long is told of, with a name to look for, whatever becomes of it."""

import pytest
import trio
from tests.control.world import World, make_call, make_world
from trio.testing import MockClock

from agent_pipeline.control.call import Attempt
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.scope import CallScope
from agent_pipeline.errors import AttemptTimeoutError, ConnectionLostError
from agent_pipeline.testing import ScriptedProvider, Step


def telling_world(attempt_timeout: float | None = None) -> tuple[World, list[tuple[str | None, str, float]]]:
    """Return a world of one attempt per call, and what it tells of stalls; each attempt is on record before."""
    told: list[tuple[str | None, str, float]] = []

    def tell(document_id: str | None, culprit: str, seconds: float) -> None:
        assert len(world.records) == len(told) + 1
        told.append((document_id, culprit, seconds))

    world = make_world(attempt_timeout=attempt_timeout, policy=RetryPolicy(max_attempts=2), on_stall=tell)
    return world, told


@pytest.mark.parametrize("rung", ["read", "connect"])
async def test_each_silent_attempt_is_told_of(rung: str, autojump_clock: MockClock) -> None:
    """Two attempts, two stalls; a connection that never came about is the network's silence, not an answer's."""
    world, told = telling_world()
    error = AttemptTimeoutError(attempt=1, rung="read" if rung == "read" else "connect", timeout=60)

    with pytest.raises(AttemptTimeoutError):
        await world.gate.call(make_call(scope=CallScope("d1")), ScriptedProvider(Step(error=error)).send)

    expected = [("d1", f"attempt {number} of role writer at openai tiny", 60) for number in (1, 2)]
    assert told == (expected if rung == "read" else [])


@pytest.mark.parametrize(
    ("status", "dispatched", "stalls"),
    [(None, True, 1), (200, True, 0), (None, False, 0)],
    ids=["silent", "drips", "queued"],
)
async def test_without_a_read_timeout_the_attempts_own_finds_silence(
    status: int | None, stalls: int, autojump_clock: MockClock, *, dispatched: bool
) -> None:
    """Only where not even the head of an answer came; one that drips is slow, and one that never left got no chance."""
    world, told = telling_world(attempt_timeout=30)

    async def send(attempt: Attempt) -> None:
        if attempt.number == 2:
            raise ConnectionLostError("reset")
        if dispatched:
            attempt.dispatch()
        attempt.status_code = status
        await trio.sleep_forever()

    with pytest.raises(ConnectionLostError):
        await world.gate.call(make_call(), send)

    assert told == [(None, "attempt 1 of role writer at openai tiny", 30)] * stalls


async def test_other_ends_are_no_stalls(autojump_clock: MockClock) -> None:
    """Neither a failure nor an answer stands still; nor does what is cancelled."""
    world, told = telling_world()
    provider = ScriptedProvider(Step(error=ConnectionLostError("reset"), latency=1), Step(latency=1))

    await world.gate.call(make_call(), provider.send)
    with trio.move_on_after(0.5):
        await world.gate.call(make_call(), provider.send)

    assert [record.outcome for record in world.records] == ["failed", "succeeded", "cancelled"]
    assert told == []
