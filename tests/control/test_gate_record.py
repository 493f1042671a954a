"""The record of an attempt, field by field, and what a recorder that fails leaves behind."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest
import trio
from tests.control.world import BEGIN, WORST, FlatPrice, make_call, make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.call import Attempt
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.errors import LedgerError, RateLimitedError, RequestRejectedError, ServerError
from agent_pipeline.testing import ScriptedProvider, Step


def ids(count: int) -> list[str]:
    """Return the ids a world draws: of its first call, then of that call's attempts."""
    rng = random.Random(0)
    return [f"{rng.getrandbits(64):016x}" for _ in range(count)]


SCOPE = CallScope("d1", "review", 2, trace_id="trace_1", span_id="span_1")

FIRST = AttemptRecord(
    attempt_id=ids(2)[1],
    document_id="d1",
    stage="review",
    cycle=2,
    role="writer",
    provider="openai",
    model="tiny",
    number=1,
    sent=True,
    outcome="failed",
    status_code=429,
    error_code="rate_limited",
    error="slow down",
    wait_seconds=0,
    wait_reason=None,
    latency_seconds=1,
    usage=None,
    reserved_tokens=WORST,
    charged_tokens=0,
    cost_micro_usd=0,
    provider_request_id="req-1",
    method="POST",
    path="/v1/responses",
    started_at=BEGIN,
    call_id=ids(1)[0],
    trace_id="trace_1",
    span_id="span_1",
)


async def test_every_field_of_every_attempt(autojump_clock: MockClock) -> None:
    """A 429, a server error that asks for a pause, then an answer: number, waits, charge and cost of each."""
    world = make_world()
    usage = Usage(20, 5, cached_input_tokens=4, reasoning_tokens=1)
    provider = ScriptedProvider(
        Step(error=RateLimitedError("slow down", retry_after=90), status_code=429, latency=1),
        Step(error=ServerError("timed out", status_code=504, retry_after=7), status_code=504, latency=2),
        Step(usage=usage, latency=3),
    )

    async def send(attempt: Attempt) -> str:
        attempt.provider_request_id = f"req-{len(provider.attempts) + 1}"
        return await provider.send(attempt)

    await world.gate.call(make_call(price=FlatPrice(3), scope=SCOPE), send)

    second = replace(FIRST, attempt_id=ids(3)[2], provider_request_id="req-2", started_at=BEGIN + timedelta(seconds=91))
    second = replace(second, status_code=504, error_code="server_error", error="timed out", latency_seconds=2)
    second = replace(second, wait_seconds=90, wait_reason="cooldown", charged_tokens=WORST, cost_micro_usd=3 * WORST)
    third = replace(FIRST, attempt_id=ids(4)[3], provider_request_id="req-3", started_at=BEGIN + timedelta(seconds=100))
    third = replace(third, number=2, outcome="succeeded", status_code=200, error_code=None, error=None)
    third = replace(third, wait_seconds=7, wait_reason="retry_after", latency_seconds=3)
    third = replace(third, usage=usage, charged_tokens=25, cost_micro_usd=75)
    assert world.records == [FIRST, second, third]


async def test_the_longest_of_several_waits_is_the_reason_and_all_add_up(autojump_clock: MockClock) -> None:
    """Two seconds for a place, then eight for the budget."""
    world, usage = make_world(tokens=WORST + 9, in_flight=1), Usage(1, 1)
    hog, first = ScriptedProvider(Step(usage=usage, latency=10)), ScriptedProvider(Step(usage=usage, latency=2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(model="large", output_tokens_cap=4), hog.send)
        nursery.start_soon(world.gate.call, make_call(input_tokens_bound=0), first.send)
        await wait_all_tasks_blocked()
        await world.gate.call(make_call(), ScriptedProvider(Step(usage=usage)).send)

    last = world.records[-1]
    assert (last.wait_seconds, last.wait_reason) == (10, "budget")


async def test_a_cancelled_attempt_says_so_without_naming_tasks(autojump_clock: MockClock) -> None:
    """Trio's own text holds an address in memory, which differs in each run."""
    world = make_world()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), ScriptedProvider(Step(latency=9)).send)
        await trio.sleep(5)
        nursery.cancel_scope.cancel("stopping")

    (record,) = world.records
    assert (record.outcome, record.error_code) == ("cancelled", "cancelled")
    assert record.error == "cancelled before the answer was whole"
    assert (record.latency_seconds, record.status_code) == (5, None)


async def test_a_sender_with_a_nursery_is_recorded_as_cancelled_too(autojump_clock: MockClock) -> None:
    """Its cancellation comes as a group, nested even."""
    world = make_world()

    async def send(attempt: Attempt) -> None:
        async with trio.open_nursery() as outer:
            outer.start_soon(trio.sleep_forever)
            async with trio.open_nursery() as inner:
                inner.start_soon(trio.sleep_forever)

    with trio.move_on_after(5):
        await world.gate.call(make_call(), send)

    assert [record.outcome for record in world.records] == ["cancelled"]


async def test_a_group_with_an_error_in_it_is_a_failure(autojump_clock: MockClock) -> None:
    """One real error among cancellations is what happened."""
    world = make_world()

    async def fail_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError

    async def send(attempt: Attempt) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail_late)

    with pytest.RaisesGroup(KeyError, allow_unwrapped=True), trio.move_on_after(5):
        await world.gate.call(make_call(), send)

    assert [(record.outcome, record.error_code) for record in world.records] == [("failed", "BaseExceptionGroup")]


async def test_an_attempt_that_never_left_is_recorded_as_not_sent(autojump_clock: MockClock) -> None:
    """The log shows it; the ledger counts what the provider saw."""
    world = make_world()

    await world.gate.call(make_call(), ScriptedProvider(Step(reaches=False)).send)

    assert [record.sent for record in world.records] == [False]
    assert world.gate.statistics().attempts == 0


@pytest.mark.parametrize("step", [Step(), Step(error=RequestRejectedError("no", status_code=400))])
async def test_a_recorder_that_fails_ends_the_call_with_nothing_held(step: Step, autojump_clock: MockClock) -> None:
    """A ledger that can't be written ends the run; it must not leave others waiting for a place or for budget."""

    def fail(record: AttemptRecord) -> None:
        msg = "disk full"
        raise LedgerError(msg)

    world = make_world(tokens=WORST, in_flight=1, policy=RetryPolicy(max_attempts=3), record=fail)
    provider = ScriptedProvider(step)

    with pytest.raises(LedgerError):
        await world.gate.call(make_call(), provider.send)

    assert len(provider.attempts) == 1
    assert world.tokens.reserved == world.lane().in_flight == 0
