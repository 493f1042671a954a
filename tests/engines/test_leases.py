"""Who is lent how much of a budget, what is asked back, and when nothing more is to be had; without time or network."""

import pytest
from tests.engines.bank import Bank, unframed

from agent_pipeline.control.budget import Budget, BudgetStatistics, Caps, RunBudget
from agent_pipeline.engines.messages import Amount, Grant, LeaseReturned, LeaseWanted, Left, Recall


def granted(number: int, tokens: int) -> Grant:
    """Return the answer to a question."""
    return Grant(f"#{number}", "", Amount(tokens))


def test_a_grant_is_what_is_wanted_while_that_is_a_small_part_of_what_is_free() -> None:
    """What is lent counts as held, so that whoever looks at the budget sees no more free than there is."""
    bank = Bank(RunBudget(tokens=1000))

    assert bank.ask(1, 1, need=40, want=200) == granted(1, 200)
    assert bank.tokens == BudgetStatistics(total=1000, spent=0, reserved=200, unknown=0)


def test_parts_shrink_with_what_is_free_but_not_below_what_is_needed() -> None:
    """So that nothing is stranded with one while others wait: a part of 2 x workers, at least the need."""
    bank = Bank(RunBudget(tokens=1000))

    assert bank.ask(1, 1, need=40, want=900) == granted(1, 250)
    assert bank.ask(2, 1, need=40, want=900) == granted(1, 750 // 4)
    assert bank.ask(1, 2, need=500, want=900) == granted(2, 500)


def test_what_has_no_cap_is_granted_as_wanted() -> None:
    """A budget with a cap on money alone counts tokens all the same."""
    bank = Bank(RunBudget(micro_usd=100))

    grant = bank.lessor.want(1, LeaseWanted("#1", "", Amount(40, 7), Amount(9000, 90), Amount(40, 7)))

    assert unframed(grant) == Grant("#1", "", Amount(9000, 25))


def test_a_question_asked_again_gets_the_same_answer_and_nothing_twice() -> None:
    """The answer may have been lost; or it was not, and then the worker ignores the second."""
    bank = Bank(RunBudget(tokens=1000))

    first = bank.ask(1, 1, need=40, want=200)
    again = bank.ask(1, 1, need=40, want=200)

    assert first == again
    assert bank.tokens.reserved == 200


def test_waiting_twice_with_one_question_is_waiting_once() -> None:
    """A question that can't be answered yet may be repeated too."""
    bank = Bank(RunBudget(tokens=100))
    bank.ask(1, 1, need=100)

    assert bank.ask(2, 1, need=60) is None
    assert bank.ask(2, 1, need=60) is None
    bank.lessor.returned(1, LeaseReturned("", Amount(100)))

    assert [one for one in bank.told if isinstance(one[1], Grant)] == [(2, granted(1, 60))]
    assert bank.tokens.reserved == 60


def test_who_asks_ahead_gets_nothing_while_others_wait_and_never_waits() -> None:
    """He needs nothing yet."""
    bank = Bank(RunBudget(tokens=100), workers=3)
    bank.ask(1, 1, need=90)

    assert bank.ask(2, 1, need=0, want=50) == granted(1, 10 // 6)
    assert bank.ask(3, 1, need=40) is None
    assert bank.ask(2, 2, need=0, want=50) == granted(2, 0)


def test_what_lies_idle_is_called_back_when_somebody_waits() -> None:
    """From whoever has most, once; what he gives back goes to who waits."""
    bank = Bank(RunBudget(tokens=200), workers=3)
    bank.ask(1, 1, need=150)
    bank.ask(2, 1, need=30)

    assert bank.ask(3, 1, need=50) is None
    assert bank.ask(3, 1, need=50) is None
    assert bank.told == [(1, Recall(""))]

    bank.lessor.returned(1, LeaseReturned("", Amount(110)))

    assert bank.told[1:] == [(3, granted(1, 50))]
    assert bank.tokens.reserved == 40 + 30 + 50


def test_no_more_are_asked_than_have_what_is_missing() -> None:
    """Whoever gives all back has to ask for it again."""
    bank = Bank(RunBudget(tokens=200), workers=4)
    for worker, tokens in ((1, 20), (2, 90), (3, 80)):
        bank.ask(worker, 1, need=tokens)

    bank.ask(4, 1, need=120)

    assert bank.told == [(2, Recall("")), (3, Recall(""))]


def test_who_had_nothing_to_give_back_is_asked_again_when_a_request_of_his_ends() -> None:
    """What it did not cost lies idle then."""
    bank = Bank(RunBudget(tokens=100))
    bank.ask(1, 1, need=100)
    bank.send(1, "a", 60)
    bank.ask(2, 1, need=70)
    assert bank.told == [(1, Recall(""))]

    bank.end(1, "a", 10)

    assert bank.told == [(1, Recall(""))] * 2


def test_who_waits_is_answered_in_turn() -> None:
    """A small request does not pass a large one for ever."""
    bank = Bank(RunBudget(tokens=100), workers=3)
    bank.ask(1, 1, need=100)
    bank.ask(2, 1, need=80)
    bank.ask(3, 1, need=10)

    bank.lessor.returned(1, LeaseReturned("", Amount(50)))
    assert bank.told == [(1, Recall("")), (1, Recall(""))]
    bank.lessor.returned(1, LeaseReturned("", Amount(50)))

    assert bank.told[2:] == [(2, granted(1, 80)), (3, granted(1, 10))]


def test_a_request_that_can_never_fit_is_told_so_with_what_there_is() -> None:
    """The same as in one process: it is too large for what nobody was charged yet; what others hold does not matter."""
    bank = Bank(RunBudget(tokens=100, spent_tokens=30))
    bank.ask(1, 1, need=50)

    assert bank.ask(2, 1, need=71) == Grant("#1", "", Amount(), is_last=True, left=(Left("tokens", 100, 70),))
    assert bank.ask(2, 2, need=70) is None


def test_a_worker_whose_own_part_is_used_up_is_not_refused_at_half_of_the_budget() -> None:
    """Whether there is more is not to be seen from what one worker has left."""
    bank = Bank(RunBudget(tokens=1000))
    grant = bank.ask(1, 1, need=40, want=100)
    assert grant is not None
    for number in range(4):
        bank.send(1, str(number), 25)
        bank.end(1, str(number), 25)

    again = bank.ask(1, 2, need=40, want=100)

    assert again == granted(2, 100)
    assert bank.tokens == BudgetStatistics(total=1000, spent=100, reserved=100, unknown=0)


def test_own_requests_under_way_may_still_make_room() -> None:
    """Refused is what is too large for what is not spent, and they have spent nothing yet."""
    bank = Bank(RunBudget(tokens=100), workers=1)
    bank.ask(1, 1, need=90)
    bank.send(1, "a", 90)

    assert bank.ask(1, 2, need=50, worst=50) is None
    bank.end(1, "a", 30)

    # It has 60 itself by now; it needs no more, and nobody behind it waits for it in vain.
    assert bank.told == [(1, granted(2, 0))]
    assert bank.tokens == BudgetStatistics(total=100, spent=30, reserved=60, unknown=0)


def test_what_an_attempt_is_charged_moves_from_lent_to_spent() -> None:
    """What it did not cost is the worker's again, who reserves the next request on it."""
    bank = Bank(RunBudget(tokens=1000))
    bank.ask(1, 1, need=100)

    bank.send(1, "a", 40)
    assert bank.tokens == BudgetStatistics(total=1000, spent=0, reserved=100, unknown=0)
    bank.end(1, "a", 15)

    assert bank.tokens == BudgetStatistics(total=1000, spent=15, reserved=85, unknown=0)


def test_what_passes_its_worst_case_is_spent_all_the_same() -> None:
    """And what the worker lacks for it is no more than was spent: its next request gets what there is."""
    bank = Bank(RunBudget(tokens=100), workers=1)
    bank.ask(1, 1, need=40)
    bank.send(1, "a", 40)

    bank.end(1, "a", 55)
    assert bank.tokens == BudgetStatistics(total=100, spent=55, reserved=0, unknown=0)

    assert bank.ask(1, 2, need=45 + 15, worst=45) == granted(2, 60)
    assert bank.tokens == BudgetStatistics(total=100, spent=55, reserved=45, unknown=0)


def test_what_nobody_reported_is_unknown_spend() -> None:
    """An attempt that ended without usage was charged its worst case."""
    bank = Bank(RunBudget(tokens=100))
    bank.ask(1, 1, need=40)
    bank.send(1, "a", 40)

    bank.end(1, "a", 40, known=False)

    assert bank.tokens == BudgetStatistics(total=100, spent=40, reserved=0, unknown=40)


def test_of_a_lost_worker_the_proven_is_spent_the_open_is_unknown_and_the_rest_is_free_but_for_a_window() -> None:
    """What it reports later was judged already."""
    bank = Bank(RunBudget(tokens=1000))
    bank.ask(1, 1, need=200)
    for name, tokens in (("proven", 50), ("open", 60)):
        bank.send(1, name, tokens)
    bank.end(1, "proven", 20)

    bank.lessor.revoke(1)
    bank.end(1, "open", 5)
    bank.send(1, "late", 70)
    bank.lessor.returned(1, LeaseReturned("", Amount(30)))

    assert bank.tokens == BudgetStatistics(total=1000, spent=80, reserved=0, unknown=60, withheld=7)
    assert bank.ask(1, 2, need=1) is None
    bank.lessor.revoke(1)


def test_who_waits_gets_what_a_lost_worker_leaves() -> None:
    """A question of the lost one itself is forgotten."""
    bank = Bank(RunBudget(tokens=100), workers=3)
    bank.ask(1, 1, need=100)
    bank.ask(2, 1, need=60)
    bank.ask(3, 1, need=40)

    bank.lessor.revoke(2)
    bank.lessor.revoke(1)

    assert bank.told == [(1, Recall("")), (3, granted(1, 40))]
    assert bank.tokens.reserved == 40


def test_a_role_has_a_budget_of_its_own_and_is_charged_with_the_run() -> None:
    """Each is asked for by its own name."""
    bank = Bank(RunBudget(tokens=1000, roles={"writer": Budget("role", "writer", Caps(tokens=100))}))

    of_role = bank.lessor.want(1, LeaseWanted("r#1", "role:writer", Amount(40), Amount(40), Amount(40)))
    bank.ask(1, 1, need=40)
    bank.send(1, "a", 40)
    bank.end(1, "a", 30)

    assert unframed(of_role) == Grant("r#1", "role:writer", Amount(40))
    assert bank.budget.roles["writer"].tokens.statistics() == BudgetStatistics(100, 30, 10, 0)
    assert bank.tokens == BudgetStatistics(1000, 30, 10, 0)


def test_what_nobody_leases_is_counted_all_the_same() -> None:
    """A run without a cap says in the end what it used; what is under way shows as held."""
    bank = Bank(RunBudget())

    bank.send(1, "a", 40, money=8)
    assert (bank.tokens.reserved, bank.budget.micro_usd.statistics().reserved) == (40, 8)
    bank.end(1, "a", 25)

    assert bank.tokens == BudgetStatistics(None, 25, 0, 0)


def test_a_raised_cap_revives_who_was_refused() -> None:
    """Once: it asks anew, and who waits is served without asking."""
    bank = Bank(RunBudget(tokens=100), workers=3)
    bank.ask(1, 1, need=60)
    bank.ask(2, 1, need=101)
    bank.ask(3, 1, need=50)

    bank.budget.set_totals(tokens=200, micro_usd=None)
    bank.lessor.caps_changed()

    notice = Grant("", "", Amount())
    assert bank.told[1:] == [(2, notice), (3, granted(1, 50))]
    bank.lessor.caps_changed()
    assert bank.told[3:] == []


def test_a_cap_that_comes_later_is_leased_from_then_on() -> None:
    """What left before the worker hears of it is in its own count: with its first question both begin anew."""
    bank = Bank(RunBudget(), workers=1)
    bank.send(1, "before", 40)

    bank.budget.set_totals(tokens=100, micro_usd=None)
    bank.lessor.caps_changed()
    assert bank.told == [(1, Grant("", "", Amount()))]
    bank.send(1, "meanwhile", 10)
    bank.ask(1, 1, need=0, want=10)
    assert bank.tokens.reserved == 50 + 10

    bank.end(1, "before", 15)
    assert bank.tokens == BudgetStatistics(100, 15, 10 + 10 + 25, 0)


def test_a_lowered_cap_refuses_who_waits() -> None:
    """He would wait for nothing."""
    bank = Bank(RunBudget(tokens=100))
    bank.ask(1, 1, need=60)
    bank.send(1, "a", 40)
    bank.end(1, "a", 40)
    bank.ask(2, 1, need=50)

    bank.budget.set_totals(tokens=80, micro_usd=None)
    bank.lessor.caps_changed()

    last = Grant("#1", "", Amount(), is_last=True, left=(Left("tokens", 80, 40),))
    assert bank.told == [(1, Recall("")), (2, last)]


@pytest.mark.parametrize(
    ("tokens", "money", "left"), [(200, 5, ("tokens",)), (5, 90, ("usd",)), (200, 90, ("tokens", "usd"))]
)
def test_every_dimension_that_is_too_small_is_named(tokens: int, money: int, left: tuple[str, ...]) -> None:
    """As in one process, where a run's reason names them."""
    bank = Bank(RunBudget(tokens=100, micro_usd=50))
    worst = Amount(tokens, money)

    answer = bank.lessor.want(1, LeaseWanted("#1", "", worst, worst, worst))

    assert answer is not None
    assert answer.is_last
    assert tuple(one.dimension for one in answer.left) == left


def test_a_role_without_money_waits_for_money_alone() -> None:
    """What fits in one dimension and not in the other is not granted by halves."""
    bank = Bank(RunBudget(tokens=100, micro_usd=50))
    bank.lessor.want(1, LeaseWanted("#1", "", Amount(10, 50), Amount(), Amount(10, 50)))

    assert bank.lessor.want(2, LeaseWanted("#1", "", Amount(10, 20), Amount(), Amount(10, 20))) is None
    assert bank.told == [(1, Recall(""))]
    assert bank.tokens.reserved == 10
