"""The error of a request that fits no more: its document's or its caller's alone, or one that ends the run."""

from collections.abc import Sequence

from agent_pipeline.amounts import counted, dollars
from agent_pipeline.control.budget import Dimension, Kind, Shortage
from agent_pipeline.errors import BudgetExceededError, DocumentBudgetExceededError, LLMBudgetExceededError

Refusal = BudgetExceededError | DocumentBudgetExceededError | LLMBudgetExceededError

_KINDS: tuple[tuple[Kind, type[DocumentBudgetExceededError | LLMBudgetExceededError]], ...] = (
    ("document", DocumentBudgetExceededError),
    ("shared", LLMBudgetExceededError),
)
"""Budgets that concern whoever asks alone."""


def refusal(role: str, shortages: Sequence[Shortage]) -> Refusal:
    """Return the error for a request of this role; it names every dimension that is too small.

    Where a budget of the caller's own is too small, a document's or a tracker he brought along, he alone fails,
    whatever else is too small for his request: others' may still fit.
    """
    for kind, error in _KINDS:
        if own := [one for one in shortages if one.budget.kind == kind]:
            return _worded(error, role, own)
    return _worded(BudgetExceededError, role, shortages)


def _worded(error: type[Refusal], role: str, concerned: Sequence[Shortage]) -> Refusal:
    wanted = dict.fromkeys(_amount(one.dimension, one.wanted) for one in concerned)
    msg = (
        f"{' and '.join(map(_what_is_left, concerned))}, and the next request of role {role} may cost "
        f"{' and '.join(wanted)}; raise the budget to go on"
    )
    first, *others = [_name(one) for one in concerned]
    return error(msg, dimension=first, others=tuple(others))


def _what_is_left(short: Shortage) -> str:
    budget, dimension = short.budget, short.dimension
    total, amount = budget.standing(dimension)
    whose = {
        "run": "the budget",
        "role": f"role {budget.name}'s budget",
        "document": "this document's budget",
        "shared": "the shared budget",
    }
    left = f"{dollars(amount) if dimension == 'usd' else f'{amount:,}'} left"
    if budget.kind == "shared" and (reserved := budget.tokens.statistics().reserved):
        left += f" ({reserved:,} of them held by calls under way)"
    return f"{whose[budget.kind]} of {_amount(dimension, total)} has {left}"


def _amount(dimension: Dimension, amount: int) -> str:
    return dollars(amount) if dimension == "usd" else counted(amount, "token")


def _name(short: Shortage) -> str:
    """Return the dimension as a run's reason names it."""
    return f"role:{short.budget.name}:{short.dimension}" if short.budget.kind == "role" else short.dimension
