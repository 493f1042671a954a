"""A request that fails alone, through the gate."""

from collections import Counter

import pytest
import trio
from tests.control.outages import UNAVAILABLE, Documents, Provider, watched_world
from tests.control.world import World, make_call
from trio.testing import MockClock

from agent_pipeline.control.call import Attempt, Call
from agent_pipeline.control.scope import CallScope
from agent_pipeline.errors import PoisonedError, ProviderError, ProviderUnreachableError, ServerError
from agent_pipeline.testing import ScriptedProvider, Step


async def test_one_bad_request_among_good_ones_is_quarantined(autojump_clock: MockClock) -> None:
    """Fifty documents, one always 500: three attempts, and the other 49 do not notice."""
    world, changes = watched_world()
    good, bad = Provider(), ScriptedProvider(Step(error=ServerError("the provider answered 500", status_code=500)))
    documents = Documents(world, good)

    async with trio.open_nursery() as nursery:
        for number in range(49):
            nursery.start_soon(documents.ask, f"d{number}")
        with pytest.raises(PoisonedError) as caught:
            await slow_policy_call(world, bad)

    assert Counter(end for end, _ in documents.ends) == {"done": 49}
    assert [number for number, _ in bad.attempts] == [1, 2, 3]
    assert changes == []
    assert (caught.value.code, caught.value.status_code, caught.value.disposition) == ("poisoned", 500, "fail_document")
    assert str(caught.value).startswith("the same request failed 3 times with server_error, while ")
    assert str(caught.value).endswith("others to openai tiny passed; the last time: the provider answered 500")
    assert isinstance(caught.value.__cause__, ServerError)
    assert len(world.gate._healths["openai", "tiny"].poison) == 0
    world.assert_nothing_is_held()


async def slow_policy_call(world: World, bad: ScriptedProvider) -> None:
    """Ask with a request that fails only after a while, as one does that a model chokes on."""

    async def send(attempt: Attempt) -> str:
        await trio.sleep(2)
        return await bad.send(attempt)

    call: Call = make_call(scope=CallScope(document_id="bad"), fingerprint="bad")
    await world.gate.call(call, send)


async def test_a_call_that_is_cancelled_is_no_suspect_any_more(autojump_clock: MockClock) -> None:
    """What is remembered of requests that failed is bounded by those under way."""
    world, _ = watched_world()
    async with trio.open_nursery() as nursery:
        failing = ScriptedProvider(Step(error=UNAVAILABLE))
        nursery.start_soon(world.gate.call, make_call(fingerprint="f"), failing.send)
        await trio.sleep(0.25)
        poison = world.gate._healths["openai", "tiny"].poison
        assert len(poison) == 1
        nursery.cancel_scope.cancel()

    assert len(poison) == 0


async def test_no_connection_is_never_the_requests_fault(autojump_clock: MockClock) -> None:
    """Nothing of it was sent: there is nothing in it that could be poisoned."""
    world, _ = watched_world()
    unlucky = ScriptedProvider(Step(error=ProviderUnreachableError("refused"), reaches=False, latency=2))
    documents = Documents(world, Provider())

    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(documents.ask, f"d{number}")
        with pytest.raises(ProviderUnreachableError):
            await world.gate.call(make_call(fingerprint="f"), unlucky.send)

    assert len(unlucky.attempts) == 5


async def test_what_fails_in_an_outage_is_no_evidence(autojump_clock: MockClock) -> None:
    """One whose first attempt hung, while hundreds passed, and that is the probe again and again, is not to blame."""
    world, changes = watched_world(in_flight=10)

    async def send(attempt: Attempt) -> str:
        attempt.dispatch()
        began = trio.current_time()
        await trio.sleep(120 if began == 0 else 1)
        if trio.current_time() > 115:
            raise ServerError("the provider answered 503", status_code=503)
        return "done"

    async def ask(document_id: str) -> str:
        try:
            return await world.gate.call(make_call(scope=CallScope(document_id=document_id)), send)
        except ProviderError as exc:
            ends.append(exc.code)
            return exc.code

    async def work(number: int) -> None:
        while await ask(f"d{number}") == "done":
            pass

    ends: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "hung")
        await trio.sleep(0.5)
        with trio.move_on_at(123):  # from then on it is the only one that can be the probe
            async with trio.open_nursery() as others:
                for number in range(3):
                    others.start_soon(work, number)

    assert ends == ["provider_down"]
    assert changes[-1][0] == "down"
    assert len(world.gate._healths["openai", "tiny"].poison) == 0
    world.assert_nothing_is_held()


async def test_what_passed_before_the_request_was_sent_says_nothing_of_it(autojump_clock: MockClock) -> None:
    """The provider may have fallen ill since: it gets all its attempts, and its own error."""
    world, _ = watched_world()
    await Documents(world, Provider()).ask_for(100)
    bad = ScriptedProvider(Step(error=UNAVAILABLE))

    with pytest.raises(ServerError):
        await world.gate.call(make_call(fingerprint="f"), bad.send)

    assert len(bad.attempts) == 5


async def test_calls_without_a_fingerprint_are_no_ones_twins(autojump_clock: MockClock) -> None:
    """One that passes does not clear the other, and they do not count together."""
    world, _ = watched_world(in_flight=100)
    bad = ScriptedProvider(Step(error=UNAVAILABLE, latency=1))

    async def ask() -> None:
        with pytest.raises(PoisonedError, match="failed 3 times"):
            await world.gate.call(make_call(scope=CallScope(document_id="bad")), bad.send)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Documents(world, Provider()).ask_for, 50)
        nursery.start_soon(ask)
        nursery.start_soon(ask)

    assert sorted(number for number, _ in bad.attempts) == [1, 1, 2, 2, 3, 3]
