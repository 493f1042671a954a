"""Budgets of roles and documents beside the run's: held together, told apart, and passed by no crowd."""

import random
from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tests.control.world import WORST, FlatPrice, World, make_call, make_world
from trio.testing import MockClock

from agent_pipeline.control.budget import Budget, BudgetStatistics, BudgetTracker, Caps
from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.usage import Spending, Usage
from agent_pipeline.errors import (
    AgentPipelineError,
    BudgetExceededError,
    DocumentBudgetExceededError,
    ProviderError,
    RequestRejectedError,
)
from agent_pipeline.testing import ScriptedProvider, Step

USED = Usage(20, 5)


def document(name: str, *, spent: Spending | None = None, **caps: int) -> CallScope:
    """Return the scope of a document with a budget of its own."""
    return CallScope(name, budget=Budget("document", name, Caps(**caps), spent or Spending()))


def tokens_of(scope: CallScope) -> BudgetStatistics:
    """Return the counters of a document's tokens."""
    assert scope.budget is not None
    return scope.budget.tokens.statistics()


async def test_each_request_is_charged_to_all_its_owners(autojump_clock: MockClock) -> None:
    """The run's, the role's and the document's books agree; those of others are not touched."""
    world = make_world(roles={"writer": Caps(tokens=500, micro_usd=900), "reader": Caps(tokens=500)})
    mine, other = document("mine", tokens=500), document("other", tokens=500)
    provider = ScriptedProvider(Step(usage=USED), Step())

    await world.gate.call(make_call(scope=mine, price=FlatPrice(3)), provider.send)
    await world.gate.call(make_call(scope=mine, price=FlatPrice(3)), provider.send)

    assert (world.tokens.spent, world.tokens.unknown) == (25 + WORST, WORST)
    assert tokens_of(mine) == BudgetStatistics(total=500, spent=25 + WORST, reserved=0, unknown=WORST)
    writer, reader = world.budget.roles["writer"], world.budget.roles["reader"]
    assert writer.tokens.statistics() == BudgetStatistics(total=500, spent=25 + WORST, reserved=0, unknown=WORST)
    assert writer.micro_usd.statistics() == BudgetStatistics(900, 75 + 3 * WORST, 0, 3 * WORST)
    assert (reader.tokens.statistics().spent, tokens_of(other).spent) == (0, 0)
    world.assert_nothing_is_held()


async def test_a_role_whose_budget_is_used_up_is_refused_and_others_are_not(autojump_clock: MockClock) -> None:
    """The error ends the run, and says whose budget to raise; a request of another role is still answered."""
    world = make_world(tokens=10 * WORST, roles={"writer": Caps(tokens=WORST)})
    provider = ScriptedProvider(Step(usage=USED))
    await world.gate.call(make_call(), provider.send)

    with pytest.raises(BudgetExceededError, match=r"role writer's budget of 40 tokens has 15 left") as caught:
        await world.gate.call(make_call(), provider.send)
    await world.gate.call(make_call(role="reader"), provider.send)

    assert (caught.value.dimension, caught.value.disposition) == ("role:writer:tokens", "fail_run")
    assert len(provider.attempts) == 2
    world.assert_nothing_is_held()


async def test_a_document_whose_budget_is_used_up_fails_alone(autojump_clock: MockClock) -> None:
    """Its error ends that document; another's request, and one of no document, still go."""
    world = make_world(tokens=10 * WORST)
    mine, other = document("mine", tokens=2 * WORST - 1), document("other", tokens=WORST)
    provider = ScriptedProvider(Step(usage=Usage(WORST - 1, 0)))
    await world.gate.call(make_call(scope=mine), provider.send)
    await world.gate.call(make_call(scope=mine), provider.send)

    with pytest.raises(DocumentBudgetExceededError, match=r"this document's budget of 79 tokens has 1 left") as caught:
        await world.gate.call(make_call(scope=mine), provider.send)
    await world.gate.call(make_call(scope=other), provider.send)
    await world.gate.call(make_call(), provider.send)

    assert (caught.value.code, caught.value.disposition) == ("document_budget_exceeded", "fail_document")
    assert len(provider.attempts) == 4
    world.assert_nothing_is_held()


async def test_a_document_that_is_too_dear_does_not_end_the_run(autojump_clock: MockClock) -> None:
    """Its request fits into no budget; those of the others may still fit into the run's."""
    world = make_world(tokens=WORST - 1, micro_usd=0)
    mine = document("mine", tokens=1, micro_usd=1)

    with pytest.raises(DocumentBudgetExceededError) as caught:
        await world.gate.call(make_call(scope=mine, price=FlatPrice(3)), ScriptedProvider().send)

    assert caught.value.dimensions == ("tokens", "usd")
    assert str(caught.value) == (
        "this document's budget of 1 token has 1 left and this document's budget of $0.000001 has $0.000001 left, and "
        "the next request of role writer may cost 40 tokens and $0.000120; raise the budget to go on"
    )


async def test_every_dimension_that_was_hit_is_named(autojump_clock: MockClock) -> None:
    """Who raises one only to meet the next has run in vain."""
    world = make_world(tokens=39, micro_usd=119, roles={"writer": Caps(tokens=0), "reader": Caps(tokens=0)})

    with pytest.raises(BudgetExceededError) as caught:
        await world.gate.call(make_call(price=FlatPrice(3)), ScriptedProvider().send)

    assert caught.value.dimensions == ("role:writer:tokens", "tokens", "usd")
    assert caught.value.dimension == "role:writer:tokens"


async def test_what_earlier_sessions_spent_on_a_document_counts(autojump_clock: MockClock) -> None:
    """A document that is taken up again goes on with what is left."""
    world = make_world()
    scope = document("mine", tokens=100, spent=Spending(61, 40, 5))

    with pytest.raises(DocumentBudgetExceededError, match="has 39 left"):
        await world.gate.call(make_call(scope=scope), ScriptedProvider().send)

    assert tokens_of(scope) == BudgetStatistics(total=100, spent=61, reserved=0, unknown=40)


async def test_a_document_waits_for_its_own_requests_in_flight(autojump_clock: MockClock) -> None:
    """What they hold may come back: waiting is not a refusal, and another document waits for none of it."""
    world = make_world()
    mine, other = document("mine", tokens=WORST), document("other", tokens=WORST)
    provider = ScriptedProvider(Step(usage=Usage(0, 0), latency=9))

    async with trio.open_nursery() as nursery:
        for scope in (mine, mine, other):
            nursery.start_soon(world.gate.call, make_call(scope=scope), provider.send)

    assert sorted(provider.attempts) == [(1, 0), (1, 0), (1, 9)]
    assert [record.wait_reason for record in world.records if record.wait_seconds] == ["budget"]


async def test_a_chain_of_roles_shares_the_documents_budget(autojump_clock: MockClock) -> None:
    """A asks, then B, then C; each has a budget of its own, and one document's is common to them."""
    world = make_world(roles={name: Caps(tokens=2 * WORST) for name in "ABC"})
    scope = document("mine", tokens=2 * WORST + 50)
    provider = ScriptedProvider(Step(usage=USED))
    left: list[int | None] = []

    for role in "ABC":
        await world.gate.call(make_call(role=role, scope=replace(scope, stage=role)), provider.send)
        assert scope.budget is not None
        left.append(scope.budget.tokens.remaining())

    assert left == [105, 80, 55]
    assert [world.budget.roles[name].tokens.remaining() for name in "ABC"] == [55, 55, 55]


class CapsWatch(trio.abc.Instrument):
    """Looks at several trackers after each step of any task."""

    def __init__(self, *trackers: BudgetTracker) -> None:
        self.highest = dict.fromkeys(trackers, 0)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002  (the signature is Trio's)
        """Remember the most that was ever spent and held."""
        for tracker, highest in self.highest.items():
            now = tracker.statistics()
            self.highest[tracker] = max(highest, now.spent + now.reserved)


async def crowd(world: World, scopes: list[CallScope], *, callers: int, seed: int, patience: float) -> list[str]:
    """Let many callers of two roles and several documents ask at once with mixed luck; return their ends."""
    rng, ends = random.Random(seed), list[str]()

    async def ask(scope: CallScope, role: str, step: Step, seconds: float) -> None:
        with trio.move_on_after(seconds):
            try:
                await world.gate.call(
                    make_call(role=role, scope=scope, price=FlatPrice(3)), ScriptedProvider(step).send
                )
                ends.append("answered")
            except ProviderError:
                ends.append("failed")
            except AgentPipelineError as exc:
                ends.append(exc.code)

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            usage = Usage(rng.randint(0, 30), rng.randint(0, 10)) if rng.random() < 0.9 else None
            error = RequestRejectedError("no", status_code=400) if rng.random() < 0.1 else None
            step = Step(latency=rng.uniform(0.1, 2), connecting=rng.uniform(0, 0.2), usage=usage, error=error)
            nursery.start_soon(
                ask, rng.choice(scopes), rng.choice(["writer", "reader"]), step, rng.uniform(0, patience)
            )
    return ends


async def test_a_thousand_callers_never_pass_a_roles_cap_for_37(autojump_clock: MockClock) -> None:
    """At no instant is more of it spent and held, and less than one worst case is left unused; the run has room."""
    cap = 37 * WORST + 13
    world = make_world(in_flight=100, roles={"writer": Caps(tokens=cap)})
    writer = world.budget.roles["writer"]
    watch = CapsWatch(writer.tokens)
    trio.lowlevel.add_instrument(watch)

    ends = await crowd(world, [CallScope()], callers=1_000, seed=1, patience=1e6)

    assert 37 * WORST <= watch.highest[writer.tokens] <= cap
    assert 0 <= cap - writer.tokens.statistics().spent < WORST
    assert ends.count("budget_exceeded") > 300
    world.assert_nothing_is_held()


async def test_a_thousand_callers_never_pass_a_documents_cap_for_37(autojump_clock: MockClock) -> None:
    """Of five documents each has its own; none takes from another."""
    cap = 37 * WORST + 13
    world = make_world(in_flight=100)
    scopes = [document(str(number), tokens=cap) for number in range(5)]
    trackers = [scope.budget.tokens for scope in scopes if scope.budget is not None]
    watch = CapsWatch(*trackers)
    trio.lowlevel.add_instrument(watch)

    ends = await crowd(world, scopes, callers=1_000, seed=2, patience=1e6)

    for tracker in trackers:
        assert cap - WORST < watch.highest[tracker] <= cap
        assert 0 <= cap - tracker.statistics().spent < WORST
        assert tracker.statistics().reserved == 0
    assert ends.count("document_budget_exceeded") > 100
    world.assert_nothing_is_held()


@given(
    seed=st.integers(0, 2**32),
    of_run=st.integers(0, 60 * WORST),
    of_role=st.integers(0, 40 * WORST),
    of_document=st.integers(0, 20 * WORST),
    in_flight=st.integers(1, 60),
)
def test_no_crowd_that_is_cancelled_at_random_passes_any_of_its_caps(
    seed: int, of_run: int, of_role: int, of_document: int, in_flight: int
) -> None:
    """Whoever is cancelled wherever: each cap holds at every step, nothing stays held, and the books agree."""

    async def main() -> None:
        world = make_world(
            tokens=of_run, in_flight=in_flight, roles={"writer": Caps(tokens=of_role, micro_usd=of_role)}
        )
        scopes = [document(str(number), tokens=of_document, micro_usd=2 * of_document) for number in range(3)]
        owners: list[Budget] = [world.budget, world.budget.roles["writer"]]
        owners += [scope.budget for scope in scopes if scope.budget is not None]
        watch = CapsWatch(*(tracker for owner in owners for tracker in (owner.tokens, owner.micro_usd)))
        trio.lowlevel.add_instrument(watch)
        await crowd(world, scopes, callers=60, seed=seed, patience=5)
        for tracker, highest in watch.highest.items():
            now = tracker.statistics()
            assert now.total is None or highest <= now.total
            assert now.reserved == 0
        world.assert_nothing_is_held()
        charged = [record.charged_tokens for record in world.records]
        assert sum(owner.tokens.statistics().spent for owner in owners[2:]) == sum(charged)

    trio.run(main, clock=MockClock(autojump_threshold=0))
