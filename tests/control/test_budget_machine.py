"""A budget under any sequence of ends, against an oracle kept by hand."""

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from agent_pipeline.control.budget import Hold, RunBudget

CAPS = {"tokens": 100, "micro_usd": 60}


class BudgetMachine(RuleBasedStateMachine):
    """Reserves and ends in any order; the oracle is two pairs of numbers and a set."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.budget = RunBudget(tokens=CAPS["tokens"], micro_usd=CAPS["micro_usd"])
        self.open: list[Hold] = []
        self.spent = [0, 0]
        self.unknown = [0, 0]

    @rule(target=held, tokens=st.integers(0, 40), micro_usd=st.integers(0, 40))
    def reserve(self, tokens: int, micro_usd: int) -> Hold | None:
        """Get a hold exactly when both dimensions have room."""
        reserved = [sum(one.tokens for one in self.open), sum(one.micro_usd for one in self.open)]
        fits = (
            self.spent[0] + reserved[0] + tokens <= CAPS["tokens"]
            and self.spent[1] + reserved[1] + micro_usd <= CAPS["micro_usd"]
        )

        hold = self.budget.reserve_nowait(tokens=tokens, micro_usd=micro_usd)

        assert (hold is not None) == fits
        if hold is not None:
            self.open.append(hold)
        return hold

    @rule(hold=consumes(held), share=st.fractions(0, 1))
    def settle(self, hold: Hold | None, share: float) -> None:
        """Charge a part of what is held."""
        if hold is not None:
            charged = int(hold.tokens * share), int(hold.micro_usd * share)
            hold.settle(tokens=charged[0], micro_usd=charged[1])
            self._ended(hold, charged)

    @rule(hold=consumes(held))
    def release(self, hold: Hold | None) -> None:
        """Charge nothing."""
        if hold is not None:
            hold.release()
            self._ended(hold, (0, 0))

    @rule(hold=consumes(held))
    def forfeit(self, hold: Hold | None) -> None:
        """Charge everything, unknown."""
        if hold is not None:
            hold.forfeit()
            self._ended(hold, (hold.tokens, hold.micro_usd))
            self.unknown = [self.unknown[0] + hold.tokens, self.unknown[1] + hold.micro_usd]

    def _ended(self, hold: Hold, charged: tuple[int, int]) -> None:
        self.open.remove(hold)
        self.spent = [self.spent[0] + charged[0], self.spent[1] + charged[1]]

    @invariant()
    def the_cap_holds_and_the_books_agree(self) -> None:
        """No sequence of ends passes a cap or loses a unit."""
        tokens, money = self.budget.tokens.statistics(), self.budget.micro_usd.statistics()
        assert tokens.spent + tokens.reserved <= CAPS["tokens"]
        assert money.spent + money.reserved <= CAPS["micro_usd"]
        assert [tokens.spent, money.spent] == self.spent
        assert [tokens.unknown, money.unknown] == self.unknown
        assert tokens.reserved == sum(one.tokens for one in self.open)
        assert money.reserved == sum(one.micro_usd for one in self.open)

    def teardown(self) -> None:
        """Once everything has ended nothing is held."""
        for hold in list(self.open):
            hold.release()
        assert self.budget.tokens.statistics().reserved == 0
        assert self.budget.micro_usd.statistics().reserved == 0


TestBudgetMachine = BudgetMachine.TestCase
