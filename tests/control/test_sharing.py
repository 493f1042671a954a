"""What a gate has in common with those of other processes: budgets with a supply, rates and pauses kept elsewhere."""

import random
from dataclasses import dataclass, field

import pytest
import trio
from tests.control.world import BEGIN, make_call, make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.budget import Budget, BudgetStatistics, BudgetTracker, Caps, Dimension
from agent_pipeline.control.concurrency import AdaptiveLimit
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.lane import Lane
from agent_pipeline.control.line import WaitIsTooLongError
from agent_pipeline.control.rate import Rate, RateLog
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.tracker import Lease
from agent_pipeline.errors import BudgetExceededError, RateLimitedError
from agent_pipeline.testing import ScriptedProvider, Step


@dataclass
class Shop:
    """A supply that keeps what it is told, and says what it is set to."""

    most: int = 1000
    taken_: list[tuple[int, int]] = field(default_factory=list)
    lacking_: list[tuple[int, int]] = field(default_factory=list)

    def taken(self, tokens: int, micro_usd: int) -> None:
        """Keep it."""
        self.taken_.append((tokens, micro_usd))

    def lacking(self, tokens: int, micro_usd: int) -> None:
        """Keep it."""
        self.lacking_.append((tokens, micro_usd))

    def could_fit(self, dimension: Dimension, amount: int) -> bool:
        """Up to what it is set to."""
        return dimension == "usd" or amount <= self.most

    def standing(self, dimension: Dimension) -> tuple[int, int]:
        """What it is set to, of twice as much."""
        return (2 * self.most, self.most) if dimension == "tokens" else (0, 0)


@dataclass
class Company:
    """Sharing that keeps what it is told, with one log for all."""

    log: RateLog = field(default_factory=RateLog)
    pauses: list[tuple[str, str, float]] = field(default_factory=list)

    def rate(self, provider: str, model: str) -> Rate:  # noqa: ARG002  (one for all)
        """Return the one log."""
        return self.log

    def paused(self, provider: str, model: str, delay: float) -> None:
        """Keep it."""
        self.pauses.append((provider, model, delay))

    def pause_left(self, provider: str, model: str) -> float:  # noqa: ARG002  (one for all)
        """Return none."""
        return 0.0


async def test_what_lacks_is_asked_for_and_waited_for(autojump_clock: MockClock) -> None:
    """A budget with a supply is not used up before the supply says so."""
    shop, world = Shop(), make_world(tokens=0)
    world.budget.supply = shop

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(), ScriptedProvider(Step()).send)
        await wait_all_tasks_blocked()
        assert (shop.taken_, shop.lacking_) == ([], [(40, 0)])
        world.gate.set_budget(tokens=40, micro_usd=0)

    assert (shop.taken_, shop.lacking_) == ([(40, 0)], [(40, 0)])


async def test_only_budgets_that_lack_something_ask(autojump_clock: MockClock) -> None:
    """One that has room is not at fault."""
    run, role = Shop(), Shop()
    world = make_world(tokens=100, roles={"writer": Caps(tokens=0)})
    world.budget.supply, world.budget.roles["writer"].supply = run, role

    with trio.move_on_after(1):
        await world.gate.commit("writer", tokens=40, micro_usd=0)

    assert (run.lacking_, role.lacking_) == ([], [(40, 0)])
    world.assert_nothing_is_held()


async def test_the_supply_says_what_can_not_fit_and_what_there_is(autojump_clock: MockClock) -> None:
    """The budget's own numbers are those of a part."""
    world = make_world(tokens=0)
    world.budget.supply = Shop(most=39)

    with pytest.raises(BudgetExceededError, match=r"the budget of 78 tokens has 39 left, .* may cost 40 tokens"):
        await world.gate.call(make_call(), ScriptedProvider(Step()).send)


def test_money_is_asked_of_the_supply_too() -> None:
    """Both dimensions have one source."""
    budget = Budget("run", "", Caps(tokens=0, micro_usd=0))
    assert not budget.may_afford(1)

    budget.supply = Shop()

    assert budget.may_afford(1)


def test_a_lease_holds_what_it_is_set_to_and_charges_at_the_same_instant() -> None:
    """Nobody sees the budget with the one done and the other not."""
    tracker, seen = BudgetTracker(total=100), list[BudgetStatistics]()
    lease = Lease(tracker)
    tracker.watch(lambda: seen.append(tracker.statistics()))

    lease.change(60)
    lease.change(20, spent=30, unknown=10)

    assert seen == [BudgetStatistics(100, 0, 60, 0), BudgetStatistics(100, 30, 20, 10)]
    assert lease.amount == 20


@pytest.mark.parametrize(("amount", "spent", "unknown"), [(-1, 0, 0), (1, 1, 2), (1, -1, -1)])
def test_a_lease_refuses_what_can_not_be(amount: int, spent: int, unknown: int) -> None:
    """And changes nothing."""
    tracker = BudgetTracker(total=100)

    with pytest.raises(ValueError, match="can't lend"):
        Lease(tracker).change(amount, spent=spent, unknown=unknown)

    assert tracker.statistics() == BudgetStatistics(100, 0, 0, 0)


async def test_lanes_ask_the_shared_rate_and_tell_of_pauses(autojump_clock: MockClock) -> None:
    """Configured limits reach it as well."""
    company, world = Company(), make_world()
    gate = Gate(
        budget=world.budget,
        retry=RetryPolicy(max_attempts=1),
        requests_in_flight=5,
        attempt_timeout=None,
        record=lambda _: None,
        now=lambda: BEGIN,
        rng=random.Random(0),
        requests_per_minute=7,
        sharing=company,
    )
    assert gate.lane("openai", "tiny") is None
    refused = Step(error=RateLimitedError("slow down", retry_after=3.0), status_code=429)

    await gate.call(make_call(), ScriptedProvider(refused, Step()).send)

    assert company.pauses == [("openai", "tiny", 3.0)]
    assert company.log.limits == (7, None)
    lane = gate.lane("openai", "tiny")
    assert lane is not None
    assert company.log.so_far(trio.current_time())[2] == 2


async def test_a_shared_pause_holds_back_as_an_own_one_and_is_not_told_again(autojump_clock: MockClock) -> None:
    """Or two would tell each other for ever."""
    told: list[float] = []
    lane = Lane(AdaptiveLimit(2, 2, 2), on_pause=told.append)

    lane.share_pause(5)
    assert lane.statistics().cooldown == 5
    assert lane.acquire_nowait(0) is None
    assert told == []

    lane.cool_down(6)
    assert told == [6]


async def test_a_rate_that_changes_by_itself_lets_go_or_sends_away(autojump_clock: MockClock) -> None:
    """Who can't wait that long is told now; who may go goes."""
    log = RateLog(1)
    lane = Lane(AdaptiveLimit(5, 5, 5), log)
    lane.release(await lane.acquire(None, tokens=0))
    log.hold(0)
    ended: list[str] = []

    async def wait(deadline: float) -> None:
        try:
            await lane.acquire(None, tokens=0, deadline=deadline)
            ended.append("place")
        except WaitIsTooLongError as exc:
            ended.append(f"refused until {exc.until:g}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, 10.0)
        await wait_all_tasks_blocked()
        nursery.start_soon(wait, 1000.0)
        await wait_all_tasks_blocked()
        log.release(0)
        log.pause(50)
        lane.rate_changed()
        await wait_all_tasks_blocked()
        assert ended == ["refused until 50"]
        await trio.sleep(51)
        lane.rate_changed()

    assert ended == ["refused until 50", "place"]


def test_the_room_of_a_log_is_what_nothing_counts_against() -> None:
    """Several requests are held, ended and given back at once."""
    log = RateLog(10, 1000)
    assert log.room(0.0) == (10, 1000)

    log.hold(300, requests=3)
    log.settle(1.0, reserved=200, actual=50, requests=2)
    assert log.room(1.0) == (7, 850)
    assert log.so_far(1.0) == (1, 100, 2, 50)
    log.release(100, requests=1)
    assert log.room(1.0) == (8, 950)

    log.pause(5.0)
    assert log.room(4.0) == (0, 0)
    assert log.room(70.0) == (10, 1000)
    log.hold(5000, requests=50)
    assert log.room(70.0) == (0, 0)
    assert RateLog().room(0.0) == (float("inf"), float("inf"))
