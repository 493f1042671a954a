"""No display: nothing is shown, but where the run keeps its files is remembered for a message in the end."""

from datetime import datetime

from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.domain.events import Event, PipelineStarted


class UnseenDisplay:
    """A sink that writes nothing."""

    name = "display"

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def accepts(self, kind: type[Event]) -> bool:
        """Only the event that names the run directory."""
        return issubclass(kind, PipelineStarted)

    def handle(self, event: Event, at: datetime) -> None:
        """Remember it."""
        self._progress.take(event, at)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""
