"""Leases under any order of asking, granting, ending, returning, dying and losing answers, against a count by hand.

The count is that of a provider: it knows what was sent by workers that died before they could tell.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.engines.bank import SENT

from agent_pipeline.control.budget import Budget, Caps, Hold, RunBudget, ask_for_more, find_shortages, hold_nowait
from agent_pipeline.domain.usage import AttemptOutcome, AttemptRecord, Usage
from agent_pipeline.engines.leases.budget_lease import BudgetLease
from agent_pipeline.engines.leases.budget_lessor import BudgetLessor
from agent_pipeline.engines.leases.departures import Departures
from agent_pipeline.engines.leases.purse import PART, Purse
from agent_pipeline.engines.messages import Command, Grant, Heard, HeardWanted, LeaseReturned, LeaseWanted, Recall

CAPS = {"": 300, "role:writer": 200}
LARGEST = 60


@dataclass(eq=False)
class Request:
    """One that a worker makes: it waits, is held, has left, and ends."""

    name: str
    worst: int
    hold: Hold | None = None
    has_left: bool = False


@dataclass(eq=False)
class Hand:
    """A worker: its budgets and leases, its requests, and what is on its way in both directions."""

    number: int
    budgets: tuple[Budget, ...]
    clock: Callable[[], float]
    leases: dict[str, BudgetLease] = field(default_factory=dict)
    waiting: list[Request] = field(default_factory=list)
    held: list[Request] = field(default_factory=list)
    reports: deque[LeaseWanted | LeaseReturned | HeardWanted | AttemptRecord] = field(default_factory=deque)
    commands: deque[Command] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.departures = Departures(self.reports.append, self.clock)

    def tell(self, record: AttemptRecord) -> None:
        """Report an attempt, as the worker's gate does."""
        self.reports.append(record)
        self.departures.told(record)
        for lease in self.leases.values():
            lease.resize()
        if any(lease.needs_news for lease in self.leases.values()):
            self.departures.ask()


class LeasesMachine(RuleBasedStateMachine):
    """Three workers at a time; two budgets that each request is held on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.number = 0
        self.true_spend = 0
        self.billed = 0
        self.beyond = 0
        roles = {"writer": Budget("role", "writer", Caps(tokens=CAPS["role:writer"]))}
        self.budget = RunBudget(tokens=CAPS[""], roles=roles)
        self.hands: dict[int, Hand] = {}
        self.lessor = BudgetLessor(self.budget, lambda worker, command: self.hands[worker].commands.append(command))
        for _ in range(3):
            self._hire()

    # --- what may happen ---------------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 2), worst=st.integers(1, 3) | st.integers(1, LARGEST))
    def request(self, which: int, worst: int) -> None:
        """A worker has something to ask."""
        self.number += 1
        hand = self._hand(which)
        hand.waiting.append(Request(f"{self.number}", worst))
        self._look(hand)

    @rule(which=st.integers(0, 2))
    def leave(self, which: int) -> None:
        """A request that is held leaves, if there is one."""
        hand = self._hand(which)
        for request in hand.held:
            if not request.has_left:
                request.has_left = True
                hand.tell(replace(SENT, attempt_id=request.name, charged_tokens=request.worst))
                return

    @rule(which=st.integers(0, 2), nth=st.integers(0, 5), share=st.fractions(0, 1), known=st.booleans())
    def end(self, which: int, nth: int, share: float, known: bool) -> None:  # noqa: FBT001  (Hypothesis draws it)
        """A request ends, with a report of what it used or without; one that never left is given back."""
        hand = self._hand(which)
        if hand.held:
            self._end(hand, hand.held[nth % len(hand.held)], share if known else None)

    @rule(which=st.integers(0, 2), nth=st.integers(0, 5))
    def end_dear(self, which: int, nth: int) -> None:
        """An answer costs more than its worst case: a cap is passed by so much, and by no more."""
        hand = self._hand(which)
        if hand.held:
            self._end(hand, hand.held[nth % len(hand.held)], Fraction(5, 4))

    @rule(which=st.integers(0, 2), nth=st.integers(0, 5))
    def cancel(self, which: int, nth: int) -> None:
        """Who waits goes away; nobody takes his question back."""
        hand = self._hand(which)
        if hand.waiting:
            hand.waiting.pop(nth % len(hand.waiting))

    @rule(which=st.integers(0, 2), times=st.integers(1, 4))
    def hear(self, which: int, times: int) -> None:
        """The driver hears what a worker said."""
        for _ in range(times):
            self._hear(self._hand(which))

    @rule(which=st.integers(0, 2), times=st.integers(1, 4))
    def tell(self, which: int, times: int) -> None:
        """A worker hears what the driver said."""
        for _ in range(times):
            self._tell(self._hand(which))

    @rule(which=st.integers(0, 2))
    def talk(self, which: int) -> None:
        """All is said and heard, and what may leave leaves."""
        hand = self._hand(which)
        while hand.reports or hand.commands:
            self._hear(hand)
            self._tell(hand)
        self.leave(which)
        self.leave(which)

    @rule(which=st.integers(0, 2))
    def lose(self, which: int) -> None:
        """An answer gets lost."""
        hand = self._hand(which)
        if hand.commands and isinstance(hand.commands[0], Grant | Heard):
            hand.commands.popleft()

    @rule(which=st.integers(0, 2))
    def double(self, which: int) -> None:
        """An answer arrives twice."""
        hand = self._hand(which)
        if hand.commands:
            hand.commands.append(hand.commands[0])

    @rule(which=st.integers(0, 2))
    def beat(self, which: int) -> None:
        """Time goes by, and a worker looks after what it asked and what lies idle."""
        self.now += 6.0
        self._beat(self._hand(which))
        self._look(self._hand(which))

    @precondition(lambda self: any(one.has_left for hand in self.hands.values() for one in hand.held))
    @rule(which=st.integers(0, 2))
    def die(self, which: int) -> None:
        """A worker is lost, with all it had not said; another takes its place.

        Its requests are billed; little is kept back for those of which nobody heard.
        """
        hand = self._hand(which)
        del self.hands[hand.number]
        cut_off = sum(one.worst for one in hand.held if one.has_left)
        self.true_spend += cut_off
        self.billed += hand.budgets[1].tokens.spent + cut_off
        withheld = self.lessor.revoke(hand.number)
        assert all(amount.tokens <= max(CAPS[owner] // PART, LARGEST) for owner, amount in withheld.items())
        self._hire()

    # --- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def no_cap_is_passed(self) -> None:
        """As the driver counts; and no provider bills more, for all that workers did before they died or may yet do."""
        for owner, budget in self._owners():
            counted = budget.tokens.statistics()
            assert counted.spent + counted.reserved + counted.withheld <= CAPS[owner] + self.beyond
            assert counted.reserved >= 0
            may_be_billed = self.billed + sum(_most(hand, owner) for hand in self.hands.values())
            assert may_be_billed <= counted.spent + counted.reserved + counted.withheld + self.beyond

    @invariant()
    def no_spend_is_missed(self) -> None:
        """What is on its way to the driver is all that it may not know of what was spent."""
        unheard = sum(one.charged_tokens for hand in self.hands.values() for one in _ends(hand))
        counted = self.budget.tokens.statistics()
        assert counted.spent + counted.withheld + unheard >= self.true_spend - self.beyond

    def teardown(self) -> None:
        """In the end all who wait were given what they need or refused, rightly, and nothing is left lent."""
        rng = random.Random(self.number)
        for _ in range(3000):
            if not any(hand.waiting or hand.held for hand in self.hands.values()):
                break
            self.now += 1.0
            for hand in self.hands.values():
                self._settle_down(hand, rng)
        assert not any(hand.waiting or hand.held for hand in self.hands.values())
        for hand in self.hands.values():
            for lease in hand.leases.values():
                lease.recall()
            while hand.reports or hand.commands:
                self._hear(hand)
                self._tell(hand)
        for _, budget in self._owners():
            counted = budget.tokens.statistics()
            lent = sum(max(0, one.rest) for one in self._purses(budget))
            assert counted.reserved == lent
        for number in tuple(self.hands):
            del self.hands[number]
            self.lessor.revoke(number)
        for _, budget in self._owners():
            assert budget.tokens.statistics().reserved == 0

    # --- how ---------------------------------------------------------------------------------------------------------

    def _settle_down(self, hand: Hand, rng: random.Random) -> None:
        self._beat(hand)
        while hand.reports:
            self._hear(hand)
        while hand.commands:
            self._tell(hand)
        self._look(hand)
        for request in tuple(hand.held):
            if not request.has_left:
                request.has_left = True
                hand.tell(replace(SENT, attempt_id=request.name, charged_tokens=request.worst))
            elif rng.random() < 0.5:
                self._end(hand, request, rng.random())

    def _hire(self) -> None:
        number = self.number = self.number + 1
        run = RunBudget(roles={"writer": Budget("role", "writer", Caps())})
        hand = Hand(number, run.concerning("writer", None), lambda: self.now)
        for owner, budget in (("", run), ("role:writer", run.roles["writer"])):
            hand.leases[owner] = BudgetLease(owner, budget, hand.departures, hand.reports.append, hand.clock)
        self.hands[number] = hand
        self.lessor.join(number)

    def _look(self, hand: Hand) -> None:
        """Do what the gate does for those who wait: hold, refuse, or ask for more."""
        for request in tuple(hand.waiting):
            request.hold = hold_nowait(hand.budgets, tokens=request.worst, micro_usd=0)
            if request.hold is not None:
                hand.waiting.remove(request)
                hand.held.append(request)
            elif find_shortages(hand.budgets, tokens=request.worst, micro_usd=0):
                hand.waiting.remove(request)
                assert any(not budget.tokens.could_fit(request.worst) for _, budget in self._owners())
            else:
                ask_for_more(hand.budgets, tokens=request.worst, micro_usd=0)

    def _end(self, hand: Hand, request: Request, share: float | Fraction | None) -> None:
        hand.held.remove(request)
        assert request.hold is not None
        if not request.has_left:
            request.hold.release()
        else:
            charged = request.worst if share is None else int(request.worst * share)
            self.true_spend += charged
            self.beyond += max(0, charged - request.worst)
            if share is None:
                request.hold.forfeit()
            else:
                request.hold.settle(tokens=charged, micro_usd=0)
            usage = None if share is None else Usage(charged, 0)
            outcome: AttemptOutcome = "failed" if share is None else "succeeded"
            record = replace(SENT, attempt_id=request.name, outcome=outcome, charged_tokens=charged, usage=usage)
            hand.tell(record)
        self._look(hand)

    def _hear(self, hand: Hand) -> None:
        if not hand.reports:
            return
        match report := hand.reports.popleft():
            case LeaseWanted():
                if (grant := self.lessor.want(hand.number, report)) is not None:
                    hand.commands.append(grant)
            case LeaseReturned():
                self.lessor.returned(hand.number, report)
            case HeardWanted():
                self.lessor.news(hand.number)
            case AttemptRecord():
                self.lessor.spent(hand.number, report)

    def _tell(self, hand: Hand) -> None:
        if not hand.commands:
            return
        match command := hand.commands.popleft():
            case Grant():
                hand.leases[command.owner].answer(command)
            case Heard(attempts):
                hand.departures.heard(attempts)
                for lease in hand.leases.values():
                    lease.heard()
            case Recall():
                hand.leases[command.owner].recall()
        self._look(hand)

    def _beat(self, hand: Hand) -> None:
        for lease in hand.leases.values():
            lease.beat()
        hand.departures.beat()

    def _hand(self, which: int) -> Hand:
        return tuple(self.hands.values())[which]

    def _owners(self) -> tuple[tuple[str, Budget], ...]:
        return ("", self.budget), ("role:writer", self.budget.roles["writer"])

    def _purses(self, budget: Budget) -> list["Purse"]:
        owner = next(name for name, one in self._owners() if one is budget)
        accounts = self.lessor._owners[owner]._accounts
        return [account.tokens for account in accounts.values()]


def _most(hand: Hand, owner: str) -> int:
    """Return what a worker may be billed for in the end with what it was granted."""
    tokens = (hand.budgets[1] if owner == "" else hand.budgets[0]).tokens
    return max(hand.leases[owner]._granted.tokens, tokens.spent)


def _ends(hand: Hand) -> list[AttemptRecord]:
    return [one for one in hand.reports if isinstance(one, AttemptRecord) and one.outcome is not None]


TestLeases = LeasesMachine.TestCase
TestLeases.settings = settings(stateful_step_count=60)
