"""When every further request would end the same way, none goes: not of those who wait, not of those who come later."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from tests.control.world import WORST, World, limited, make_call, make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.call import Call
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import (
    CertificateError,
    ConnectionLostError,
    CredentialsRejectedError,
    LocalResourceError,
    ModelNotFoundError,
    ProviderError,
    QuotaExhaustedError,
    RequestRejectedError,
    ServerError,
)
from agent_pipeline.testing import ScriptedProvider, Step

LASTING = [
    CredentialsRejectedError("no such key", status_code=401),
    QuotaExhaustedError("nothing left", status_code=402),
    ModelNotFoundError("no such model", status_code=404),
    CertificateError("not trusted"),
]
lasting = pytest.mark.parametrize("error", LASTING, ids=lambda error: error.code)
REFUSED = LASTING[0]


class Asking:
    """Calls made at once; what became of each, in order of their ends."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ends: list[tuple[str, ProviderError | None, float]] = []

    async def ask(self, name: str, provider: ScriptedProvider, call: Call | None = None) -> None:
        """Make one call to its end."""
        error: ProviderError | None = None
        try:
            await self.world.gate.call(call or make_call(), provider.send)
        except ProviderError as exc:
            error = exc
        self.ends.append((name, error, trio.current_time()))


@lasting
async def test_those_in_flight_are_the_last(error: ProviderError, autojump_clock: MockClock) -> None:
    """Fifty documents with a wrong key: three places, three requests, and all fifty are told so at once."""
    world = make_world(in_flight=3)
    provider, asking = ScriptedProvider(Step(error=error, latency=1), Step(error=error, latency=9)), Asking(world)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(asking.ask, str(number), provider)
    await asking.ask("later", provider)

    assert len(provider.attempts) == len(world.records) == 3
    assert [at for _, _, at in asking.ends] == [1] * 48 + [9] * 3
    sent = [one for _, one, _ in asking.ends if one is error]
    told = [one for _, one, _ in asking.ends if one is not error]
    assert (len(sent), len(told)) == (3, 48)
    assert len({id(one) for one in told}) == 48  # an exception that is raised twice collects both tracebacks
    for one in told:
        assert (type(one), str(one), one and one.status_code) == (type(error), str(error), error.status_code)
        assert one is not None
        assert one.__cause__ is error
    world.assert_nothing_is_held()


@lasting
async def test_one_model_that_is_unknown_says_nothing_of_the_others(
    error: ProviderError, autojump_clock: MockClock
) -> None:
    """A key, an account and a certificate are the provider's; other providers have their own."""
    world, asking = make_world(), Asking(make_world())
    asking.world = world
    await asking.ask("first", ScriptedProvider(Step(error=error)))

    for name, call in {
        "same": make_call(),
        "another model": make_call(model="large"),
        "another provider": make_call(provider="local"),
    }.items():
        await asking.ask(name, ScriptedProvider(), call)

    refused = {name for name, one, _ in asking.ends if one is not None}
    only_model = isinstance(error, ModelNotFoundError)
    assert refused == ({"first", "same"} if only_model else {"first", "same", "another model"})


async def test_lanes_that_were_there_before_are_closed_too(autojump_clock: MockClock) -> None:
    """Whoever has asked another model of the same provider before may wait there; places are not given up for it."""
    world = make_world(in_flight=1)
    asking, slow = Asking(world), ScriptedProvider(Step(latency=90))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(asking.ask, "holds", slow, make_call(model="large"))
        await wait_all_tasks_blocked()
        nursery.start_soon(asking.ask, "waits", slow, make_call(model="large"))
        nursery.start_soon(asking.ask, "of another", slow, make_call(model="large", provider="local"))
        nursery.start_soon(asking.ask, "refused", ScriptedProvider(Step(error=REFUSED, latency=5)))

    assert {name: at for name, _, at in asking.ends} == {"refused": 5, "waits": 5, "holds": 90, "of another": 90}
    assert {name for name, one, _ in asking.ends if one is not None} == {"refused", "waits"}
    world.assert_nothing_is_held()


async def wait_for_cooldown(asking: Asking) -> None:
    """Meet a 429, then wait its pause out."""
    await asking.ask("waits", ScriptedProvider(limited(3_600), Step()))


async def wait_to_try_again(asking: Asking) -> None:
    """Meet a busy server, then wait as long as it asks for."""
    busy = Step(error=ServerError("busy", status_code=503, retry_after=3_600))
    await asking.ask("waits", ScriptedProvider(busy, Step()))


async def wait_for_budget(asking: Asking) -> None:
    """Want more than others have left."""
    await asking.ask("waits", ScriptedProvider(), make_call(input_tokens_bound=2 * WORST))


async def wait_after_another_failure(asking: Asking) -> None:
    """Fail in one's own way just after the lane was closed; it is not tried again."""
    await asking.ask("waits", ScriptedProvider(Step(error=ConnectionLostError("reset"), latency=5.5), Step()))


@pytest.mark.parametrize("wait", [wait_for_cooldown, wait_to_try_again, wait_for_budget, wait_after_another_failure])
async def test_whatever_is_waited_for_ends(
    wait: Callable[[Asking], Awaitable[None]], autojump_clock: MockClock
) -> None:
    """At once, not at the end of an hour's pause, and nothing is sent."""
    world = make_world(tokens=3 * WORST)
    asking = Asking(world)

    async with trio.open_nursery() as nursery:
        refused = Step(error=REFUSED, latency=5, usage=Usage(1, 1))
        nursery.start_soon(asking.ask, "refused", ScriptedProvider(refused))
        await wait_all_tasks_blocked()
        nursery.start_soon(wait, asking)

    assert [name for name, _, _ in asking.ends] == ["refused", "waits"]
    end = asking.ends[-1]
    assert isinstance(end[1], CredentialsRejectedError)
    assert 5 <= end[2] <= 5.5
    assert {record.outcome for record in world.records} == {"failed"}
    world.assert_nothing_is_held()


@pytest.mark.parametrize(
    "error", [RequestRejectedError("no", status_code=400), LocalResourceError("no files left")], ids=lambda e: e.code
)
async def test_what_concerns_one_request_or_this_machine_closes_nothing(
    error: Exception, autojump_clock: MockClock
) -> None:
    """The first says nothing of others; the second says nothing of the provider, and ends the run by itself."""
    world = make_world()
    with pytest.raises(type(error)):
        await world.gate.call(make_call(), ScriptedProvider(Step(error=error)).send)

    assert await world.gate.call(make_call(), ScriptedProvider().send) == "done"


async def test_the_first_refusal_is_the_one_that_is_told(autojump_clock: MockClock) -> None:
    """Answers that come later may say something else; the cause is what was found out first."""
    world = make_world(in_flight=2)
    asking, other = Asking(world), QuotaExhaustedError("nothing left", status_code=402)
    provider = ScriptedProvider(Step(error=REFUSED, latency=1), Step(error=other, latency=2))

    async with trio.open_nursery() as nursery:
        for name in ("first", "second", "third"):
            nursery.start_soon(asking.ask, name, provider)
    await asking.ask("fourth", provider, make_call(model="large"))

    assert [one and one.code for _, one, _ in asking.ends] == [
        "credentials_rejected", "credentials_rejected", "quota_exhausted", "credentials_rejected",
    ]  # fmt: skip


async def test_who_is_cancelled_while_it_waits_is_cancelled(autojump_clock: MockClock) -> None:
    """Both at one instant: the cancellation belongs to whoever cancelled."""
    world = make_world(in_flight=1)
    asking = Asking(world)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(asking.ask, "refused", ScriptedProvider(Step(error=REFUSED, latency=5)))
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(asking.ask, "waits", ScriptedProvider())
                await wait_all_tasks_blocked()
                next(iter(world.gate._lanes.values())).close(REFUSED)
                scope.cancel()

    assert scope.cancelled_caught
    assert [name for name, _, _ in asking.ends] == ["refused"]
    world.assert_nothing_is_held()
