"""No display: nothing is shown, but what the last message needs is remembered."""

from datetime import datetime

from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.domain.events import Event, PipelineStarted, RunStopping


class UnseenDisplay:
    """A sink that writes nothing."""

    name = "display"

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def accepts(self, kind: type[Event]) -> bool:
        """Only where the run keeps its files, and why it ends early."""
        return issubclass(kind, PipelineStarted | RunStopping)

    def handle(self, event: Event, at: datetime) -> None:
        """Remember it."""
        self._progress.take(event, at)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""
