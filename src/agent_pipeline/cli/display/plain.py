"""Plain lines: one per document that ends, and at most one every ten seconds in between."""

from datetime import datetime
from pathlib import PurePath

from agent_pipeline.cli.display.progress import Progress, ending_words, limit_words
from agent_pipeline.cli.output import Channel, one_line
from agent_pipeline.domain.events import (
    DocumentFinished,
    Event,
    PipelineStarted,
    RunCancelling,
    RunStopping,
    Stall,
    TaskTreeWritten,
)
from agent_pipeline.domain.limit_events import BreakerChanged, LiveEditRefused, LiveValueChanged
from agent_pipeline.telemetry import Redactor

PERIOD = 10.0
"""Seconds without a line after which the state is told."""


class PlainDisplay:
    """A sink for pipes, files and CI."""

    name = "display"

    def __init__(self, progress: Progress, channel: Channel, redactor: Redactor) -> None:
        self._progress = progress
        self._channel = channel
        self._redactor = redactor
        self._told_at: datetime | None = None

    def handle(self, event: Event, at: datetime) -> None:
        """Write a line where there is something to tell."""
        progress = self._progress
        progress.take(event, at)
        match event:
            case PipelineStarted():
                self._tell(at, f"{event.pipeline}: {' > '.join(event.stages)}; log in {event.run_dir}")
            case DocumentFinished():
                self._tell(at, self._ending(event))
            case RunStopping() | RunCancelling():
                self._tell(at, "; ".join(ending_words(event)))
            case Stall(kind="loop"):
                self._tell(at, f"nothing else has run for {event.seconds:.0f} s: {event.culprit}")
            case BreakerChanged() | LiveEditRefused() | LiveValueChanged():
                for words in limit_words(event):
                    self._tell(at, words)
            case TaskTreeWritten():
                self._tell(at, f"task tree in {event.path}")
            case _ if self._told_at is not None and (at - self._told_at).total_seconds() >= PERIOD:
                self._tell(at, progress.status())
            case _:
                return

    def flush(self) -> None:
        """Hand the lines over."""
        self._channel.flush()

    def close(self) -> None:
        """Hand the last lines over."""
        self._channel.flush()

    def _ending(self, event: DocumentFinished) -> str:
        progress = self._progress
        of = "" if progress.total is None else f"/{progress.total}"
        line = f"{progress.done}{of} document {event.document_id} {event.outcome}"
        failure = progress.failures.pop(event.document_id, None)
        if failure is not None:
            where = "" if failure.stage is None else f" at {failure.stage}"
            return f"{line}{where}: {failure.error_code}: {failure.error}"
        if event.artifact is not None:
            line += f": {PurePath(event.artifact).name}"
        elif event.error_code is not None:
            line += f": {event.error_code}"
        return line + (f" ({event.reworks} reworks)" if event.reworks else "")

    def _tell(self, at: datetime, text: str) -> None:
        self._told_at = at
        self._channel.write(f"{self._progress.seconds(at):7.1f} s  {one_line(self._redactor.text(text))}\n")
