"""What lends a run's budgets and limits per minute to its workers, as the driver sees it."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.engines.messages import Amount, Command, LeaseReport

Tell: TypeAlias = Callable[[int, Command], None]
"""Sends a command to a worker, by its number; one to a worker that is gone is lost without a word."""


class Lessor(Protocol):
    """Lends to workers; what it has to say to them goes out by a `Tell`."""

    async def run(self) -> None:
        """Do what time brings, until cancelled."""
        ...

    def join(self, worker: int) -> None:
        """Count a worker among those who share; it is ready."""
        ...

    def take(self, worker: int, report: LeaseReport) -> None:
        """Take what a worker wants, gives back, has used or was told by a provider."""
        ...

    def spent(self, worker: int, attempt: AttemptRecord) -> None:
        """Take an attempt as it leaves (no outcome), or has ended."""
        ...

    def revoke(self, worker: int) -> Mapping[str, Amount]:
        """Believe a worker that is gone nothing more: what was under way becomes unknown spend.

        Returns what of each owner's budget is withheld from now on, for requests that may have left unheard; all else
        is free.
        """
        ...

    def dismiss(self, worker: int) -> None:
        """Believe a worker nothing more that has said its last word: what it has not used is free."""
        ...


Lend: TypeAlias = Callable[[Tell], Lessor]
