"""Every line of the run log, on stderr as well."""

import os
from datetime import datetime
from pathlib import Path

from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.domain.events import Event
from agent_pipeline.telemetry import LinesLostError, OpenFile, Redactor, RunLogSink

_STDERR = 2


class LogDisplay(RunLogSink):
    """A sink that writes what the run log holds to stderr; its lines have no control characters by construction."""

    name = "display"

    def __init__(self, progress: Progress, redactor: Redactor) -> None:
        super().__init__(Path("stderr"), redactor=redactor, open_with=_stderr)
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


def _stderr(_path: Path) -> OpenFile:
    """Return stderr as a file of lines, nothing of which may be cut off: others write there too."""
    return OpenFile(os.dup(_STDERR), size=None)
