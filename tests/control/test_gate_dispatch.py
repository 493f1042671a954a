"""An attempt is on record before its first byte leaves: a process that is killed leaves no request without a row."""

from dataclasses import replace

import pytest
import trio
from tests.control.test_gate_record import FIRST, SCOPE
from tests.control.world import WORST, FlatPrice, make_call, make_world
from trio.testing import MockClock

from agent_pipeline.control.call import Attempt
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.errors import LedgerError, ServerError
from agent_pipeline.testing import ScriptedProvider, Step


async def test_an_attempt_under_way_is_on_record_as_charged_in_full(autojump_clock: MockClock) -> None:
    """Whoever looks while it goes on, or after a kill, sees the most it may have cost; the end corrects that."""
    world = make_world()
    provider = ScriptedProvider(Step(connecting=2, latency=3, usage=Usage(20, 5)))
    seen: list[tuple[float, int]] = []

    async def look() -> None:
        for at in (1, 3):
            await trio.sleep_until(at)
            seen.append((at, len(world.dispatches)))
        assert world.records == []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await world.gate.call(make_call(price=FlatPrice(3), scope=SCOPE), provider.send)

    assert seen == [(1, 0), (3, 1)]
    first = replace(FIRST, outcome=None, status_code=None, error_code=None, error=None, latency_seconds=0)
    first = replace(first, charged_tokens=WORST, cost_micro_usd=3 * WORST, provider_request_id=None)
    assert world.dispatches == [first]
    last = replace(first, outcome="succeeded", status_code=200, latency_seconds=5)
    last = replace(last, usage=Usage(20, 5), charged_tokens=25, cost_micro_usd=75)
    assert world.records == [last]


async def test_an_unknown_price_is_unknown_from_the_start(autojump_clock: MockClock) -> None:
    """Not nothing: a sum over the records would say that it was free."""
    world = make_world()

    await world.gate.call(make_call(price=None), ScriptedProvider().send)

    assert [record.cost_micro_usd for record in world.dispatches] == [None]


async def test_the_waits_are_known_when_it_leaves(autojump_clock: MockClock) -> None:
    """They are over by then, so an interrupted attempt tells them too."""
    world = make_world()
    provider = ScriptedProvider(Step(error=ServerError("busy", status_code=503, retry_after=7)), Step())

    await world.gate.call(make_call(), provider.send)

    assert [(one.number, one.wait_seconds, one.wait_reason) for one in world.dispatches] == [
        (1, 0, None),
        (2, 7, "retry_after"),
    ]


async def test_telling_twice_is_one_record(autojump_clock: MockClock) -> None:
    """A transport may send the head of a request more than once (a proxy, a second connection)."""
    world = make_world()

    async def send(attempt: Attempt) -> None:
        attempt.dispatch()
        attempt.dispatch()

    await world.gate.call(make_call(), send)

    assert len(world.dispatches) == len(world.records) == 1


async def test_attempts_of_one_call_share_its_id_and_have_their_own(autojump_clock: MockClock) -> None:
    """Two calls with a failure each: four attempts, two calls; the sender is told both ids."""
    world = make_world()
    told: list[tuple[str, str]] = []
    provider = ScriptedProvider(*[Step(error=ServerError("busy", status_code=503)), Step()] * 2)

    async def send(attempt: Attempt) -> str:
        told.append((attempt.call_id, attempt.attempt_id))
        return await provider.send(attempt)

    for _ in range(2):
        await world.gate.call(make_call(), send)

    assert told == [(record.call_id, record.attempt_id) for record in world.records]
    first, again, other, last = world.records
    assert first.call_id == again.call_id != other.call_id == last.call_id
    assert len({one for ids in told for one in ids}) == 6


async def test_what_can_not_be_recorded_does_not_leave(autojump_clock: MockClock) -> None:
    """Spent money without a row would be a charge nobody can look up; the attempt counts as never sent."""
    left, records = False, list[AttemptRecord]()

    def record(attempt: AttemptRecord) -> None:
        if attempt.outcome is None:
            msg = "disk full"
            raise LedgerError(msg)
        records.append(attempt)

    world = make_world(tokens=WORST, in_flight=1, policy=RetryPolicy(max_attempts=3), record=record)

    async def send(attempt: Attempt) -> None:
        nonlocal left
        await trio.sleep(1)
        attempt.dispatch()
        left = True

    with pytest.raises(LedgerError):
        await world.gate.call(make_call(), send)

    assert not left
    assert [(one.sent, one.outcome, one.error_code, one.charged_tokens) for one in records] == [
        (False, "failed", "ledger_failed", 0)
    ]
    assert world.gate.statistics().attempts == 0
    assert world.tokens.reserved == world.tokens.spent == world.lane().in_flight == 0
