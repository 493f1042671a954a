"""What an engine is: it takes documents as there are places for them, and is done when they are."""

from collections.abc import AsyncGenerator, Iterable
from typing import Protocol

from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.domain.snapshot import UnderWay


class Engine(Protocol):
    """Works on documents: in this process (`pipeline.admission.Admission`), or in workers (`Driver`)."""

    async def admit(self, entries: AsyncGenerator[SourceEntry]) -> None:
        """Take what the source gives until it, or the run, ends; `entries` is closed then.

        Raises:
            AgentPipelineError: the source turned out to be unusable; what was admitted goes on to its end.
        """
        ...

    def elsewhere(self) -> Iterable[UnderWay]:
        """Return what each of the other processes has under way; nothing where there are none."""
        ...

    def set_in_flight(self, count: int) -> None:
        """Have at most so many documents in flight from now on; those beyond that go on."""
        ...
