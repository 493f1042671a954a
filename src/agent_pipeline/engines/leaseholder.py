"""The worker's side of leases: a budget that has only what was granted, and limits per minute that ask before sending."""

from collections.abc import Callable, Collection

from agent_pipeline.control.budget import RunBudget
from agent_pipeline.control.gate import Gate
from agent_pipeline.engines.messages import Command, Report


class Leases:
    """What a worker holds of budgets and limits that belong to the whole run.

    The worker makes it first, makes its gate of `budget` and with `sharing=leases`, then calls `serve(gate)`, starts
    `run` beside its documents, and gives it every command through `take`. At its end it calls `close`, then says
    `Done`. Nobody awaits a lease: it is asked for by a report, and what was granted arrives by `take` whoever was
    cancelled meanwhile.

    Args:
        report: queues a report.
        flush: lets queued reports leave at once.
        leased: owners of budgets of which the worker has nothing but what it is granted, as in `WorkerPlan`.

    Attributes:
        budget: the run's, for the gate.
    """

    def __init__(
        self, report: Callable[[Report], object], flush: Callable[[], object], leased: Collection[str]
    ) -> None:
        self._report = report
        self._flush = flush
        self.budget = RunBudget()

    def serve(self, gate: Gate) -> None:
        """Wake those who wait at this gate when something arrives."""
        raise NotImplementedError

    async def run(self) -> None:
        """Report what was used, and give back what is not used in time, until cancelled."""
        raise NotImplementedError

    def take(self, command: Command) -> bool:
        """Take `Grant`, `Recall`, `RateLimits`, `RateGrant` or `Pause`; return whether it was one of them."""
        raise NotImplementedError

    def close(self) -> None:
        """Report what is not reported yet, and give everything back; for when nothing is in flight any more."""
        raise NotImplementedError
