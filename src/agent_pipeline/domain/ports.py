"""The Protocols through which the pipeline reaches the world."""

from typing import Protocol

from agent_pipeline.domain.events import Event


class Emit(Protocol):
    """Hand an event to the sinks; never blocks and never raises (what can't be taken is counted)."""

    def __call__(self, event: Event, /) -> None:
        """Take the event."""
        ...
