"""A provider that fails for all, through the gate: nobody is blamed, little is sent, and everybody is told."""

import math
from collections import Counter
from functools import partial

import pytest
import trio
from tests.control.outages import UNAVAILABLE, Documents, Provider, watched_world
from tests.control.world import limited, make_call, make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.breaker import DOCUMENTS, FAILURES_IN_A_ROW
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.scope import CallScope
from agent_pipeline.errors import (
    AttemptTimeoutError,
    ConnectionLostError,
    CredentialsRejectedError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
    RequestRejectedError,
    ServerError,
    WaitTooLongError,
)
from agent_pipeline.testing import ScriptedProvider, Step

DEAD = [
    UNAVAILABLE,
    ProviderUnreachableError("refused"),
    ConnectionLostError("reset"),
    AttemptTimeoutError(attempt=1, rung="read", timeout=60),
]


@pytest.mark.parametrize("error", DEAD, ids=lambda error: error.code)
async def test_a_dead_provider_gets_few_requests_and_blames_no_document(
    error: ProviderError, autojump_clock: MockClock
) -> None:
    """A thousand documents, twenty places: those in flight, three probes, and the end seven seconds later."""
    world, changes = watched_world(in_flight=20)
    provider = Provider((0, math.inf), error=error)
    documents = Documents(world, provider)

    ends = await documents.ask_for(1_000)

    assert ends == {"provider_down": 1_000}
    assert provider.at == [0.0] * 20 + [1.0, 3.0, 7.0]
    assert changes == [
        ("open", 0), ("half_open", 1), ("open", 1), ("half_open", 3), ("open", 3), ("half_open", 7), ("down", 7),
    ]  # fmt: skip
    assert {at for _, at in documents.ends} == {7.0}
    told = [error for error in documents.errors if "fails for all" in str(error) and "3 probes in 7.0 s" in str(error)]
    assert len({id(one) for one in told}) == 1_000
    world.assert_nothing_is_held()


async def test_a_thousand_requests_that_all_fail_get_a_tenth_more(autojump_clock: MockClock) -> None:
    """The retry budget alone, because one document never opens the breaker: 1.1 requests each, and ten a second."""
    world, changes = watched_world(in_flight=1_000)
    provider = Provider((0, math.inf))
    errors: list[ServerError] = []

    async def ask() -> None:
        with pytest.raises(ServerError) as caught:
            await world.gate.call(make_call(scope=CallScope(document_id="one")), provider.send)
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        for _ in range(1_000):
            nursery.start_soon(ask)

    assert changes == []
    assert 1_000 < len(provider.at) <= 1_100 + 10 * (trio.current_time() + 1)
    assert len(provider.at) == len(world.records)
    without = [str(error) for error in errors if "not tried again: too many requests to openai fail" in str(error)]
    assert len(without) > 800
    assert all(text.startswith("the provider answered 503 (") for text in without)
    assert {record.error for record in world.records} == {"the provider answered 503"}
    world.assert_nothing_is_held()


async def test_an_outage_costs_time_and_no_document(autojump_clock: MockClock) -> None:
    """Sixty seconds in the middle of a run: every document ends well, also those that had no attempts left."""
    world, changes = watched_world(policy=RetryPolicy(max_attempts=2))
    provider = Provider((5, 65))
    documents = Documents(world, provider)

    ends = await documents.ask_for(100)

    assert ends == {"done": 100}
    assert [state for state, _ in changes] == ["open", *["half_open", "open"] * 5, "half_open", "closed"]
    assert [at for state, at in changes if state == "half_open"] == [6, 8, 12, 20, 36, 68]
    assert len(world.records) == 100 + 10 + 5
    waited = [record for record in world.records if record.wait_reason == "breaker"]
    assert waited
    assert provider.at[-1] == 69 + 4  # the probe is answered, 49 are left, ten a second
    assert 68 <= max(record.wait_seconds for record in waited) <= provider.at[-1]
    assert [record.number for record in world.records if record.outcome == "succeeded"].count(1) >= 85
    world.assert_nothing_is_held()


async def test_an_outage_costs_no_retry_of_what_comes_after(autojump_clock: MockClock) -> None:
    """The retry budget is full again when the provider is back."""
    world, _ = watched_world(in_flight=500)
    documents = Documents(world, Provider((0, 0.5)))

    assert await documents.ask_for(500) == {"done": 500}
    assert world.gate._healths["openai", "tiny"].budget.tokens > 190


async def test_a_small_run_against_a_dead_provider_ends_so_too(autojump_clock: MockClock) -> None:
    """Three documents with five attempts; two with four fail on their own, because it may be them."""
    world = make_world()  # nobody needs to be told
    assert await Documents(world, Provider((0, math.inf))).ask_for(DOCUMENTS) == {"provider_down": DOCUMENTS}

    world, changes = watched_world()
    assert await Documents(world, Provider((0, math.inf))).ask_for(DOCUMENTS - 1) == {"server_error": DOCUMENTS - 1}
    assert changes == []


async def test_another_model_of_the_provider_goes_on(autojump_clock: MockClock) -> None:
    """One model may be down while the others work; each has a breaker of its own."""
    world, changes = watched_world()
    documents = Documents(world, Provider((0, math.inf)))
    await documents.ask_for(FAILURES_IN_A_ROW)

    other = Documents(world, Provider())
    await other.ask("d", model="large")
    await other.ask("d")

    assert [end for end, _ in other.ends] == ["done", "provider_down"]
    assert {state for state, _ in changes} == {"open", "half_open", "down"}


async def test_who_comes_while_it_is_open_waits(autojump_clock: MockClock) -> None:
    """Nobody sends, neither those that wait for a place nor those that come later."""
    world, changes = watched_world(in_flight=10)
    provider = Provider((0, 0.5))
    documents = Documents(world, provider)

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(documents.ask, f"d{number}")
        await trio.sleep(0.75)
        nursery.start_soon(documents.ask, "late")

    assert provider.at[:11] == [0.0] * 10 + [1.0]
    assert sorted(provider.at)[11:21] == [2.0] * 10  # when the probe is answered
    assert [state for state, _ in changes] == ["open", "half_open", "closed"]
    assert {end for end, _ in documents.ends} == {"done"}


async def test_what_waits_for_a_provider_in_doubt_holds_no_budget(autojump_clock: MockClock) -> None:
    """Others may need it, of other providers."""
    world, _ = watched_world(in_flight=10)
    documents = Documents(world, Provider((0, 0.5)))

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(documents.ask, f"d{number}")
        await trio.sleep(0.75)
        assert world.tokens.reserved == 0


async def test_a_probe_that_is_cancelled_ends_nobodys_wait(autojump_clock: MockClock) -> None:
    """Whoever probes does so for all: the next one takes its place at once."""
    world, changes = watched_world(in_flight=10)
    hung = ScriptedProvider(*[Step(error=UNAVAILABLE)] * 10, Step(latency=1_000), Step())
    documents = Documents(world, hung)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(documents.ask, f"d{number}")
        await trio.sleep(50)
        assert changes[-1:] == [("half_open", 1)]
        assert hung.in_flight == 1
        nursery.cancel_scope.cancel()

    assert changes[2:] == [("open", 50)]
    world.assert_nothing_is_held()
    await documents.ask("next")
    assert documents.ends == [("done", 50)]
    assert [state for state, _ in changes[3:]] == ["half_open", "closed"]


async def test_a_probe_that_is_cancelled_hands_over_to_one_that_waits(autojump_clock: MockClock) -> None:
    """At that moment, not at the end of another pause."""
    world, changes = watched_world(in_flight=12)
    hung = ScriptedProvider(*[Step(error=UNAVAILABLE)] * 12, Step(latency=1_000), Step())
    documents = Documents(world, hung)
    scopes: list[trio.CancelScope] = []

    async def ask(name: str) -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await documents.ask(name)

    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(ask, f"d{number}")
        await trio.sleep(40)
        nursery.start_soon(documents.ask, "waits in any case")  # the probe may be the last to be cancelled
        await trio.sleep(10)
        while ("half_open", 50) not in changes:  # one of them is the probe
            scopes.pop().cancel()
            await wait_all_tasks_blocked()

    assert changes[1:] == [("half_open", 1), ("open", 50), ("half_open", 50), ("closed", 50)]
    assert [end for end, _ in documents.ends] == ["done"] * (len(scopes) + 1)
    world.assert_nothing_is_held()


async def test_a_wait_that_is_cancelled_leaves_nothing(autojump_clock: MockClock) -> None:
    """No place, no budget, and the pause of the others is what it was."""
    world, changes = watched_world(in_flight=10)
    documents = Documents(world, Provider((0, 0.5)))
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(documents.ask, f"d{number}")
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()

    world.assert_nothing_is_held()
    assert changes == [("open", 0)]
    await documents.ask("next")
    assert documents.ends == [("done", 2)]


async def test_a_lane_that_is_closed_meanwhile_ends_the_wait(autojump_clock: MockClock) -> None:
    """A key that is refused for another model of the provider is refused here too."""
    world, _ = watched_world(in_flight=10)
    documents = Documents(world, Provider((0, math.inf)))
    refused = ScriptedProvider(Step(error=CredentialsRejectedError("no such key", status_code=401), latency=0.5))

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(documents.ask, f"d{number}")
        with pytest.raises(CredentialsRejectedError):
            await world.gate.call(make_call(model="large"), refused.send)

    assert Counter(documents.ends) == {("credentials_rejected", 0.5): 30}
    world.assert_nothing_is_held()


async def test_a_pause_for_a_rate_limit_comes_on_top(autojump_clock: MockClock) -> None:
    """A probe that is told to wait closes the breaker; what it was told holds."""
    world, changes = watched_world(in_flight=10)
    provider = ScriptedProvider(*[Step(error=UNAVAILABLE)] * 10, limited(30), Step())
    documents = Documents(world, provider)

    assert await documents.ask_for(10) == {"done": 10}

    assert [state for state, _ in changes] == ["open", "half_open", "closed"]
    assert min(at for _, at in provider.attempts[11:]) == 31


async def test_requests_that_are_wrong_are_not_the_providers_fault(autojump_clock: MockClock) -> None:
    """A hundred documents too long for the model: one request each, and the breaker stays closed."""
    world, changes = watched_world()
    provider = ScriptedProvider(Step(error=RequestRejectedError("context length", status_code=400)))
    documents = Documents(world, provider)

    assert await documents.ask_for(100) == {"request_rejected": 100}
    assert (len(provider.attempts), changes) == (100, [])


async def test_a_document_out_of_time_ends_before_the_provider_is_back(autojump_clock: MockClock) -> None:
    """Its own backoff would outlast its deadline: it is told so, as ever."""
    world, _ = watched_world()
    documents = Documents(world, Provider((0, 20)))
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(documents.ask, f"d{number}")
        await documents.ask("short", deadline=0.25)

    assert isinstance(documents.errors[0], WaitTooLongError)
    assert documents.ends[0] == ("wait_beyond_deadline", 0)


async def test_an_outage_with_a_long_retry_after_drops_no_document_but_the_first(autojump_clock: MockClock) -> None:
    """Nine can't know yet that all are told so; from the tenth on the breaker finds out, and may well do so sooner."""
    world, changes = watched_world()
    error = ServerError("the provider answered 503", status_code=503, retry_after=600)
    documents = Documents(world, Provider((5, 40), error=error))
    await documents.ask_for(5)

    await trio.sleep_until(10)
    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(partial(documents.ask, f"d{number}", deadline=310))

    assert Counter(end for end, _ in documents.ends) == {"done": 5 + 31, "wait_beyond_deadline": 9}
    assert changes[-1] == ("closed", 42.0)
    world.assert_nothing_is_held()


async def test_whoever_is_told_that_the_provider_is_down_learns_why(autojump_clock: MockClock) -> None:
    """What happened, where, what to do; the last failure is the cause."""
    world, _ = watched_world()
    documents = Documents(world, Provider((0, math.inf)))
    await documents.ask_for(10)

    first = next(one for one in documents.errors if isinstance(one.__cause__, ServerError))
    assert isinstance(first, ProviderDownError)
    assert str(first) == (
        "openai tiny fails for all: no request was answered since, nor 3 probes in 7.0 s, the last with: "
        "the provider answered 503; resume the run when the provider is back"
    )
    assert (first.status_code, first.disposition) == (503, "fail_run")


async def test_answers_pay_for_retries(autojump_clock: MockClock) -> None:
    """A tenth of a token each, at the gate that all of them pass."""
    world, _ = watched_world(in_flight=50)
    lost = ScriptedProvider(Step(error=ConnectionLostError("reset")), Step())
    await Documents(world, lost).ask("d")
    budget = world.gate._healths["openai", "tiny"].budget
    assert budget.tokens == 199.1

    await Documents(world, Provider()).ask_for(5)

    assert budget.tokens == 199.6
