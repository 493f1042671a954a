"""A gate of a program that goes on: what ends a run ends the calls under way, and the next one asks anew."""

import pytest
import trio
from tests.control.world import make_call, make_world
from trio.testing import MockClock

from agent_pipeline.control.scope import CallScope
from agent_pipeline.errors import CredentialsRejectedError, ProviderDownError, ProviderError, ServerError
from agent_pipeline.testing import ScriptedProvider, Step

REFUSED = CredentialsRejectedError("no such key", status_code=401)


async def test_the_calls_under_way_end_and_the_next_one_asks_anew(autojump_clock: MockClock) -> None:
    """A key may have been put right meanwhile; and till then nothing that waited is sent."""
    world = make_world(in_flight=2, closes_for_good=False)
    provider = ScriptedProvider(*[Step(latency=1, error=REFUSED), Step(latency=2, error=REFUSED), Step(latency=1)])
    ends: list[type[ProviderError]] = []

    async def ask() -> None:
        with pytest.raises(ProviderError) as caught:
            await world.gate.call(make_call(), provider.send)
        ends.append(type(caught.value))

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(ask)
        await trio.sleep(1.5)
        await ask()  # one is in flight still

    assert ends == [CredentialsRejectedError] * 31
    assert len(provider.attempts) == 2
    await world.gate.call(make_call(), provider.send)
    assert len(provider.attempts) == 3
    world.assert_nothing_is_held()


async def test_a_crowd_that_asks_again_at_once_asks_anew(autojump_clock: MockClock) -> None:
    """Whoever met the closed lane first asked on and on, and let nobody end whose end would have reopened it."""
    world = make_world(in_flight=5, closes_for_good=False)
    provider = ScriptedProvider(*[Step(latency=1, error=REFUSED)] * 5, Step(latency=1))
    answered: list[int] = []

    async def ask_until_answered(number: int) -> None:
        for _ in range(50):
            try:
                await world.gate.call(make_call(), provider.send)
            except CredentialsRejectedError:
                continue
            answered.append(number)
            return

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(ask_until_answered, number)

    assert sorted(answered) == [0, 1, 2, 3, 4]
    world.assert_nothing_is_held()


async def test_a_run_stays_closed(autojump_clock: MockClock) -> None:
    world = make_world(in_flight=2)
    provider = ScriptedProvider(*[Step(error=REFUSED), Step()])

    for _ in range(3):
        with pytest.raises(CredentialsRejectedError):
            await world.gate.call(make_call(), provider.send)

    assert len(provider.attempts) == 1


async def test_another_model_of_the_provider_asks_anew_too(autojump_clock: MockClock) -> None:
    world = make_world(in_flight=2, closes_for_good=False)
    provider = ScriptedProvider(*[Step(error=REFUSED), Step(), Step()])

    with pytest.raises(CredentialsRejectedError):
        await world.gate.call(make_call(), provider.send)
    await world.gate.call(make_call(model="another"), provider.send)
    await world.gate.call(make_call(), provider.send)

    assert len(provider.attempts) == 3


async def test_a_provider_that_was_down_is_asked_again(autojump_clock: MockClock) -> None:
    world = make_world(in_flight=20, closes_for_good=False)
    dead = ScriptedProvider(Step(error=ServerError("down", status_code=503), status_code=503))
    ends: list[type[ProviderError]] = []

    async def ask(number: int) -> None:
        with pytest.raises(ProviderError) as caught:
            await world.gate.call(make_call(scope=CallScope(document_id=str(number))), dead.send)
        ends.append(type(caught.value))

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(ask, number)
    assert ProviderDownError in ends

    alive = ScriptedProvider()
    for _ in range(20):
        await world.gate.call(make_call(), alive.send)
    assert len(alive.attempts) == 20
    world.assert_nothing_is_held()
