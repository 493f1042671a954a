"""How large a window is, and what is withheld when a worker is lost; without time or network."""

from tests.engines.bank import Bank

from agent_pipeline.control.budget import (
    Budget,
    BudgetStatistics,
    Caps,
    RunBudget,
)
from agent_pipeline.engines.messages import Amount, Grant, LeaseWanted


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
