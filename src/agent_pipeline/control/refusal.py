"""The error of a request that fits no more: its document's alone, or one that ends the run."""

from collections.abc import Sequence

from agent_pipeline.control.budget import Shortage
from agent_pipeline.errors import BudgetExceededError, DocumentBudgetExceededError

_UNITS = {"tokens": "tokens", "usd": "micro-dollars"}


def refusal(role: str, shortages: Sequence[Shortage]) -> BudgetExceededError | DocumentBudgetExceededError:
    """Return the error for a request of this role; it names every dimension that is too small.

    A document whose own budget is too small is the only one to fail, whatever else is too small for its request: the
    other documents' may still fit.
    """
    own = [one for one in shortages if one.budget.kind == "document"]
    concerned = own or shortages
    wanted = dict.fromkeys(f"{one.wanted} {_UNITS[one.dimension]}" for one in concerned)
    msg = (
        f"{' and '.join(map(_what_is_left, concerned))}, and the next request of role {role} may cost "
        f"{' and '.join(wanted)}; raise the budget to go on"
    )
    first, *others = [_name(one) for one in concerned]
    error = DocumentBudgetExceededError if own else BudgetExceededError
    return error(msg, dimension=first, others=tuple(others))


def _what_is_left(short: Shortage) -> str:
    budget, dimension = short.budget, short.dimension
    counted = (budget.tokens if dimension == "tokens" else budget.micro_usd).statistics()
    total = counted.total or 0
    whose = {"run": "the budget", "role": f"role {budget.name}'s budget", "document": "this document's budget"}
    return f"{whose[budget.kind]} of {total} {_UNITS[dimension]} has {max(0, total - counted.spent)} left"


def _name(short: Shortage) -> str:
    """Return the dimension as a run's reason names it."""
    return f"role:{short.budget.name}:{short.dimension}" if short.budget.kind == "role" else short.dimension
