"""How much may have left a worker that its driver has not heard of; without time or network."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.engines.bank import SENT
from tests.engines.desk import Desk, Request

from agent_pipeline.control.budget import (
    Caps,
    RunBudget,
)
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.engines.leases.departures import PATIENCE, Departures
from agent_pipeline.engines.messages import Amount, HeardWanted


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
