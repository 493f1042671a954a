"""Both things that a driver lends, budgets and limits per minute, as one."""

from collections.abc import Mapping
from typing import TypeAlias

from agent_pipeline.control.budget import RunBudget
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.engines.leases.budget_lessor import BudgetLessor
from agent_pipeline.engines.leases.lessor import Tell
from agent_pipeline.engines.leases.rate_lessor import RateLessor
from agent_pipeline.engines.messages import Amount, HeardWanted, LeaseReport, LeaseReturned, LeaseWanted

PerMinute: TypeAlias = tuple[int | None, int | None]


class Lending:
    """Lends a run's budgets and its limits per minute, as a `Lessor` does.

    Args:
        budget: the run's own.
        tell: sends a command to a worker.
        per_minute: requests and tokens, as they are configured for every provider and model; None is unlimited.
    """

    def __init__(self, budget: RunBudget, tell: Tell, *, per_minute: PerMinute) -> None:
        requests, tokens = per_minute
        self._tell = tell
        self._budgets = BudgetLessor(budget, tell)
        self._rates = RateLessor(tell, requests_per_minute=requests, tokens_per_minute=tokens)

    async def run(self) -> None:
        """Give those who wait for a minute to pass what it makes free, until cancelled."""
        await self._rates.run()

    def join(self, worker: int) -> None:
        """Count a worker among those who share."""
        self._budgets.join(worker)
        self._rates.join(worker)

    def take(self, worker: int, report: LeaseReport) -> None:
        """Take what a worker wants, gives back, has used or was told by a provider."""
        match report:
            case LeaseWanted():
                grant = self._budgets.want(worker, report)
                if grant is not None:
                    self._tell(worker, grant)
            case LeaseReturned():
                self._budgets.returned(worker, report)
            case HeardWanted():
                self._budgets.news(worker)
            case _:
                self._rates.take(worker, report)

    def spent(self, worker: int, attempt: AttemptRecord) -> None:
        """Take an attempt as it leaves, or has ended."""
        self._budgets.spent(worker, attempt)

    def revoke(self, worker: int) -> Mapping[str, Amount]:
        """Believe a worker that is gone nothing more; return what of budgets is withheld for it, by owner."""
        self._rates.revoke(worker)
        return self._budgets.revoke(worker)

    def dismiss(self, worker: int) -> None:
        """Believe a worker nothing more that has said its last word."""
        self._rates.revoke(worker)
        self._budgets.dismiss(worker)
