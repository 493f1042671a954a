"""One wide document can't starve the others: documents take turns, and within one it is first come, first served."""

import trio
from tests.control.world import make_call, make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.scope import CallScope
from agent_pipeline.testing import ScriptedProvider, Step


async def test_a_document_that_fans_out_gets_one_turn_among_the_others(autojump_clock: MockClock) -> None:
    """Three hundred calls of one agent; two other documents ask once each, and are through in the next rounds."""
    world, provider = make_world(in_flight=2), ScriptedProvider(Step(latency=1))
    order: list[str] = []

    async def ask(document_id: str | None, name: str) -> None:
        await world.gate.call(make_call(scope=CallScope(document_id)), provider.send)
        order.append(name)

    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(ask, "wide", f"wide {number}")
            await wait_all_tasks_blocked()
        for name in ("b", "c"):
            nursery.start_soon(ask, name, name)
        nursery.start_soon(ask, None, "none")
        await wait_all_tasks_blocked()
        await trio.sleep(3.5)
        nursery.cancel_scope.cancel()

    assert {"b", "c", "none"} <= set(order[:7])
    wide = [int(name.removeprefix("wide ")) for name in order if name.startswith("wide")]
    assert sorted(wide) == list(range(len(wide)))


async def test_turns_go_round_while_all_have_more_to_ask(autojump_clock: MockClock) -> None:
    """Ten calls of one, two of another: the other's second comes fourth, not twelfth."""
    world, provider = make_world(in_flight=1), ScriptedProvider(Step(latency=1))
    order: list[str] = []

    async def ask(document_id: str) -> None:
        await world.gate.call(make_call(scope=CallScope(document_id)), provider.send)
        order.append(document_id)

    async with trio.open_nursery() as nursery:
        for document_id in "a" * 10 + "bb":
            nursery.start_soon(ask, document_id)
            await wait_all_tasks_blocked()

    assert "".join(order) == "aababaaaaaaa"
