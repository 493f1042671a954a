"""A driver and workers that share budgets and limits, in virtual time: what they say takes its time and may be lost."""

import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import trio
from tests.control.world import BEGIN, LongestJitter, make_call

from agent_pipeline.control.budget import RunBudget
from agent_pipeline.control.call import Attempt
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.retry import RetryPolicy
from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.engines.leases.budget_lessor import BudgetLessor
from agent_pipeline.engines.leases.leaseholder import Leases
from agent_pipeline.engines.leases.rate_lessor import RateLessor
from agent_pipeline.engines.messages import (
    Attempted,
    Command,
    HeardWanted,
    LeaseReturned,
    LeaseWanted,
    LimitsAnnounced,
    Paused,
    RateTaken,
    RateUsed,
    RateWanted,
    Report,
)

MessageT = TypeVar("MessageT")

Send = Callable[[Attempt], Awaitable[str]]


@dataclass
class Worker:
    """One worker: its leases, its gate, and what is on its way."""

    number: int
    leases: Leases
    gate: Gate
    scope: trio.CancelScope
    reports: deque[tuple[float, Report]] = field(default_factory=deque)
    commands: deque[tuple[float, Command]] = field(default_factory=deque)
    said: list[Report] = field(default_factory=list)
    heard: list[Command] = field(default_factory=list)

    def asked(self) -> Sequence[LeaseWanted]:
        """Return its questions for budget."""
        return [one for one in self.said if isinstance(one, LeaseWanted)]


class Office:
    """The driver's two lessors, and workers that come and go.

    Args:
        budget: of the run.
        rng: draws how long each message takes.
        slowest: seconds that a message takes at most; those of one direction keep their order.
        loses: which commands never arrive.
    """

    def __init__(
        self,
        budget: RunBudget,
        rng: random.Random | None = None,
        *,
        slowest: float = 0.02,
        loses: Callable[[Command], bool] = lambda _: False,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> None:
        self.budget = budget
        self.workers: dict[int, Worker] = {}
        self._rng = rng or random.Random(0)
        self._slowest = slowest
        self._loses = loses
        self.configured = (requests_per_minute, tokens_per_minute)
        self.lessor = BudgetLessor(budget, self.tell)
        self.rates = RateLessor(self.tell, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute)

    def tell(self, worker: int, command: Command) -> None:
        """Send a command, unless it gets lost."""
        one = self.workers[worker]
        if not self._loses(command):
            one.commands.append((self._arrival(one.commands), command))

    async def hire(
        self, nursery: trio.Nursery, number: int, *, leased: Sequence[str] = ("",), in_flight: int = 20
    ) -> Worker:
        """Open a worker that has joined; it goes on until it is killed or the nursery ends."""
        reports: deque[tuple[float, Report]] = deque()
        said: list[Report] = []

        def report(one: Report) -> None:
            said.append(one)
            reports.append((self._arrival(reports), one))

        def record(attempt: AttemptRecord) -> None:
            report(Attempted(None, attempt))
            leases.told(attempt)

        leases = Leases(report, lambda: None, leased)
        gate = Gate(
            budget=leases.budget,
            retry=RetryPolicy(),
            requests_in_flight=in_flight,
            requests_per_minute=self.configured[0],
            tokens_per_minute=self.configured[1],
            attempt_timeout=None,
            record=record,
            now=lambda: BEGIN + timedelta(seconds=trio.current_time()),
            rng=LongestJitter(number),
            sharing=leases,
        )
        leases.serve(gate)
        worker = self.workers[number] = Worker(number, leases, gate, trio.CancelScope(), reports, said=said)
        self.lessor.join(number)
        self.rates.join(number)
        nursery.start_soon(self._attend, worker)
        return worker

    def kill(self, worker: Worker) -> None:
        """End a worker as a lost machine does: what it had not said by now is never heard."""
        worker.scope.cancel()
        worker.reports.clear()
        worker.commands.clear()
        self.lessor.revoke(worker.number)
        self.rates.revoke(worker.number)

    async def retire(self, worker: Worker) -> None:
        """End a worker as it ends by itself."""
        worker.leases.close()
        await trio.sleep(2 * self._slowest)
        assert not worker.reports
        worker.scope.cancel()
        worker.commands.clear()
        self.lessor.dismiss(worker.number)
        self.rates.revoke(worker.number)

    def believe(self, worker: int, report: Report) -> None:
        """Do what the driver does with a report that concerns leases."""
        match report:
            case LeaseWanted():
                if (grant := self.lessor.want(worker, report)) is not None:
                    self.tell(worker, grant)
            case LeaseReturned():
                self.lessor.returned(worker, report)
            case HeardWanted():
                self.lessor.news(worker)
            case Attempted(record=record):
                self.lessor.spent(worker, record)
            case RateWanted() | RateUsed() | RateTaken() | LimitsAnnounced() | Paused():
                self.rates.take(worker, report)
            case _:
                raise AssertionError(report)
        self.assert_within_caps()

    def assert_within_caps(self) -> None:
        """Nothing is ever spent and lent beyond a cap."""
        for budget in (self.budget, *self.budget.roles.values()):
            for tracker in (budget.tokens, budget.micro_usd):
                counted = tracker.statistics()
                in_use = counted.spent + counted.reserved + counted.withheld
                assert counted.total is None or in_use <= counted.total, counted
                assert counted.reserved >= 0

    async def _attend(self, worker: Worker) -> None:
        with worker.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(worker.leases.run)
                nursery.start_soon(self._carry, worker.reports, lambda one: self.believe(worker.number, one))
                nursery.start_soon(self._carry, worker.commands, lambda one: self._hear(worker, one))

    def _hear(self, worker: Worker, command: Command) -> None:
        worker.heard.append(command)
        assert worker.leases.take(command)

    async def _carry(self, way: deque[tuple[float, MessageT]], deliver: Callable[[MessageT], None]) -> None:
        while True:
            while way and way[0][0] <= trio.current_time():
                deliver(way.popleft()[1])
            await trio.sleep_until(way[0][0] if way else trio.current_time() + self._slowest / 2)

    def _arrival(self, way: "deque[tuple[float, Report]] | deque[tuple[float, Command]]") -> float:
        at = trio.current_time() + self._rng.random() * self._slowest
        return max(at, way[-1][0]) if way else at


async def ask(worker: Worker, send: Send, document: str, *, tokens: int = 40, role: str = "writer") -> str:
    """Make one request of a document at a worker's gate."""
    call = make_call(scope=CallScope(document), role=role, input_tokens_bound=tokens - 10, output_tokens_cap=10)
    return await worker.gate.call(call, send)


def provider(rng: random.Random, spent: list[int], *, most: int = 40, latency: float = 1.0) -> Send:
    """Return a provider that answers at any time up to `latency`, and reports up to `most` tokens, kept in `spent`."""

    async def send(attempt: Attempt) -> str:
        attempt.dispatch()
        usage = Usage(rng.randint(1, most), 0)
        spent.append(usage.total_tokens)
        await trio.sleep(rng.random() * latency)
        attempt.usage = usage
        return "done"

    return send
