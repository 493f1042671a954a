"""Limits per minute over several workers, in virtual time: measured at the provider, kept and used."""

import random
from bisect import bisect_right

import pytest
import trio
from tests.control.world import limited
from tests.engines.office import Office, Send, Worker, ask
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.control.allowance import Allowance, RateHeaders
from agent_pipeline.control.budget import RunBudget
from agent_pipeline.control.call import Attempt
from agent_pipeline.domain.usage import Usage
from agent_pipeline.engines.messages import Command, Pause, Paused, RateGrant, RateTaken, RateUsed, RateWanted
from agent_pipeline.errors import WaitTooLongError
from agent_pipeline.testing import ScriptedProvider, Step

LANE = ("openai", "tiny")


def most_in_a_minute(arrivals: list[float]) -> int:
    """Return the most arrivals in any 60 s, both ends included."""
    ordered = sorted(arrivals)
    return max(bisect_right(ordered, at + 60) - number for number, at in enumerate(ordered))


def arriving(rng: random.Random, arrivals: list[float], latency: float = 1.0, used: int = 40) -> Send:
    """Return a provider that a request reaches at any time between its sending and its end."""

    async def send(attempt: Attempt) -> str:
        attempt.dispatch()
        sent, took = trio.current_time(), rng.random() * latency
        await trio.sleep(took)
        attempt.usage = Usage(used, 0)
        arrivals.append(rng.choice([sent, sent + rng.random() * took, sent + took]))
        return "done"

    return send


async def keep_busy(worker: Worker, send: Send, document: str) -> None:
    """Ask for ever."""
    while True:
        await ask(worker, send, document)


@pytest.mark.parametrize("seed", range(20))
def test_any_minute_at_the_provider_is_within_the_limit_and_nearly_all_of_it_is_used(seed: int) -> None:
    """Whatever messages are late or lost, over two workers; and 95 % of what one could send at most, at least."""
    rng = random.Random(seed)
    per_minute, minutes = rng.choice([30, 80]), 4
    limits = {rng.choice(["requests_per_minute", "tokens_per_minute"]): per_minute}
    if "tokens_per_minute" in limits:
        limits["tokens_per_minute"] *= 40
    arrivals: list[float] = []

    def loses(command: Command) -> bool:
        return isinstance(command, RateGrant) and seed % 4 == 0 and rng.random() < 0.02

    async def main() -> None:
        office = Office(RunBudget(), rng, slowest=0.2, loses=loses, **limits)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(office.rates.run)
            for number in (1, 2):
                worker = await office.hire(nursery, number, leased=(), in_flight=40)
                for document in range(40):
                    nursery.start_soon(keep_busy, worker, arriving(rng, arrivals), f"{number} {document}")
            await trio.sleep(60 * minutes / 0.95)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert most_in_a_minute(arrivals) <= per_minute
    if seed % 4:
        # A minute's worth goes at the beginning of each; so that of the fifth has begun by now.
        assert len(arrivals) > minutes * per_minute


def test_a_lost_worker_leaves_its_part_of_the_minute_to_the_others() -> None:
    """What it may have sent counts for a minute more; then the other has all."""
    rng = random.Random(0)
    arrivals: list[float] = []

    async def main() -> None:
        office = Office(RunBudget(), rng, requests_per_minute=30)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(office.rates.run)
            first, second = [await office.hire(nursery, number, leased=()) for number in (1, 2)]
            nursery.start_soon(keep_busy, second, arriving(rng, arrivals), "other")
            async with trio.open_nursery() as lost:
                lost.start_soon(keep_busy, first, arriving(rng, arrivals), "one")
                await trio.sleep(90)
                lost.cancel_scope.cancel()
            office.kill(first)
            before = len(arrivals)
            await trio.sleep(130)
            assert len(arrivals) - before >= 60
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert most_in_a_minute(arrivals) <= 30


async def test_without_limits_nothing_is_asked(autojump_clock: MockClock) -> None:
    """The way to the driver costs time and CPU."""
    office = Office(RunBudget())
    async with trio.open_nursery() as nursery:
        worker = await office.hire(nursery, 1, leased=())
        await ask(worker, ScriptedProvider(Step(usage=Usage(1, 1))).send, "one")
        nursery.cancel_scope.cancel()

    assert {type(one).__name__ for one in worker.said} == {"Attempted"}


async def test_what_is_not_used_in_time_is_given_back(autojump_clock: MockClock) -> None:
    """So that it is the other's."""
    office = Office(RunBudget(), requests_per_minute=4)
    provider = ScriptedProvider(Step(usage=Usage(1, 1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.rates.run)
        one, other = [await office.hire(nursery, number, leased=()) for number in (1, 2)]
        await ask(one, provider.send, "one")
        await trio.sleep(2)
        used = [said for said in one.said if isinstance(said, RateUsed)]
        assert sum(said.returned_requests for said in used) == 3

        for _ in range(3):
            await ask(other, provider.send, "other")
        assert trio.current_time() < 5
        nursery.cancel_scope.cancel()


async def test_limits_that_a_provider_announces_to_one_hold_for_all(autojump_clock: MockClock) -> None:
    """What went before is counted too."""
    headers = RateHeaders(Allowance(limit=3, remaining=2, reset=20.0), Allowance())
    office = Office(RunBudget())
    arrivals: list[float] = []

    async def send(attempt: Attempt) -> str:
        attempt.dispatch()
        arrivals.append(trio.current_time())
        attempt.rate_headers, attempt.usage = headers, Usage(1, 1)
        await trio.sleep(0.1)
        return "done"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.rates.run)
        workers = [await office.hire(nursery, number, leased=()) for number in (1, 2)]
        for worker in workers:
            await ask(worker, send, "first")
            await trio.sleep(1)
        assert [said for worker in workers for said in worker.said if isinstance(said, RateTaken)]
        late = await office.hire(nursery, 3, leased=())
        await trio.sleep(1)
        for number in range(4):
            await ask((*workers, late)[number % 3], send, "later")
        nursery.cancel_scope.cancel()

    assert len(arrivals) == 6
    assert most_in_a_minute(arrivals) <= 3


async def test_a_provider_that_says_nothing_is_left_holds_back_all(autojump_clock: MockClock) -> None:
    """With the pause that its headers name."""
    headers = RateHeaders(Allowance(limit=100, remaining=0, reset=30.0), Allowance())
    office = Office(RunBudget(), requests_per_minute=100)
    begun: list[float] = []

    async def send(attempt: Attempt) -> str:
        attempt.dispatch()
        begun.append(trio.current_time())
        attempt.rate_headers, attempt.usage = headers, Usage(1, 1)
        return "done"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.rates.run)
        one, other = [await office.hire(nursery, number, leased=()) for number in (1, 2)]
        await ask(one, send, "one")
        await trio.sleep(1)
        await ask(other, send, "other")
        nursery.cancel_scope.cancel()

    assert begun[1] - begun[0] == pytest.approx(30, abs=0.1)


async def test_a_refusal_that_one_worker_meets_pauses_all(autojump_clock: MockClock) -> None:
    """The provider asked all of us to wait; it is told once, however many were refused at that moment."""
    office = Office(RunBudget())
    async with trio.open_nursery() as nursery:
        one, other = [await office.hire(nursery, number, leased=()) for number in (1, 2)]
        await ask(other, ScriptedProvider(Step(usage=Usage(1, 1))).send, "before")
        refused = ScriptedProvider(*[limited(20)] * 5, Step(usage=Usage(1, 1)))
        for number in range(5):
            nursery.start_soon(ask, one, refused.send, str(number))
        await trio.sleep(0.5)
        assert other.gate.statistics().lanes[LANE].cooldown == pytest.approx(19.5, abs=0.1)

        begun = trio.current_time()
        await ask(other, ScriptedProvider(Step(usage=Usage(1, 1))).send, "after")
        assert trio.current_time() - begun == pytest.approx(19.5, abs=0.1)
        nursery.cancel_scope.cancel()

    assert [said for said in one.said if isinstance(said, Paused)] == [Paused(*LANE, 20)]
    assert [said for said in other.said if isinstance(said, Paused)] == []
    assert not [heard for heard in one.heard if isinstance(heard, Pause)]


async def test_a_pause_holds_for_a_worker_to_which_the_model_is_new(autojump_clock: MockClock) -> None:
    """It has heard of it before its first request; what is left of the pause then, it waits."""
    office = Office(RunBudget())
    async with trio.open_nursery() as nursery:
        one, other = [await office.hire(nursery, number, leased=()) for number in (1, 2)]
        nursery.start_soon(ask, one, ScriptedProvider(limited(20), Step(usage=Usage(1, 1))).send, "refused")
        await trio.sleep(5)

        begun = trio.current_time()
        await ask(other, ScriptedProvider(Step(usage=Usage(1, 1))).send, "first")
        assert trio.current_time() - begun == pytest.approx(15, abs=0.1)
        nursery.cancel_scope.cancel()


async def test_limits_change_while_a_run_goes_on(autojump_clock: MockClock) -> None:
    """Where there was none there may be one, and the other way round."""
    office = Office(RunBudget())
    provider = ScriptedProvider(Step(usage=Usage(1, 1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.rates.run)
        worker = await office.hire(nursery, 1, leased=())
        await ask(worker, provider.send, "one")
        office.rates.configure(2, None)
        await trio.sleep(0.1)

        begun = trio.current_time()
        for _ in range(2):
            await ask(worker, provider.send, "two")
        assert trio.current_time() - begun > 59

        nursery.start_soon(ask, worker, provider.send, "three")
        nursery.start_soon(ask, worker, provider.send, "four")
        await trio.sleep(1)
        assert worker.gate.statistics().lanes[LANE].waiting == 2
        office.rates.configure(None, None)
        await trio.sleep(1)
        assert worker.gate.statistics().lanes[LANE].waiting == 0
        nursery.cancel_scope.cancel()


async def test_a_wait_that_outlasts_the_deadline_fails_when_the_driver_says_so(autojump_clock: MockClock) -> None:
    """As in one process: nobody waits for a failure that is known."""
    office = Office(RunBudget(), requests_per_minute=1)
    provider = ScriptedProvider(Step(usage=Usage(1, 1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.rates.run)
        one, other = [await office.hire(nursery, number, leased=()) for number in (1, 2)]
        await ask(one, provider.send, "one")
        await trio.sleep(2)

        begun = trio.current_time()
        with pytest.raises(WaitTooLongError), trio.fail_after(30):
            await ask(other, provider.send, "other")
        assert trio.current_time() - begun < 0.5
        nursery.cancel_scope.cancel()


async def test_a_cancelled_waiter_leaves_his_grant_to_the_next(autojump_clock: MockClock) -> None:
    """Or gives it back unused; nothing stays open."""
    office = Office(RunBudget(), requests_per_minute=1, slowest=0.5)
    provider = ScriptedProvider(Step(usage=Usage(1, 1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.rates.run)
        worker, other = [await office.hire(nursery, number, leased=()) for number in (1, 2)]
        with trio.move_on_after(0.01):
            await ask(worker, provider.send, "cancelled")
        await trio.sleep(3)

        begun = trio.current_time()
        await ask(other, provider.send, "next")
        assert trio.current_time() - begun < 2
        nursery.cancel_scope.cancel()

    assert provider.attempts[0][1] == pytest.approx(begun, abs=2)


async def test_an_oversized_request_goes_alone(autojump_clock: MockClock) -> None:
    """Its bound is a pessimistic one, and it would never go otherwise."""
    office = Office(RunBudget(), tokens_per_minute=100)
    provider = ScriptedProvider(Step(usage=Usage(30, 0)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.rates.run)
        worker = await office.hire(nursery, 1, leased=())
        await ask(worker, provider.send, "small")
        await ask(worker, provider.send, "large", tokens=500)
        nursery.cancel_scope.cancel()

    assert provider.attempts[1][1] - provider.attempts[0][1] > 60


async def test_two_who_wait_share_what_becomes_free(autojump_clock: MockClock) -> None:
    """In equal parts, whoever asked first and for however many."""
    office = Office(RunBudget(), requests_per_minute=20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.rates.run)
        for number in (1, 2):
            await office.hire(nursery, number, leased=())
        office.rates.take(1, RateWanted("all", *LANE, 20, 800, 40))
        office.rates.take(1, RateUsed(*LANE, 0, 0, 0, 20, 800))
        office.rates.take(1, RateWanted("again", *LANE, 20, 800, 40))
        await wait_all_tasks_blocked()
        office.rates.take(2, RateWanted("a", *LANE, 100, 4000, 40))
        office.rates.take(1, RateWanted("b", *LANE, 100, 4000, 40))
        office.rates.take(1, RateUsed(*LANE, 0, 0, 0, 20, 800))
        granted = [
            (number, one.lease_id, one.requests)
            for number, worker in office.workers.items()
            for _, one in worker.commands
            if isinstance(one, RateGrant) and one.requests
        ]
        nursery.cancel_scope.cancel()

    assert granted == [(1, "all", 20), (1, "again", 20), (1, "b", 10), (2, "a", 10)]
