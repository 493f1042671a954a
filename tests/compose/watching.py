"""A sink that does something at an event."""

from collections.abc import Callable
from datetime import datetime

from agent_pipeline.domain.events import Event


class Watch:
    """Calls back at each event, or only once: at the event of this number, from 1."""

    name = "watch"

    def __init__(self, callback: Callable[[Event], None], *, after: int = 0) -> None:
        self._callback = callback
        self._after = after
        self._seen = 0

    def handle(self, event: Event, at: datetime) -> None:
        """Count, and call back."""
        del at
        self._seen += 1
        if self._after in {0, self._seen}:
            self._callback(event)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing is held."""
