"""What each end of an attempt charges, and that no number of callers passes the cap."""

import contextlib
import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tests.control.world import WORST, FlatPrice, World, make_call, make_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.budget import BudgetStatistics
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import (
    AttemptTimeoutError,
    BudgetExceededError,
    ConnectionLostError,
    CredentialsRejectedError,
    IncompleteAnswerError,
    ModelProtocolError,
    ProviderError,
    ProviderUnreachableError,
    QuotaExhaustedError,
    RateLimitedError,
    RequestRejectedError,
    ServerError,
)
from agent_pipeline.testing import ScriptedProvider, Step

ONCE = RetryPolicy(max_attempts=1, max_rate_limits=0, max_bad_answers=1)
USED = Usage(20, 5)


def failed(error: ProviderError) -> Step:
    """Return a step that ends so after its request was sent."""
    return Step(error=error, status_code=error.status_code)


SETTLED = {
    "answered": Step(usage=USED),
    "answered, then judged incomplete": Step(usage=USED, error=IncompleteAnswerError("cut")),
    "answered, then judged malformed": Step(usage=USED, error=ModelProtocolError("empty")),
    "an error status that reports usage": Step(usage=USED, error=ServerError("late", status_code=500)),
}
RELEASED = {
    "never dispatched": Step(error=ProviderUnreachableError("refused"), reaches=False),
    "timed out while connecting": Step(error=AttemptTimeoutError(attempt=1, rung="connect", timeout=5), reaches=False),
    "302": failed(ModelProtocolError("a redirect", status_code=302)),
    "400": failed(RequestRejectedError("no", status_code=400)),
    "401": failed(CredentialsRejectedError("no", status_code=401)),
    "402": failed(QuotaExhaustedError("no", status_code=402)),
    "429": failed(RateLimitedError("slow down")),
    "500": failed(ServerError("oops", status_code=500)),
    "503": failed(ServerError("busy", status_code=503)),
}
FORFEITED = {
    "answered without usage": Step(),
    "malformed without usage": failed(ModelProtocolError("html", status_code=200)),
    "dispatched, then lost": failed(ConnectionLostError("reset")),
    "read timeout": failed(AttemptTimeoutError(attempt=1, rung="read", timeout=60)),
    "attempt timeout": Step(latency=31),
    "an error inside a 200": failed(ServerError("reported", status_code=200)),
    "408": failed(ServerError("timeout", status_code=408)),
    "504": failed(ServerError("timeout", status_code=504)),
    "524": failed(ServerError("timeout", status_code=524)),
}


async def charge(world: World, step: Step) -> None:
    """Make one attempt of a call with a price of 3 micro-dollars per token, whatever becomes of it."""
    try:
        await world.gate.call(make_call(price=FlatPrice(3)), ScriptedProvider(step).send)
    except ProviderError:
        assert step.error is not None or step.latency > 0


@pytest.mark.parametrize("step", SETTLED.values(), ids=SETTLED)
async def test_reported_usage_is_what_is_charged(step: Step, autojump_clock: MockClock) -> None:
    """Also where the answer is then refused: it was billed all the same."""
    world = make_world(tokens=WORST, micro_usd=3 * WORST, policy=ONCE)

    await charge(world, step)

    assert world.tokens == BudgetStatistics(total=WORST, spent=25, reserved=0, unknown=0)
    assert world.money == BudgetStatistics(total=3 * WORST, spent=75, reserved=0, unknown=0)
    assert [(record.charged_tokens, record.cost_micro_usd) for record in world.records] == [(25, 75)]
    assert world.gate.statistics().usage == USED


@pytest.mark.parametrize("step", RELEASED.values(), ids=RELEASED)
async def test_a_request_nobody_worked_on_is_free(step: Step, autojump_clock: MockClock) -> None:
    """It never left, or was refused without a model."""
    world = make_world(tokens=WORST, micro_usd=3 * WORST, attempt_timeout=30, policy=ONCE)

    await charge(world, step)

    assert world.tokens == BudgetStatistics(total=WORST, spent=0, reserved=0, unknown=0)
    assert world.money == BudgetStatistics(total=3 * WORST, spent=0, reserved=0, unknown=0)
    assert [(record.reserved_tokens, record.charged_tokens, record.cost_micro_usd) for record in world.records] == [
        (WORST, 0, 0)
    ]
    assert world.gate.statistics().attempts == step.reaches


@pytest.mark.parametrize("step", FORFEITED.values(), ids=FORFEITED)
async def test_an_attempt_whose_cost_nobody_told_is_charged_in_full(step: Step, autojump_clock: MockClock) -> None:
    """The provider may bill it, so the worst case is spent, and shown as unknown."""
    world = make_world(tokens=WORST, micro_usd=3 * WORST, attempt_timeout=30, policy=ONCE)

    await charge(world, step)

    assert world.tokens == BudgetStatistics(total=WORST, spent=WORST, reserved=0, unknown=WORST)
    assert world.money == BudgetStatistics(total=3 * WORST, spent=3 * WORST, reserved=0, unknown=3 * WORST)
    assert [(record.charged_tokens, record.cost_micro_usd) for record in world.records] == [(WORST, 3 * WORST)]


@pytest.mark.parametrize(("connecting", "latency", "spent"), [(10, 10, 0), (1, 10, WORST)])
async def test_a_cancelled_attempt_is_charged_if_it_may_have_left(
    connecting: float, latency: float, spent: int, autojump_clock: MockClock
) -> None:
    """Before the first byte it costs nothing, after it the worst case."""
    world = make_world(tokens=WORST)
    provider = ScriptedProvider(Step(connecting=connecting, latency=latency, usage=USED))

    with trio.move_on_after(5):
        await world.gate.call(make_call(), provider.send)

    assert world.tokens == BudgetStatistics(total=WORST, spent=spent, reserved=0, unknown=spent)
    assert [(record.outcome, record.sent, record.charged_tokens) for record in world.records] == [
        ("cancelled", spent > 0, spent)
    ]


@pytest.mark.parametrize(("step", "cost"), [(Step(usage=USED), None), (Step(), None), (RELEASED["400"], 0)])
async def test_the_cost_of_an_unknown_price_is_unknown_not_nothing(
    step: Step, cost: int | None, autojump_clock: MockClock
) -> None:
    """A sum with a part missing has to say so; only what was free is known to be."""
    world = make_world(policy=ONCE)
    try:
        await world.gate.call(make_call(price=None), ScriptedProvider(step).send)
    except RequestRejectedError:
        assert cost == 0

    assert world.records[0].cost_micro_usd == cost
    assert world.gate.statistics().unknown_cost == (cost is None)
    assert world.money.spent == 0


@pytest.mark.parametrize("step", [Step(usage=USED), Step()])
async def test_a_known_price_leaves_no_cost_unknown(step: Step, autojump_clock: MockClock) -> None:
    """Also of an attempt charged in full."""
    world = make_world()

    await world.gate.call(make_call(price=FlatPrice(3)), ScriptedProvider(step).send)

    assert not world.gate.statistics().unknown_cost


async def test_usage_above_the_worst_case_is_charged_and_ends_the_budget(autojump_clock: MockClock) -> None:
    """It was billed; the next call is refused, and the message never shows less than nothing left."""
    world = make_world(tokens=2 * WORST)
    await world.gate.call(make_call(), ScriptedProvider(Step(usage=Usage(90, 9))).send)

    with pytest.raises(BudgetExceededError, match="the budget of 80 tokens has 0 left"):
        await world.gate.call(make_call(), ScriptedProvider().send)

    assert world.tokens == BudgetStatistics(total=2 * WORST, spent=99, reserved=0, unknown=0)


async def test_money_is_a_budget_of_its_own(autojump_clock: MockClock) -> None:
    """Tokens are left, money is not; nothing of either stays held."""
    world, provider = make_world(tokens=10 * WORST, micro_usd=3 * WORST - 1), ScriptedProvider()

    with pytest.raises(BudgetExceededError, match=r"the budget of \$0\.000119 has \$0\.000119 left") as caught:
        await world.gate.call(make_call(price=FlatPrice(3)), provider.send)

    assert caught.value.dimension == "usd"
    assert "may cost $0.000120;" in str(caught.value)
    assert provider.attempts == []
    world.assert_nothing_is_held()


async def test_a_budget_of_nothing_lets_nothing_through(autojump_clock: MockClock) -> None:
    """Zero is a cap, not its absence."""
    world, provider = make_world(tokens=0), ScriptedProvider()

    with pytest.raises(BudgetExceededError, match="the budget of 0 tokens has 0 left"):
        await world.gate.call(make_call(), provider.send)

    assert provider.attempts == []


@pytest.mark.parametrize(("tokens", "micro_usd"), [(61, 0), (500, 0), (0, 1_000)])
async def test_a_run_that_goes_on_is_refused_what_its_earlier_sessions_left_no_room_for(
    tokens: int, micro_usd: int, autojump_clock: MockClock
) -> None:
    """At its first request, and without sending it; also where the cap was set below what is spent."""
    world = make_world(tokens=100, micro_usd=900, spent_tokens=tokens, spent_micro_usd=micro_usd)
    provider = ScriptedProvider()

    with pytest.raises(BudgetExceededError, match=r"has (\$0|0|39) left"):
        await world.gate.call(make_call(), provider.send)

    assert provider.attempts == []
    assert world.records == []


async def test_the_budget_that_runs_out_between_attempts_ends_the_call(autojump_clock: MockClock) -> None:
    """A retry is a request like any other."""
    world = make_world(tokens=2 * WORST - 1)
    provider = ScriptedProvider(failed(ConnectionLostError("reset")))

    with pytest.raises(BudgetExceededError):
        await world.gate.call(make_call(), provider.send)

    assert len(provider.attempts) == 1
    assert world.tokens == BudgetStatistics(total=2 * WORST - 1, spent=WORST, reserved=0, unknown=WORST)


@pytest.mark.parametrize("step", [Step(usage=USED, latency=9), Step(error=RequestRejectedError("no"), latency=9)])
async def test_whoever_ends_wakes_who_waits_for_budget(step: Step, autojump_clock: MockClock) -> None:
    """However it ends: a waiter nobody wakes waits for ever."""
    world = make_world(tokens=2 * WORST)
    woken: list[float] = []

    async def ask() -> None:
        with contextlib.suppress(RequestRejectedError, BudgetExceededError):
            await world.gate.call(make_call(), ScriptedProvider(step).send)
        woken.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask)

    assert woken[:2] == [9, 9]
    assert woken[-1] in {9, 18}
    world.assert_nothing_is_held()


async def test_all_who_fit_are_woken_at_once(autojump_clock: MockClock) -> None:
    """One large hold that ends makes room for several."""
    world = make_world(tokens=2 * WORST + 25)
    hog = ScriptedProvider(Step(usage=USED, latency=9))
    provider = ScriptedProvider(Step(usage=USED, latency=1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gate.call, make_call(input_tokens_bound=2 * WORST), hog.send)
        await wait_all_tasks_blocked()
        for _ in range(2):
            nursery.start_soon(world.gate.call, make_call(), provider.send)

    assert provider.attempts == [(1, 9), (1, 9)]


async def test_a_waiter_is_woken_by_one_that_is_cancelled(autojump_clock: MockClock) -> None:
    """Its hold comes back with it."""
    world = make_world(tokens=WORST)
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope(deadline=5)

        async def be_cancelled() -> None:
            with scope:
                await world.gate.call(make_call(), ScriptedProvider(Step(connecting=99)).send)

        nursery.start_soon(be_cancelled)
        await wait_all_tasks_blocked()
        await world.gate.call(make_call(), ScriptedProvider(Step(usage=USED)).send)

    assert trio.current_time() == 5


@pytest.mark.parametrize(("tokens", "answers"), [(2 * WORST, 2), (None, 2), (WORST, 1), (1, 1), (0, 1)])
async def test_a_new_cap_wakes_who_waits_for_budget(
    tokens: int | None, answers: int, autojump_clock: MockClock
) -> None:
    """Raised, it lets them go at once; lowered, it tells those that will never fit. What is in flight goes on."""
    world = make_world(tokens=WORST)
    provider = ScriptedProvider(Step(usage=Usage(WORST, 0), latency=9))
    refused: list[float] = []

    async def ask() -> None:
        try:
            await world.gate.call(make_call(), provider.send)
        except BudgetExceededError:
            refused.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await trio.sleep(2)
        world.gate.set_budget(tokens=tokens, micro_usd=None)

    assert provider.attempts == [(1, 0), (1, 2)][:answers]
    assert refused == ([] if answers == 2 else [9 if tokens == WORST else 2])
    world.assert_nothing_is_held()


class CapWatch(trio.abc.Instrument):
    """Looks at the budget after each step of any task."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.highest = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002  (the signature is Trio's)
        """Remember the most that was ever spent and held."""
        tokens = self.world.tokens
        self.highest = max(self.highest, tokens.spent + tokens.reserved)


async def crowd(world: World, *, callers: int, seed: int, cancel: bool) -> tuple[int, int]:
    """Let many callers ask at once with mixed luck; return how many were refused and how many got an answer."""
    rng, refused, answered = random.Random(seed), 0, 0

    async def ask(patience: float, step: Step) -> None:
        nonlocal refused, answered
        with trio.move_on_after(patience):
            try:
                await world.gate.call(make_call(), ScriptedProvider(step).send)
                answered += 1
            except BudgetExceededError:
                refused += 1
            except ProviderError:
                pass

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            latency, connecting = rng.uniform(0.1, 2), rng.uniform(0, 0.2)
            usage = Usage(rng.randint(0, 30), rng.randint(0, 10)) if rng.random() < 0.9 else None
            error = RequestRejectedError("no", status_code=400) if rng.random() < 0.1 else None
            step = Step(latency=latency, connecting=connecting, usage=usage, error=error)
            nursery.start_soon(ask, rng.uniform(0, 5) if cancel else 80_000, step)
    return refused, answered


async def test_a_thousand_callers_never_pass_a_cap_for_37(autojump_clock: MockClock) -> None:
    """At no instant is more spent and held than allowed, and less than one worst case is left unused."""
    cap = 37 * WORST + 13
    world = make_world(tokens=cap, in_flight=100)
    watch = CapWatch(world)
    trio.lowlevel.add_instrument(watch)

    refused, answered = await crowd(world, callers=1_000, seed=1, cancel=False)

    assert 37 * WORST <= watch.highest <= cap
    assert 0 <= cap - world.tokens.spent < WORST
    assert answered >= 37
    assert refused > 0
    world.assert_nothing_is_held()


@given(seed=st.integers(0, 2**32), cap=st.integers(0, 60 * WORST), in_flight=st.integers(1, 60))
def test_no_crowd_that_is_cancelled_at_random_passes_any_cap(seed: int, cap: int, in_flight: int) -> None:
    """Spent and held stay within the cap at every step, and in the end nothing is held."""

    async def main() -> None:
        world = make_world(tokens=cap, in_flight=in_flight)
        watch = CapWatch(world)
        trio.lowlevel.add_instrument(watch)
        await crowd(world, callers=100, seed=seed, cancel=True)
        assert watch.highest <= cap
        world.assert_nothing_is_held()

    trio.run(main, clock=MockClock(autojump_threshold=0))
