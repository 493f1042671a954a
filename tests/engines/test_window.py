"""How much may have left a worker that its driver has not heard of, and what is kept back for it."""

from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.engines.test_leases import SENT, Bank

from agent_pipeline.control.budget import (
    Budget,
    BudgetStatistics,
    Caps,
    Hold,
    RunBudget,
    ask_for_more,
    find_shortages,
    hold_nowait,
)
from agent_pipeline.domain.usage import AttemptRecord, Usage
from agent_pipeline.engines.budget_lease import BudgetLease
from agent_pipeline.engines.departures import PATIENCE, Departures
from agent_pipeline.engines.leases import BudgetLessor
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


class WindowMachine(RuleBasedStateMachine):
    """Requests of one worker, with a driver that hears late, and whose answers get lost or come twice."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()

    @rule(worst=st.integers(1, 12) | st.integers(1, 90))
    def request(self, worst: int) -> None:
        """Somebody wants to make one."""
        self.desk.request(worst)

    @rule(nth=st.integers(0, 9))
    def leave(self, nth: int) -> None:
        """One leaves."""
        held = [one for one in self.desk.requests if not one.has_left]
        if held:
            self.desk.leave(held[nth % len(held)])

    @rule(nth=st.integers(0, 9), share=st.fractions(0, Fraction(3, 2)))
    def end(self, nth: int, share: Fraction) -> None:
        """One ends, for less than its worst case, or more."""
        under_way = [one for one in self.desk.requests if one.has_left and one.charged is None]
        if under_way:
            one = under_way[nth % len(under_way)]
            self.desk.end(one, int(one.worst * share))

    @rule(nth=st.integers(0, 9))
    def cancel(self, nth: int) -> None:
        """Somebody who waits goes away."""
        if self.desk.waiting:
            self.desk.waiting.pop(nth % len(self.desk.waiting))

    @rule(times=st.integers(1, 5))
    def hear(self, times: int) -> None:
        """The driver hears."""
        for _ in range(times):
            self.desk.hear()

    @rule(times=st.integers(1, 3))
    def tell(self, times: int) -> None:
        """The worker hears."""
        for _ in range(times):
            self.desk.tell()

    @rule()
    def talk(self) -> None:
        """Both hear all."""
        self.desk.talk()

    @rule()
    def lose(self) -> None:
        """An answer gets lost."""
        if self.desk.commands:
            self.desk.commands.popleft()

    @rule()
    def double(self) -> None:
        """An answer comes again, after others."""
        if self.desk.commands:
            self.desk.commands.append(self.desk.commands[0])

    @rule()
    def beat(self) -> None:
        """Time passes."""
        self.desk.beat()

    @invariant()
    def only_answers_that_cost_too_much_pass_the_window(self) -> None:
        """What has left and was not heard of is at most the larger of two windows, but for what nobody could know."""
        beyond = sum(max(0, one.charged - one.worst) for one in self.desk.requests if one.charged is not None)
        assert self.desk.unheard() <= max(self.desk.windows) + beyond

    def teardown(self) -> None:
        """Whoever waits gets his turn, if time goes by and no more gets lost; and what was withheld is enough."""
        desk = self.desk
        for _ in range(500):
            if not desk.waiting:
                break
            desk.beat()
            desk.talk()
            for one in desk.requests:
                desk.leave(one)
            for one in [one for one in desk.requests if one.charged is None][:1]:
                desk.end(one, one.worst)
        assert not desk.waiting
        unheard = desk.unheard()
        withheld = desk.lessor.revoke(1).get("", Amount()).tokens
        beyond = sum(max(0, one.charged - one.worst) for one in desk.requests if one.charged is not None)
        assert unheard - beyond <= withheld


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(stateful_step_count=60)


# --- one thing at a time ---


def in_use(desk: Desk, *worst: int) -> list[Request]:
    """Let requests be made, leave, and be heard of."""
    made = [desk.request(one) for one in worst]
    for one in made:
        desk.talk()
        desk.leave(one)
    desk.talk()
    return made


def test_what_fills_the_window_waits_until_it_was_heard() -> None:
    """And asks for no more than that."""
    desk = Desk()
    in_use(desk, 40)
    asked = len(desk.said)

    first, second = desk.request(40), desk.request(10)
    assert desk.waiting == [second]
    desk.leave(first)
    assert [type(one) for one in desk.said[asked:]] == [AttemptRecord, HeardWanted]
    desk.talk()

    assert desk.waiting == []


def test_far_from_the_cap_nobody_waits_and_little_is_asked() -> None:
    """What was heard is asked for when half of the window is full, once for many requests."""
    desk = Desk(cap=128 * 1000)
    in_use(desk, 10)

    for _ in range(300):
        request = desk.request(10)
        assert request.hold is not None
        desk.leave(request)
        desk.talk()

    assert sum(isinstance(one, HeardWanted) for one in desk.said) == 5


def test_without_a_cap_nothing_is_asked() -> None:
    """Nobody is lent anything, and nothing has to be heard."""
    part, said = RunBudget(), list[HeardWanted]()
    departures = Departures(said.append, lambda: 0.0)
    for number in range(10):
        departures.told(replace(SENT, attempt_id=str(number)))
        departures.hear_all()

    assert departures.covered("") == departures.covered("role:writer") == Amount(400)
    assert (said, part.supply) == ([], None)


def test_who_waits_for_what_has_not_left_yet_is_not_forgotten_when_it_has() -> None:
    """There was nothing to hear as he began to wait; what leaves then is less than half of the window."""
    desk = Desk()
    in_use(desk, 40)
    held, waiting = desk.request(15), desk.request(30)
    desk.talk()
    assert desk.waiting == [waiting]

    desk.leave(held)
    desk.talk()

    assert desk.waiting == []


def test_what_an_answer_cost_beyond_its_worst_case_is_unheard_until_its_end_is_heard() -> None:
    """The driver would charge its worst case alone."""
    desk = Desk()
    (dear,) = in_use(desk, 40)

    desk.end(dear, 60)
    waiting = desk.request(30)
    assert desk.waiting == [waiting]
    desk.talk()

    assert desk.waiting == []


def test_a_request_larger_than_the_window_gets_one_that_is_large_enough() -> None:
    """Though what was granted would be enough: it says so at once."""
    desk = Desk()
    in_use(desk, 5)

    large = desk.request(500)
    assert desk.waiting == [large]
    desk.talk()

    assert desk.waiting == []
    assert desk.lease._window == Caps(tokens=500)


def test_news_that_gets_lost_are_asked_for_again() -> None:
    """After a while; until then whoever waits goes on waiting."""
    desk = Desk()
    in_use(desk, 40)
    first, second = desk.request(40), desk.request(40)
    desk.leave(first)
    while desk.reports:
        desk.hear()
    desk.commands.clear()

    for _ in range(int(PATIENCE) - 1):
        desk.beat()
    desk.talk()
    assert desk.waiting == [second]
    desk.beat()
    desk.talk()

    assert desk.waiting == []


def wanted(number: int, want: int, largest: int, owner: str = "") -> LeaseWanted:
    """Return a question of somebody who asks ahead."""
    return LeaseWanted(f"{owner}#{number}", owner, Amount(), Amount(want), largest=Amount(largest))


def test_a_window_is_a_small_part_of_what_there_is_and_has_room_for_the_largest_request() -> None:
    """It shrinks as the budget does; what is withheld is no longer there either."""
    bank = Bank(RunBudget(tokens=12_800, spent_tokens=1_280))

    def window(worker: int, number: int, largest: int) -> Caps:
        grant = bank.lessor.want(worker, wanted(number, 2_000, largest))
        assert grant is not None
        return grant.window

    assert window(1, 1, largest=7) == Caps(tokens=90)
    assert window(1, 2, largest=300) == Caps(tokens=300)
    bank.lessor.revoke(1)
    assert window(2, 1, largest=7) == Caps(tokens=(12_800 - 1_280 - 300) // 128)


def test_of_a_lost_worker_the_larger_of_two_windows_is_withheld() -> None:
    """The newer one it may not have heard of; the one before that it has left behind, or it would not have asked."""
    bank = Bank(RunBudget(tokens=12_800))
    for number, largest in ((1, 900), (2, 500), (3, 0)):
        bank.lessor.want(1, wanted(number, 2_000, largest))

    assert bank.lessor.revoke(1) == {"": Amount(500)}
    assert bank.tokens == BudgetStatistics(12_800, 0, 0, 0, withheld=500)


def test_no_more_is_withheld_than_the_worker_had_left() -> None:
    """It could not spend more."""
    bank = Bank(RunBudget(tokens=12_800))
    bank.lessor.want(1, wanted(1, 120, 50))
    bank.send(1, "a", 90)

    assert bank.lessor.revoke(1) == {"": Amount(30)}
    assert bank.tokens == BudgetStatistics(12_800, 90, 0, 90, withheld=30)


def test_what_is_heard_late_comes_out_of_what_is_withheld() -> None:
    """It is charged, to a request that is known."""
    bank = Bank(RunBudget(tokens=12_800))
    bank.lessor.want(1, wanted(1, 100, 50))
    bank.send(1, "late", 80)

    assert bank.lessor.revoke(1) == {"": Amount(20)}


def test_of_a_worker_that_has_said_its_last_word_nothing_is_withheld() -> None:
    """All that left was heard."""
    bank = Bank(RunBudget(tokens=12_800))
    bank.lessor.want(1, wanted(1, 2_000, 50))

    bank.lessor.dismiss(1)

    assert bank.tokens == BudgetStatistics(12_800, 0, 0, 0)
    assert bank.lessor.revoke(1) == {}


def test_each_owner_withholds_its_own_in_tokens_and_in_money() -> None:
    """What has no cap can't be passed, and withholds nothing."""
    writer = Budget("role", "writer", Caps(micro_usd=6_400))
    bank = Bank(RunBudget(tokens=12_800, roles={"writer": writer}))
    for owner in ("", "role:writer"):
        bank.lessor.want(1, LeaseWanted("#1", owner, Amount(), Amount(900, 900), largest=Amount(70, 80)))

    assert bank.lessor.revoke(1) == {"": Amount(100, 0), "role:writer": Amount(0, 80)}
    assert writer.standing("usd") == (6_400, 6_320)


def test_what_is_withheld_is_not_waited_for() -> None:
    """Whoever needs it is refused, in words that say what may still be had."""
    bank = Bank(RunBudget(tokens=1_000))
    bank.lessor.want(1, wanted(1, 250, 200))
    bank.ask(2, 1, need=700)
    assert bank.ask(2, 2, need=250) is None
    bank.send(2, "a", 700)
    bank.end(2, "a", 700)

    bank.lessor.revoke(1)

    (last,) = [one for _, one in bank.told if isinstance(one, Grant)]
    assert (last.is_last, [(one.total, one.amount) for one in last.left]) == (True, [(1_000, 100)])
