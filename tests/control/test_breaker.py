"""When a provider counts as failing for all, and when as down; without a clock."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.control.breaker import DOCUMENTS, FAILURES_IN_A_ROW, PATIENCE, PROBES, Breaker, BreakerState

Fail = Callable[[int], None]


class Watched:
    """A breaker with pauses of 1, 2, 4, 8, 16, 32, 60 seconds, and the states it went through."""

    def __init__(self) -> None:
        self.states: list[BreakerState] = []
        self.reasons: list[str] = []
        self.breaker = Breaker(first_pause=1.0, longest_pause=60.0, on_change=self._note)

    def _note(self, state: BreakerState, reason: str) -> None:
        self.states.append(state)
        self.reasons.append(reason)

    def send(self, now: float = 0.0) -> object:
        """Let one attempt go."""
        attempt = object()
        assert self.breaker.let_go(attempt, now)
        return attempt

    def fail(self, times: int = 1, *, documents: int = DOCUMENTS, now: float = 0.0) -> None:
        """Send and fail, for so many documents in turn."""
        for number in range(times):
            self.breaker.fail(self.send(now), f"d{number % documents}", "the provider answered 503", now)

    def answer(self, now: float = 0.0, *, is_refusal: bool = False) -> None:
        """Send, and get an answer."""
        self.breaker.answer(self.send(now), is_refusal=is_refusal)


@pytest.fixture
def watched() -> Watched:
    """A closed breaker."""
    return Watched()


@pytest.fixture
def opened(watched: Watched) -> Watched:
    """A breaker that opened at 0."""
    watched.fail(FAILURES_IN_A_ROW)
    return watched


def test_failures_in_a_row_of_several_documents_open_it(watched: Watched) -> None:
    """One fewer does not; then nobody is let go, and the reason tells of the last failure."""
    watched.fail(FAILURES_IN_A_ROW - 1)
    assert (watched.breaker.state, watched.breaker.is_tripped, watched.states) == ("closed", False, [])

    watched.fail()

    assert (watched.states, watched.breaker.is_tripped, watched.breaker.pause_end) == (["open"], True, 1.0)
    assert watched.breaker.reason == (
        "10 requests in a row failed, the last with: the provider answered 503; the next probe goes in 1 s"
    )
    assert not watched.breaker.let_go(object(), 0.99)


def test_an_answer_between_ends_the_row(watched: Watched) -> None:
    """The provider is there; whoever fails now has a reason of its own."""
    watched.fail(FAILURES_IN_A_ROW - 1)
    watched.answer()
    watched.fail(FAILURES_IN_A_ROW - 1)

    assert watched.states == []


def test_a_refusal_for_its_pace_does_not_end_the_row(watched: Watched) -> None:
    """An overloaded provider answers 429 and 503 by turns, and nothing else."""
    watched.fail(FAILURES_IN_A_ROW - 1)
    watched.answer(is_refusal=True)
    watched.fail()

    assert watched.states == ["open"]


@pytest.mark.parametrize("documents", range(1, DOCUMENTS))
def test_few_documents_do_not_speak_for_all(watched: Watched, documents: int) -> None:
    """It may be them: how often they fail makes no difference."""
    watched.fail(10 * FAILURES_IN_A_ROW, documents=documents)

    assert watched.states == []


def test_after_the_pause_one_probe_goes(opened: Watched) -> None:
    """The first to ask is it, and goes again where it had to wait for something else; the others wait."""
    probe, other = object(), object()

    assert opened.breaker.let_go(probe, 1.0)

    assert not opened.breaker.let_go(other, 1.0)
    assert opened.breaker.let_go(probe, 2.0)
    assert (opened.states, opened.breaker.pause_end) == (["open", "half_open"], math.inf)


@pytest.mark.parametrize("is_refusal", [False, True])
def test_any_answer_to_the_probe_closes_it(opened: Watched, is_refusal: bool) -> None:  # noqa: FBT001
    """A 429 comes from a provider that is there; its own pause is another's business."""
    opened.answer(1.0, is_refusal=is_refusal)

    assert opened.states == ["open", "half_open", "closed"]
    opened.fail(FAILURES_IN_A_ROW - 1, now=2.0)
    assert opened.breaker.state == "closed"


def test_an_answer_to_an_earlier_request_closes_it_too(watched: Watched) -> None:
    """It was sent before, and answered now."""
    slow = watched.send()
    watched.fail(FAILURES_IN_A_ROW)

    watched.breaker.answer(slow)

    assert watched.states == ["open", "closed"]


def test_late_failures_change_nothing(watched: Watched) -> None:
    """Those in flight when it opened fail one after the other; neither as probes, nor as a new row once it is over."""
    late = [watched.send() for _ in range(3 * FAILURES_IN_A_ROW)]
    watched.fail(FAILURES_IN_A_ROW)
    for attempt in late[:FAILURES_IN_A_ROW]:
        watched.breaker.fail(attempt, str(id(attempt)), "lost", 0.5)
    watched.answer(1.0)
    for attempt in late[FAILURES_IN_A_ROW:]:
        watched.breaker.fail(attempt, str(id(attempt)), "lost", 1.5)

    assert watched.states == ["open", "half_open", "closed"]
    assert watched.breaker.pause_end == math.inf


def test_late_failures_are_no_failed_probes(watched: Watched) -> None:
    """They come while the probe is under way, and it alone decides."""
    late = [watched.send() for _ in range(PROBES)]
    watched.fail(FAILURES_IN_A_ROW)
    probe = watched.send(1.0)
    for attempt in late:
        watched.breaker.fail(attempt, "d", "lost", 1.5)

    assert watched.states == ["open", "half_open"]
    watched.breaker.answer(probe)
    assert watched.breaker.state == "closed"


def test_a_provider_that_never_answered_is_down_after_the_probes(opened: Watched) -> None:
    """Pauses of 1, 2 and 4 seconds: most likely the address is wrong."""
    for now in (1.0, 3.0, 7.0):
        assert opened.breaker.pause_end == now
        opened.fail(now=now)

    assert opened.states == ["open", *["half_open", "open"] * (PROBES - 1), "half_open", "down"]
    assert opened.breaker.reason == (
        "no request was answered since, nor 3 probes in 7.0 s, the last with: the provider answered 503"
    )
    assert not opened.breaker.let_go(object(), 1_000)


def test_one_that_has_answered_before_gets_more_time(watched: Watched) -> None:
    """Two minutes at least, with pauses that double up to the longest."""
    watched.answer()
    watched.fail(FAILURES_IN_A_ROW)
    now, probes = 0.0, []
    while watched.breaker.state == "open":
        now = watched.breaker.pause_end
        probes.append(now)
        watched.fail(now=now)

    assert probes == [1, 3, 7, 15, 31, 63, 123]
    assert probes[-2] < PATIENCE <= probes[-1]
    assert watched.breaker.state == "down"


def test_each_outage_begins_with_a_short_pause(watched: Watched) -> None:
    """What was counted in an earlier one is over with it."""
    watched.fail(FAILURES_IN_A_ROW)
    for now in (1.0, 3.0):
        watched.fail(now=now)
    watched.answer(7.0)

    watched.fail(FAILURES_IN_A_ROW, now=100.0)

    assert (watched.breaker.state, watched.breaker.pause_end) == ("open", 101.0)
    watched.fail(now=101.0)
    assert watched.breaker.pause_end == 103.0


def test_a_probe_that_is_given_up_leaves_its_place(opened: Watched) -> None:
    """Cancelled, it tells nothing: the next one goes at once, and the pauses do not grow."""
    probe = opened.send(1.0)
    opened.breaker.leave(probe, 1.5)

    assert (opened.states[-1], opened.breaker.pause_end) == ("open", 1.5)
    opened.fail(now=1.5)
    assert opened.breaker.pause_end == 3.5


def test_one_that_was_never_let_go_has_nothing_to_tell(opened: Watched) -> None:
    """A lane that is closed ends calls with errors that no provider gave."""
    stranger = object()
    opened.breaker.let_go(stranger, 0.5)
    opened.breaker.answer(stranger)
    opened.breaker.fail(stranger, "d", "lost", 0.5)
    opened.breaker.leave(stranger, 0.5)

    assert (opened.states, opened.breaker.pause_end) == (["open"], 1.0)


def test_down_is_for_good(opened: Watched) -> None:
    """An answer that is late comes to nobody."""
    slow = Watched()
    late = slow.send()
    slow.fail(FAILURES_IN_A_ROW)
    for now in (1.0, 3.0, 7.0):
        slow.fail(now=now)

    slow.breaker.answer(late)

    assert slow.breaker.state == slow.states[-1] == "down"


@pytest.mark.parametrize(("first", "longest", "pauses"), [(0.0, 0.0, [0.1, 0.1]), (2.0, 1.0, [2.0, 2.0])])
def test_pauses_are_never_nothing(first: float, longest: float, pauses: list[float]) -> None:
    """A policy without delays makes no hot loop of a dead provider."""
    watched = Watched()
    watched.breaker = Breaker(first_pause=first, longest_pause=longest, on_change=lambda *_: None)
    watched.fail(FAILURES_IN_A_ROW)

    assert watched.breaker.pause_end == pauses[0]
    watched.fail(now=pauses[0])
    assert watched.breaker.pause_end == sum(pauses)


@given(st.lists(st.tuples(st.sampled_from(["send", "answer", "fail", "leave"]), st.floats(0, 9)), max_size=60))
def test_while_it_is_not_closed_at_most_one_goes(steps: list[tuple[str, float]]) -> None:
    """Whatever order things come in: one probe at most is let go, and nothing that ended is kept."""
    watched, now = Watched(), 0.0
    flying: list[object] = []
    watched.fail(FAILURES_IN_A_ROW)
    for what, passed in steps:
        now += passed
        if what == "send":
            attempt = object()
            was = watched.breaker.state
            if watched.breaker.let_go(attempt, now):
                assert was == "closed" or (was, watched.breaker.state) == ("open", "half_open")
                flying.append(attempt)
        elif flying:
            attempt = flying.pop()
            {
                "answer": lambda: watched.breaker.answer(attempt),  # noqa: B023
                "fail": lambda: watched.breaker.fail(attempt, str(now), "lost", now),  # noqa: B023
                "leave": lambda: watched.breaker.leave(attempt, now),  # noqa: B023
            }[what]()
    assert len(watched.breaker._sent) == len(flying)
