"""Workers with gates of their own under one budget, in virtual time: what they use, are refused and leave behind."""

import random
from collections.abc import Sequence
from contextlib import suppress

import pytest
import trio
from tests.engines.office import Office, Send, Worker, ask, provider
from trio.testing import MockClock

from agent_pipeline.control.budget import Budget, BudgetStatistics, Caps, RunBudget
from agent_pipeline.control.call import Attempt
from agent_pipeline.domain.usage import Usage
from agent_pipeline.engines.messages import Attempted, Command, Grant, LeaseReturned, Recall
from agent_pipeline.errors import BudgetExceededError
from agent_pipeline.testing import ScriptedProvider, Step

CAP = 10_000


def unheard(worker: Worker) -> int:
    """Return how many requests have left that are on no record but the worker's own."""
    return sum(isinstance(one, Attempted) and one.record.outcome is None for _, one in worker.reports)


async def at_the_worst_instant(workers: Sequence[Worker], enough: int) -> Worker:
    """Wait for a while until so much has left somebody unheard; return who has most of that."""
    with trio.move_on_after(2):
        while max(map(unheard, workers)) < enough:  # noqa: ASYNC110 - nobody rings for it
            await trio.sleep(0.01)
    return max(workers, key=unheard)


def billed(rng: random.Random, bill: list[int]) -> Send:
    """Return a provider that bills a request that is cut off at its worst, and others at what they cost."""

    async def send(attempt: Attempt) -> str:
        attempt.dispatch()
        place = len(bill)
        bill.append(40)
        await trio.sleep(rng.random())
        bill[place] = rng.randint(20, 40)
        attempt.usage = Usage(bill[place], 0)
        return "done"

    return send


async def answer(attempt: Attempt) -> str:
    """Answer after a second, for 10 tokens."""
    attempt.dispatch()
    await trio.sleep(1)
    attempt.usage = Usage(10, 0)
    return "done"


@pytest.mark.parametrize("seed", range(4))
def test_a_budget_is_used_up_by_many_workers_as_by_one(seed: int) -> None:
    """Whoever is refused is refused rightly; what is left is less than one request; answers may get lost on the way."""
    rng = random.Random(seed)
    workers = rng.choice([2, 5, 8])
    true_spend: list[int] = []
    refused: list[BudgetExceededError] = []

    def loses(command: Command) -> bool:
        return isinstance(command, Grant) and rng.random() < 0.02

    async def work(worker: Worker, document: str) -> None:
        send = provider(rng, true_spend)
        try:
            while True:
                await ask(worker, send, document, tokens=rng.choice([40, 60]))
        except BudgetExceededError as exc:
            assert CAP - sum(true_spend) < 60
            refused.append(exc)

    async def main() -> None:
        office = Office(RunBudget(tokens=CAP), rng, loses=loses)
        async with trio.open_nursery() as nursery:
            hired = [await office.hire(nursery, number) for number in range(1, workers + 1)]
            async with trio.open_nursery() as documents:
                for worker in hired:
                    for number in range(8):
                        documents.start_soon(work, worker, f"{worker.number} {number}")
            for worker in hired:
                await office.retire(worker)
            nursery.cancel_scope.cancel()
        spent = sum(true_spend)
        assert office.budget.tokens.statistics() == BudgetStatistics(CAP, spent, reserved=0, unknown=0)
        assert CAP - spent <= 0.03 * CAP
        assert [one.dimensions for one in refused] == [("tokens",)] * 8 * workers
        assert str(refused[0]).startswith(f"the budget of {CAP:,} tokens has ")

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("seed", range(4))
def test_lost_workers_cost_what_was_under_way_and_nothing_else(seed: int) -> None:
    """What they had proved stays spent; what had left becomes unknown; the rest is used by the others to its end."""
    rng = random.Random(seed)
    true_spend: list[int] = []

    async def work(worker: Worker, document: str) -> None:
        send = provider(rng, true_spend)
        try:
            while True:
                await ask(worker, send, document)
        except BudgetExceededError:
            return

    async def main() -> None:
        office = Office(RunBudget(tokens=CAP), rng, slowest=0.002)
        at_risk = 0
        async with trio.open_nursery() as nursery:
            hired = [await office.hire(nursery, number) for number in range(1, 5)]
            scopes = {worker.number: trio.CancelScope() for worker in hired}

            async def documents_of(worker: Worker) -> None:
                with scopes[worker.number]:
                    async with trio.open_nursery() as documents:
                        for number in range(8):
                            documents.start_soon(work, worker, f"{worker.number} {number}")

            async with trio.open_nursery() as all_documents:
                for worker in hired:
                    all_documents.start_soon(documents_of, worker)
                for worker in hired[:2]:
                    await trio.sleep(3 + rng.random())
                    before = office.budget.tokens.statistics()
                    office.kill(worker)
                    after = office.budget.tokens.statistics()
                    at_risk += after.unknown - before.unknown
                    assert after.unknown - before.unknown <= 8 * 40
                    scopes[worker.number].cancel()
            for worker in hired[2:]:
                await office.retire(worker)
            nursery.cancel_scope.cancel()
        counted = office.budget.tokens.statistics()
        assert (counted.reserved, counted.unknown) == (0, at_risk)
        assert sum(true_spend) <= counted.spent <= CAP
        assert CAP - counted.spent <= 0.03 * CAP

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("seed", range(20))
def test_what_is_billed_is_within_the_cap_whoever_is_killed_before_he_could_tell(seed: int) -> None:
    """Three workers killed when most of theirs has left unheard; a request that was cut off is billed at its worst."""
    rng = random.Random(seed)
    bill: list[int] = []

    async def work(worker: Worker, document: str) -> None:
        with suppress(BudgetExceededError):
            while True:
                await ask(worker, billed(rng, bill), document)

    async def main() -> None:
        office = Office(RunBudget(tokens=CAP), rng, slowest=rng.choice([0.02, 0.2, 1.0]))
        async with trio.open_nursery() as nursery:
            alive = [await office.hire(nursery, number) for number in range(1, 6)]
            scopes = {worker.number: trio.CancelScope() for worker in alive}

            async def documents_of(worker: Worker) -> None:
                with scopes[worker.number]:
                    async with trio.open_nursery() as documents:
                        for number in range(4):
                            documents.start_soon(work, worker, f"{worker.number} {number}")

            async with trio.open_nursery() as all_documents:
                for worker in alive:
                    all_documents.start_soon(documents_of, worker)
                for _ in range(3):
                    await trio.sleep(rng.random())
                    worker = await at_the_worst_instant(alive, rng.choice([1, 2, 4]))
                    alive.remove(worker)
                    office.kill(worker)
                    scopes[worker.number].cancel()
            for worker in alive:
                await office.retire(worker)
            nursery.cancel_scope.cancel()
        counted = office.budget.tokens.statistics()
        assert sum(bill) <= CAP
        assert counted.reserved == 0
        assert CAP - counted.spent <= 0.03 * CAP

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("requests", [1, 5, 10])
async def test_twenty_documents_take_one_question_at_most(autojump_clock: MockClock, requests: int) -> None:
    """Far from its end a budget is asked for rarely, and nobody waits for an answer but at the very beginning."""
    documents = 300
    office = Office(RunBudget(tokens=10_000_000))
    async with trio.open_nursery() as nursery:
        workers = [await office.hire(nursery, number) for number in (1, 2)]

        async def work(worker: Worker, document: str) -> None:
            for _ in range(requests):
                await ask(worker, answer, document)

        async with trio.open_nursery() as documents_of_all:
            for number in range(documents):
                documents_of_all.start_soon(work, workers[number % 2], str(number))
        nursery.cancel_scope.cancel()

    assert sum(len(worker.asked()) for worker in workers) <= documents / 20


async def test_nobody_waits_for_budget_once_there_was_some(autojump_clock: MockClock) -> None:
    """More is asked for while half is left, so that an answer that takes its time costs none."""
    office = Office(RunBudget(tokens=1_000_000), slowest=0.5)
    async with trio.open_nursery() as nursery:
        worker = await office.hire(nursery, 1)
        for number in range(600):
            await ask(worker, answer, str(number))
        nursery.cancel_scope.cancel()

    reasons = [one.record.wait_reason for one in worker.said if isinstance(one, Attempted)]
    assert reasons[:2] == ["budget"] * 2
    assert set(reasons[2:]) == {None}
    assert len(worker.asked()) > 1


async def test_a_cancelled_waiter_leaks_nothing(autojump_clock: MockClock) -> None:
    """What was asked for on his behalf arrives, and the next one goes with it at once."""
    office = Office(RunBudget(tokens=80), slowest=1.0)
    async with trio.open_nursery() as nursery:
        worker = await office.hire(nursery, 1)
        with trio.move_on_after(0.001):
            await ask(worker, answer, "cancelled")
        assert worker.gate.statistics().lanes["openai", "tiny"].waiting == 0
        await trio.sleep(3)
        assert worker.leases.budget.tokens.statistics().reserved == 0
        assert worker.leases.budget.tokens.total == office.budget.tokens.statistics().reserved == 40

        begun = trio.current_time()
        await ask(worker, answer, "next")
        assert trio.current_time() == begun + 1
        await office.retire(worker)
        nursery.cancel_scope.cancel()

    assert office.budget.tokens.statistics() == BudgetStatistics(80, 10, 0, 0)
    assert [one.need.tokens for one in worker.asked()] == [40, 0]


async def test_crowds_ask_one_question(autojump_clock: MockClock) -> None:
    """That of the first; what it brings serves many."""
    office = Office(RunBudget(tokens=1_000_000), slowest=1.0)
    async with trio.open_nursery() as nursery:
        worker = await office.hire(nursery, 1, in_flight=50)
        async with trio.open_nursery() as documents:
            for number in range(50):
                documents.start_soon(ask, worker, answer, str(number))
        nursery.cancel_scope.cancel()

    assert len(worker.asked()) == 1


async def test_the_refusal_is_the_one_of_a_local_run(autojump_clock: MockClock) -> None:
    """It names the whole budget and what is left of it, not the worker's part; a role's too."""
    roles = {"writer": Budget("role", "writer", Caps(tokens=60))}
    office = Office(RunBudget(tokens=1_000, roles=roles))
    async with trio.open_nursery() as nursery:
        worker = await office.hire(nursery, 1, leased=("", "role:writer"))
        await ask(worker, ScriptedProvider(Step(usage=Usage(25, 0))).send, "one")
        with pytest.raises(BudgetExceededError) as caught:
            await ask(worker, answer, "two")
        assert await ask(worker, answer, "other", role="reader") == "done"
        nursery.cancel_scope.cancel()

    assert caught.value.dimensions == ("role:writer:tokens",)
    assert str(caught.value) == (
        "role writer's budget of 60 tokens has 35 left, and the next request of role writer may cost 40 tokens; "
        "raise the budget to go on"
    )


async def test_a_raised_cap_lets_refused_workers_go_on(autojump_clock: MockClock) -> None:
    """As a live change does in one process."""
    office = Office(RunBudget(tokens=30))
    async with trio.open_nursery() as nursery:
        worker = await office.hire(nursery, 1)
        with pytest.raises(BudgetExceededError):
            await ask(worker, answer, "one")
        with pytest.raises(BudgetExceededError):
            await ask(worker, answer, "one")
        assert len(worker.asked()) == 1

        office.budget.set_totals(tokens=100, micro_usd=None)
        office.lessor.caps_changed()
        await trio.sleep(1)

        assert await ask(worker, answer, "one") == "done"
        nursery.cancel_scope.cancel()


async def test_a_cap_set_while_a_worker_goes_on_holds_for_it(autojump_clock: MockClock) -> None:
    """What is in flight then counts; nothing more goes without a grant."""
    office = Office(RunBudget())
    async with trio.open_nursery() as nursery:
        worker = await office.hire(nursery, 1, leased=())
        nursery.start_soon(ask, worker, answer, "in flight")
        await trio.sleep(0.5)
        office.budget.set_totals(tokens=60, micro_usd=None)
        office.lessor.caps_changed()
        await trio.sleep(0.2)
        assert await ask(worker, answer, "fits when the other has ended") == "done"
        assert await ask(worker, answer, "fits") == "done"
        with pytest.raises(BudgetExceededError):
            await ask(worker, answer, "too much")
        nursery.cancel_scope.cancel()

    assert office.budget.tokens.spent == 30


async def test_an_idle_worker_keeps_no_more_than_a_request_needs(autojump_clock: MockClock) -> None:
    """Others may want the rest; at its end it keeps nothing."""
    office = Office(RunBudget(tokens=100_000))
    async with trio.open_nursery() as nursery:
        worker = await office.hire(nursery, 1)
        await ask(worker, answer, "one")
        assert office.budget.tokens.statistics().reserved > 4_000

        await trio.sleep(15)
        assert office.budget.tokens.statistics() == BudgetStatistics(100_000, 10, 40, 0)
        worker.leases.close()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()

    assert office.budget.tokens.statistics() == BudgetStatistics(100_000, 10, 0, 0)


async def test_what_is_called_back_is_what_no_request_holds(autojump_clock: MockClock) -> None:
    """And then, until something is granted again, what becomes free."""
    office = Office(RunBudget(tokens=100_000))
    async with trio.open_nursery() as nursery:
        worker = await office.hire(nursery, 1)
        nursery.start_soon(ask, worker, answer, "one")
        await trio.sleep(0.5)
        office.tell(1, Recall(""))
        await trio.sleep(0.1)
        assert office.budget.tokens.statistics().reserved == 40

        await trio.sleep(3)
        assert office.budget.tokens.statistics() == BudgetStatistics(100_000, 10, 0, 0)
        nursery.cancel_scope.cancel()

    assert [one.amount.tokens for one in worker.said if isinstance(one, LeaseReturned)][1:] == [30]
