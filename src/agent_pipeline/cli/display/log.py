"""Every line of the run log, on stderr as well."""

from datetime import datetime
from pathlib import Path

from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.cli.output import Channel
from agent_pipeline.domain.events import Event
from agent_pipeline.domain.ports import Emit
from agent_pipeline.telemetry import Redactor, RunLogSink


class LogDisplay(RunLogSink):
    """A sink that writes what the run log holds to stderr; its lines have no control characters by construction.

    A reader that has gone, or is too slow, is no loss: the run log has every line.
    """

    name = "display"

    def __init__(self, progress: Progress, channel: Channel, redactor: Redactor) -> None:
        super().__init__(Path("stderr"), redactor=redactor)
        self._progress = progress
        self._channel = channel

    def start(self, _emit: Emit, /) -> None:
        """Nothing is opened."""

    def handle(self, event: Event, at: datetime) -> None:
        """Count and write one line."""
        self._progress.take(event, at)
        self._progress.failures.clear()
        super().handle(event, at)

    def write(self, line: str) -> None:
        """Write one line."""
        self._channel.write(f"{line}\n")

    def flush(self) -> None:
        """Hand the lines over."""
        self._channel.flush()

    def close(self) -> None:
        """Hand the last lines over."""
        self._channel.end()
