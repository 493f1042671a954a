"""The way between a driver and one worker, whatever carries it: Ray, or a channel in the same process."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

from agent_pipeline.engines.messages import Command, Report, WorkerPlan


class WorkerLostError(Exception):
    """A worker is gone, or can't be reached; what it was about has to be found out. Never leaves the engine."""


class DriverEnd(Protocol):
    """The driver's end of a way to one worker."""

    async def receive(self) -> Sequence[Report]:
        """Wait for the next reports, in the order in which they were made; nothing more comes after `Done`.

        Cancelled, no report is lost: the next call returns it.

        Raises:
            WorkerLostError: the worker is gone.
        """
        ...

    def send(self, command: Command) -> None:
        """Send a command; never blocks. One to a worker that is gone is lost without a word: `receive` tells."""
        ...

    async def kill(self) -> None:
        """End the worker at once, whatever it does: it can charge and call nobody when this returns, or is cut off.

        Also the fence before its documents are given to another: whatever it still reports is not believed.
        """
        ...


class WorkerEnd(Protocol):
    """The worker's end."""

    def report(self, report: Report) -> None:
        """Queue a report; never blocks. Many leave together: at 25 ended documents, or after 0.2 s."""
        ...

    def flush(self) -> None:
        """Let what is queued leave at once: somebody waits for an answer."""
        ...

    async def receive(self) -> Command:
        """Wait for the driver's next command.

        Raises:
            trio.EndOfChannel: the driver is gone.
        """
        ...


WorkerMain: TypeAlias = Callable[[WorkerPlan, WorkerEnd], Awaitable[None]]
"""Works under Trio until told to finish; a module-level function, so that its name is all that travels."""

OpenWorker: TypeAlias = Callable[[WorkerPlan], AbstractAsyncContextManager[DriverEnd]]
"""Starts a worker and gives its driver's end; no process of it is left when the block ends."""
