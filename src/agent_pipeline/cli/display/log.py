"""Every line of the run log, on stderr as well."""

import os
from datetime import datetime
from pathlib import Path

from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.domain.events import Event
from agent_pipeline.telemetry import LinesLostError, Redactor, RunLogSink

_STDERR = 2


class LogDisplay(RunLogSink):
    """A sink that writes what the run log holds to stderr; its lines have no control characters by construction."""

    name = "display"

    def __init__(self, progress: Progress, redactor: Redactor) -> None:
        super().__init__(Path("stderr"), redactor=redactor, create=lambda _: os.dup(_STDERR))
        self._progress = progress
        self._gone = False

    def handle(self, event: Event, at: datetime) -> None:
        """Count and format one line."""
        self._progress.take(event, at)
        self._progress.failures.clear()
        if not self._gone:
            super().handle(event, at)

    def flush(self) -> None:
        """Write what waits; a reader that has gone is no loss, the run log has every line."""
        try:
            super().flush()
        except LinesLostError:
            self._gone = True

    def close(self) -> None:
        """Write what is left and let stderr go."""
        self.flush()
        super().close()
