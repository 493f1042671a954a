"""The gate cancelled at every scheduler step: a budget many tasks share, and a loop of attempts beside a neighbour."""

import pytest
import trio
from tests.control.world import WORST, FlatPrice, World, make_call, make_world

from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import BudgetExceededError, ConnectionLostError, RateLimitedError, ServerError
from agent_pipeline.testing import ScriptedProvider, Step, cancel_at_every_step

USAGE = Usage(3, 2)
TOKENS = 2 * WORST + WORST // 2
MICRO_USD = 8 * WORST


class Watch(trio.abc.Instrument):
    """Looks at a budget after each scheduler step."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.passed: list[object] = []
        self.looked = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - Trio's interface
        """Keep what is over a cap; an error raised here would reach nobody."""
        self.looked += 1
        for one in (self._world.tokens, self._world.money):
            if one.total is None or one.spent + one.reserved > one.total or one.reserved < 0:
                self.passed.append(one)


def test_reserve_and_settle_cancelled_at_every_step() -> None:
    """The caps hold at every instant, nothing is held at the end, and what is left can still be spent."""
    spent: set[int] = set()

    async def operation(scope: trio.CancelScope) -> None:
        world = make_world(tokens=TOKENS, micro_usd=MICRO_USD, in_flight=3)
        watch = Watch(world)
        provider = ScriptedProvider(Step(usage=USAGE, connecting=1, latency=2))
        answers: list[str] = []

        async def one() -> None:
            try:
                answers.append(await world.gate.call(make_call(price=FlatPrice(2)), provider.send))
            except BudgetExceededError:
                assert scope.cancel_called  # woken by those that were cut off, and charged in full

        trio.lowlevel.add_instrument(watch)
        with scope:
            async with trio.open_nursery() as nursery:
                for _ in range(7):
                    nursery.start_soon(one)
        trio.lowlevel.remove_instrument(watch)

        assert (watch.passed, watch.looked > 0) == ([], True)
        world.assert_nothing_is_held()
        unanswered = sum(record.sent and record.usage is None for record in world.records)
        assert world.tokens.spent == len(answers) * USAGE.total_tokens + unanswered * WORST
        assert world.tokens.unknown == unanswered * WORST
        assert world.money.spent == 2 * world.tokens.spent
        spent.add(world.tokens.spent)
        await _spend_what_is_left(world)

    assert cancel_at_every_step(operation) > 30
    assert {0, 2 * WORST, 7 * USAGE.total_tokens} <= spent  # before, within and after


async def _spend_what_is_left(world: World) -> None:
    provider = ScriptedProvider(Step(usage=Usage(WORST, 0)))
    while TOKENS - world.tokens.spent >= WORST and MICRO_USD - world.money.spent >= 2 * WORST:
        assert await world.gate.call(make_call(price=FlatPrice(2)), provider.send) == "done"
    with pytest.raises(BudgetExceededError):
        await world.gate.call(make_call(price=FlatPrice(2)), provider.send)
    world.assert_nothing_is_held()


def test_attempts_cancelled_at_every_step_harm_no_neighbour() -> None:
    """The call that was cut off had a cooldown, a place and a hold; the one beside it gets its answer all the same."""
    made: set[int] = set()

    async def operation(scope: trio.CancelScope) -> None:
        world = make_world(tokens=8 * WORST, in_flight=2, attempt_timeout=20)
        cut = ScriptedProvider(
            Step(error=RateLimitedError("slow down", retry_after=5), latency=1),
            Step(error=ServerError("busy", status_code=503), connecting=1),
            Step(latency=60),
            Step(error=ConnectionLostError("reset"), latency=1),
            Step(usage=USAGE, latency=1),
        )
        beside = ScriptedProvider(
            Step(error=RateLimitedError("slow down", retry_after=3), latency=2), Step(usage=USAGE)
        )
        neighbours: list[str] = []

        async def neighbour() -> None:
            neighbours.append(await world.gate.call(make_call(scope=CallScope("beside")), beside.send))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(neighbour)
            with scope:
                await world.gate.call(make_call(scope=CallScope("cut")), cut.send)

        world.assert_nothing_is_held()
        assert neighbours == ["done"]
        assert [record.outcome for record in world.records if record.document_id == "beside"] == ["failed", "succeeded"]
        numbers = [record.number for record in world.records if record.document_id == "cut"]
        assert numbers == [number for number, _ in cut.attempts]
        made.add(len(numbers))

    assert cancel_at_every_step(operation) > 15
    assert made == {0, 1, 2, 3, 4, 5}
