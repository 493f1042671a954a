"""Whose tokens and money a request uses: the run's, its role's and its document's, held together or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from agent_pipeline.control.tracker import (
    BudgetStatistics,
    BudgetTracker,
    Reservation,
    check_total,
    reserve_all_nowait,
    reserve_all_regardless,
)
from agent_pipeline.domain.usage import NOTHING_SPENT, Spending

__all__ = [
    "Budget",
    "BudgetStatistics",
    "BudgetTracker",
    "Caps",
    "Dimension",
    "Hold",
    "Reservation",
    "RunBudget",
    "SharedBudget",
    "Shortage",
    "Supply",
    "ask_for_more",
    "find_shortages",
    "hold_nowait",
    "hold_regardless",
]

Dimension = Literal["tokens", "usd"]
Kind = Literal["run", "role", "document", "shared"]


@dataclass(frozen=True, slots=True)
class Caps:
    """What may be used of each unit; None is unlimited."""

    tokens: int | None = None
    micro_usd: int | None = None

    @property
    def exist(self) -> bool:
        """Whether anything is limited."""
        return self.tokens is not None or self.micro_usd is not None


class Supply(Protocol):
    """Where a budget gets more from that has only a part of what its owner has."""

    def taken(self, tokens: int, micro_usd: int) -> None:
        """Learn that so much was held just now: it may be time to ask for more."""
        ...

    def lacking(self, tokens: int, micro_usd: int) -> None:
        """Ask for more, unless that was done: somebody waits for so much, and it does not fit."""
        ...

    def could_fit(self, dimension: Dimension, amount: int) -> bool:
        """Whether so much fits, or may yet fit, into what the owner has in all."""
        ...

    def standing(self, dimension: Dimension) -> tuple[int, int]:
        """Return what the owner has in all, and what of it may still be had."""
        ...


class Budget:
    """The tokens and the money of one owner. Both are counted also where they have no cap.

    Money is counted in integer micro-dollars. Callers that wait for room are woken by the gate: what is held by others
    than the gate's own attempts wakes nobody, unless the budget is a `SharedBudget`.

    Args:
        kind: what kind of thing owns it.
        name: which one; empty for the run.
        caps: what may be used.
        spent: what earlier sessions of the run were charged; may be above the caps, then nothing more fits.

    Attributes:
        supply: where it gets more from; None where its caps are all there is.
    """

    def __init__(self, kind: Kind, name: str, caps: Caps, spent: Spending = NOTHING_SPENT) -> None:
        self.kind = kind
        self.name = name
        self.tokens = BudgetTracker(caps.tokens, spent.tokens, spent.unknown_tokens)
        self.micro_usd = BudgetTracker(caps.micro_usd, spent.micro_usd)
        self.supply: Supply | None = None

    def reserve_nowait(self, *, tokens: int, micro_usd: int) -> "Hold | None":
        """Hold both amounts, or nothing and return None."""
        return hold_nowait((self,), tokens=tokens, micro_usd=micro_usd)

    def may_have_room_for(self, tokens: int) -> bool:
        """Whether so many tokens fit, or may yet fit."""
        return self.tokens.could_fit(tokens) if self.supply is None else self.supply.could_fit("tokens", tokens)

    def may_afford(self, micro_usd: int) -> bool:
        """Whether so much money fits, or may yet fit."""
        return self.micro_usd.could_fit(micro_usd) if self.supply is None else self.supply.could_fit("usd", micro_usd)

    def standing(self, dimension: Dimension) -> tuple[int, int]:
        """Return what there is in all of a dimension that has a cap, and what of it may still be had."""
        if self.supply is not None:
            return self.supply.standing(dimension)
        counted = (self.tokens if dimension == "tokens" else self.micro_usd).statistics()
        total = counted.total or 0
        return total, max(0, total - counted.spent - counted.withheld)

    def set_totals(self, *, tokens: int | None, micro_usd: int | None) -> None:
        """Count against other caps from now on, both or, where one is negative, neither; wakes nobody by itself."""
        for total in (tokens, micro_usd):
            check_total(total)
        self.tokens.set_total(tokens)
        self.micro_usd.set_total(micro_usd)


class SharedBudget(Budget):
    """Tokens that others than this gate's calls hold on as well, also from other threads; money is only counted.

    Who waits for room is woken by the tracker, whoever makes it.

    Args:
        tracker: counts tokens.
        may_wait: False refuses at once what does not fit now: for a call made by somebody who holds room himself,
            which others may be waiting for.
    """

    def __init__(self, tracker: BudgetTracker, *, may_wait: bool = True) -> None:
        super().__init__("shared", "", Caps())
        self.tokens = tracker
        self.may_wait = may_wait

    def may_have_room_for(self, tokens: int) -> bool:
        """Whether so many tokens fit, or may yet fit and waiting for that is allowed."""
        return super().may_have_room_for(tokens) if self.may_wait else self.tokens.fits_now(tokens)


class RunBudget(Budget):
    """The budget of one run, and of those of its roles that have one of their own.

    Args:
        tokens: the cap; None counts without one.
        micro_usd: likewise.
        spent_tokens: what the run's earlier sessions were charged; may be above the cap, then nothing more fits.
        unknown_tokens: the part of it that nobody reported.
        spent_micro_usd: what the earlier sessions cost.
        roles: by the role's name.
    """

    def __init__(
        self,
        *,
        tokens: int | None = None,
        micro_usd: int | None = None,
        spent_tokens: int = 0,
        unknown_tokens: int = 0,
        spent_micro_usd: int = 0,
        roles: Mapping[str, Budget] | None = None,
    ) -> None:
        super().__init__("run", "", Caps(tokens, micro_usd), Spending(spent_tokens, unknown_tokens, spent_micro_usd))
        self.roles: Mapping[str, Budget] = {} if roles is None else dict(roles)

    def concerning(self, role: str, document: Budget | None) -> tuple[Budget, ...]:
        """Return the budgets that a request of this role and document is held on, the narrowest first.

        A document's budget comes with its requests and is kept by nobody else: it goes when the document ends.
        """
        of_role = self.roles.get(role)
        return tuple(budget for budget in (document, of_role, self) if budget is not None)


@dataclass(frozen=True, slots=True)
class Shortage:
    """A budget whose one dimension is too small for what was wanted, even if everything held were given back."""

    budget: Budget
    dimension: Dimension
    wanted: int


class Hold:
    """What one attempt holds, the same amounts on each of its budgets; ended exactly once."""

    __slots__ = ("_money", "_tokens")

    def __init__(self, tokens: Sequence[Reservation], money: Sequence[Reservation]) -> None:
        self._tokens = tokens
        self._money = money

    @property
    def tokens(self) -> int:
        """Tokens held."""
        return self._tokens[0].amount

    @property
    def micro_usd(self) -> int:
        """Micro-dollars held."""
        return self._money[0].amount

    def settle(self, *, tokens: int, micro_usd: int, unknown_tokens: int = 0, unknown_micro_usd: int = 0) -> None:
        """Charge what was reported, and what nobody reported on top of it."""
        for held in self._tokens:
            held.settle(tokens, unknown=unknown_tokens)
        for held in self._money:
            held.settle(micro_usd, unknown=unknown_micro_usd)

    def release(self) -> None:
        """Give all back."""
        for held in (*self._tokens, *self._money):
            held.release()

    def forfeit(self) -> None:
        """Charge all in full, as unknown spend."""
        for held in (*self._tokens, *self._money):
            held.forfeit()


def hold_nowait(budgets: Sequence[Budget], *, tokens: int, micro_usd: int) -> Hold | None:
    """Hold both amounts on every budget at one instant, or nothing on any and return None."""
    held = reserve_all_nowait(_wanted(budgets, tokens, micro_usd))
    if held is None:
        return None
    for budget in budgets:
        if budget.supply is not None:
            budget.supply.taken(tokens, micro_usd)
    return Hold(held[: len(budgets)], held[len(budgets) :])


def hold_regardless(budgets: Sequence[Budget], *, tokens: int, micro_usd: int) -> Hold:
    """Hold both amounts on every budget, also beyond its caps: for work that is under way already."""
    held = reserve_all_regardless(_wanted(budgets, tokens, micro_usd))
    return Hold(held[: len(budgets)], held[len(budgets) :])


def _wanted(budgets: Sequence[Budget], tokens: int, micro_usd: int) -> list[tuple[BudgetTracker, int]]:
    return [(budget.tokens, tokens) for budget in budgets] + [(budget.micro_usd, micro_usd) for budget in budgets]


def ask_for_more(budgets: Sequence[Budget], *, tokens: int, micro_usd: int) -> None:
    """Let those of these budgets that do not have so much, and have a supply, ask it for more."""
    for budget in budgets:
        if budget.supply is not None and not (budget.tokens.fits_now(tokens) and budget.micro_usd.fits_now(micro_usd)):
            budget.supply.lacking(tokens, micro_usd)


def find_shortages(budgets: Sequence[Budget], *, tokens: int, micro_usd: int) -> tuple[Shortage, ...]:
    """Return all that is too small for these amounts for good, in the order of the budgets."""
    found: list[Shortage] = []
    for budget in budgets:
        if not budget.may_have_room_for(tokens):
            found.append(Shortage(budget, "tokens", tokens))
        if not budget.may_afford(micro_usd):
            found.append(Shortage(budget, "usd", micro_usd))
    return tuple(found)
