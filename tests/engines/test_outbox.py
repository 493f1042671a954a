"""When reports leave a worker."""

import math
from collections import Counter

import pytest

from agent_pipeline.engines.messages import Alive, Done, Ended, Fence, Hungry
from agent_pipeline.engines.worker.outbox import LONGEST_WAIT, MOST_ENDED, Outbox


class _Carrier:
    """An outbox with a clock that is set by hand, and how often it woke who carries."""

    def __init__(self) -> None:
        self.now = 0.0
        self.woken = 0
        self.outbox = Outbox(clock=lambda: self.now, wake=self._wake)

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def carrier() -> _Carrier:
    return _Carrier()


def _ended(position: int) -> Ended:
    return Ended(Fence(1, 1), position, f"d{position}", None, "succeeded", None, None, Counter(), Counter())


def test_a_report_waits_for_others_as_long_as_the_first_of_them(carrier: _Carrier) -> None:
    """Were the time counted from the last, a steady trickle would never leave."""
    carrier.outbox.put(Hungry())
    carrier.now += LONGEST_WAIT / 2
    carrier.outbox.put(Alive())

    assert carrier.outbox.due_in() == pytest.approx(LONGEST_WAIT / 2)
    assert carrier.woken == 1
    carrier.now += LONGEST_WAIT
    assert carrier.outbox.due_in() == 0.0
    assert carrier.outbox.take() == [Hungry(), Alive()]
    assert carrier.outbox.due_in() == math.inf


def test_twenty_five_ended_documents_leave_at_once(carrier: _Carrier) -> None:
    """That many are worked on again at most when the worker dies; reports of other kinds don't count."""
    for position in range(MOST_ENDED - 1):
        carrier.outbox.put(Alive())
        carrier.outbox.put(_ended(position))
    before = carrier.outbox.due_in()
    carrier.outbox.put(_ended(MOST_ENDED))

    assert before == LONGEST_WAIT
    assert carrier.outbox.due_in() == 0.0
    assert carrier.woken == 2
    assert len(carrier.outbox.take()) == 2 * MOST_ENDED - 1


def test_what_was_taken_counts_no_more(carrier: _Carrier) -> None:
    """Else every batch after the first would leave alone."""
    for position in range(MOST_ENDED):
        carrier.outbox.put(_ended(position))
    carrier.outbox.take()

    carrier.outbox.put(_ended(MOST_ENDED))

    assert carrier.outbox.due_in() == LONGEST_WAIT


def test_a_flush_makes_what_is_queued_due_and_nothing_else(carrier: _Carrier) -> None:
    """Somebody waits for an answer to it; an empty batch would answer nobody."""
    carrier.outbox.flush()
    woken_for_nothing = carrier.woken
    carrier.outbox.put(Hungry())
    carrier.outbox.flush()
    carrier.outbox.flush()

    assert woken_for_nothing == 0
    assert carrier.outbox.due_in() == 0.0
    assert carrier.woken == 2
    assert carrier.outbox.take() == [Hungry()]


def test_done_is_the_last_word(carrier: _Carrier) -> None:
    """What a task says while it is torn down would be said to nobody."""
    carrier.outbox.put(Done())
    carrier.outbox.put(Alive())

    assert carrier.outbox.due_in() == 0.0
    assert not carrier.outbox.is_over
    assert carrier.outbox.take() == [Done()]
    assert carrier.outbox.is_over
