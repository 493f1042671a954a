"""One worker with a lease, its driver, and what is on its way between them; without time or network."""

from collections import deque
from dataclasses import dataclass, replace

from tests.engines.bank import SENT

from agent_pipeline.control.budget import (
    Hold,
    RunBudget,
    ask_for_more,
    find_shortages,
    hold_nowait,
)
from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.engines.leases.budget_lease import BudgetLease
from agent_pipeline.engines.leases.budget_lessor import BudgetLessor
from agent_pipeline.engines.leases.departures import Departures
from agent_pipeline.engines.messages import Amount, Command, Grant, Heard, HeardWanted, LeaseReturned, LeaseWanted

CAP = 128 * 40

Said = LeaseWanted | LeaseReturned | HeardWanted | AttemptRecord


@dataclass(eq=False)
class Request:
    """One request: held, left, ended; and which of its reports the driver has."""

    name: str
    worst: int
    hold: Hold | None = None
    has_left: bool = False
    charged: int | None = None
    heard: int = 0

    def unheard(self) -> int:
        """Return what it may cost beyond what the driver would charge for it, were the worker gone."""
        now = self.worst if self.charged is None else self.charged
        known = [0, self.worst, now][self.heard]
        return max(0, now - known)


class Desk:
    """One worker and its driver, and what is on its way between them."""

    def __init__(self, cap: int | None = CAP) -> None:
        self.now = 0.0
        self.number = 0
        self.budget = RunBudget(tokens=cap)
        self.commands: deque[Command] = deque()
        self.reports: deque[Said] = deque()
        self.said: list[Said] = []
        self.lessor = BudgetLessor(self.budget, lambda _, command: self.commands.append(command))
        self.lessor.join(1)
        self.part = RunBudget()
        self.departures = Departures(self.report, lambda: self.now)
        self.lease = BudgetLease("", self.part, self.departures, self.report, lambda: self.now)
        self.requests: list[Request] = []
        self.waiting: list[Request] = []
        self.windows = [0, 0]

    def report(self, one: Said) -> None:
        """Queue what the worker says; it asks for more only where its lease is too small, or its window."""
        if isinstance(one, LeaseWanted) and one.worst_case != Amount() and not self._repeats(one):
            window = self.lease._window.tokens
            assert one.need != Amount() or (window is not None and one.worst_case.tokens > window)
        self.reports.append(one)
        self.said.append(one)

    def _repeats(self, question: LeaseWanted) -> bool:
        return any(isinstance(one, LeaseWanted) and one.lease_id == question.lease_id for one in self.said)

    def unheard(self) -> int:
        """Return what has left, or is about to, and would be known to nobody."""
        return sum(one.unheard() for one in self.requests)

    def request(self, worst: int) -> Request:
        """Let somebody want to make a request; he waits where it does not fit."""
        self.number += 1
        request = Request(f"{self.number}", worst)
        self.waiting.append(request)
        self.look()
        return request

    def look(self) -> None:
        """Do what the gate does for those who wait."""
        budgets = self.part.concerning("writer", None)
        for request in tuple(self.waiting):
            request.hold = hold_nowait(budgets, tokens=request.worst, micro_usd=0)
            if request.hold is not None:
                self.waiting.remove(request)
                self.requests.append(request)
                assert self.unheard() <= max(self.windows)
            elif find_shortages(budgets, tokens=request.worst, micro_usd=0):
                self.waiting.remove(request)
            else:
                ask_for_more(budgets, tokens=request.worst, micro_usd=0)

    def leave(self, request: Request) -> None:
        """Let a request leave, unless it did."""
        if not request.has_left:
            request.has_left = True
            self._tell(replace(SENT, attempt_id=request.name, charged_tokens=request.worst))

    def end(self, request: Request, charged: int) -> None:
        """Let one that has left end."""
        assert request.hold is not None
        request.charged = charged
        request.hold.settle(tokens=charged, micro_usd=0)
        usage = Usage(charged, 0)
        self._tell(replace(SENT, attempt_id=request.name, outcome="succeeded", charged_tokens=charged, usage=usage))
        self.look()

    def hear(self) -> None:
        """Let the driver hear the next that was said."""
        if not self.reports:
            return
        match report := self.reports.popleft():
            case LeaseWanted():
                if (grant := self.lessor.want(1, report)) is not None:
                    self.commands.append(grant)
            case LeaseReturned():
                self.lessor.returned(1, report)
            case HeardWanted():
                self.lessor.news(1)
            case AttemptRecord():
                self.lessor.spent(1, report)
                next(one for one in self.requests if one.name == report.attempt_id).heard += 1

    def tell(self) -> None:
        """Let the worker hear the next that the driver said."""
        if not self.commands:
            return
        match command := self.commands.popleft():
            case Grant():
                before = self.lease._window
                self.lease.answer(command)
                if self.lease._window is not before:  # it was none that comes twice
                    self.windows = [self.windows[1], self.lease._window.tokens or 0]
            case Heard(attempts):
                self.departures.heard(attempts)
                self.lease.heard()
        self.look()

    def talk(self) -> None:
        """Let all be said and heard."""
        while self.reports or self.commands:
            self.hear()
            self.tell()

    def beat(self) -> None:
        """Let a second pass at the worker."""
        self.now += 1.0
        self.lease.beat()
        self.departures.beat()

    def _tell(self, record: AttemptRecord) -> None:
        self.report(record)
        self.departures.told(record)
        self.lease.resize()
        if self.lease.needs_news:
            self.departures.ask()
