"""Plain lines: one for each of the first documents that end, then one every ten seconds, and what must be known."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import PurePath

from agent_pipeline.amounts import counted
from agent_pipeline.cli.display.progress import Progress, ending_words, limit_words
from agent_pipeline.cli.display.words import status_words
from agent_pipeline.cli.output import Channel, one_line
from agent_pipeline.domain.engine_events import WorkerLost
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
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.snapshot import RunSnapshot
from agent_pipeline.telemetry import Redactor

PERIOD = 10.0
"""Seconds without a line of the state after which it is told."""

ENDINGS = 20
"""Documents whose end is told line by line; of a large run the state says enough, and the ledger has them all."""

FAILURES = 5
"""Further failures that are told line by line in one period."""

_LAST_WORD = 0.5
"""Seconds that a line under way may take when the display ends; who reads it may have stopped reading."""


def _now() -> datetime:
    return datetime.now(UTC)


class PlainDisplay:
    """A sink for pipes, files and CI.

    Events come on the telemetry's thread, which writes the run's files too: the channel must not make it wait. A thread
    of its own tells the state when nothing happens for long.
    """

    name = "display"

    def __init__(
        self, progress: Progress, channel: Channel, redactor: Redactor, *, now: Callable[[], datetime] = _now
    ) -> None:
        self._progress = progress
        self._channel = channel
        self._redactor = redactor
        self._now = now
        self._told_at: datetime | None = None
        self._endings = ENDINGS
        self._failures = FAILURES
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_telling, name="display", daemon=True)

    def start(self, _emit: Emit) -> None:
        """Begin to look at the clock."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what is being written has a moment to end, for a reader that reads."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_WORD)

    def show(self, state: RunSnapshot) -> None:
        """Take the run's newest snapshot."""
        self._progress.state = state

    def handle(self, event: Event, at: datetime) -> None:
        """Write a line where there is something to tell."""
        with self._lock:
            self._progress.take(event, at)
            self._tell_of(event, at)
            self._tell_state(at)

    def flush(self) -> None:
        """Hand the lines over."""
        self._channel.flush()

    def close(self) -> None:
        """Hand the last lines over."""
        self.stop()
        self._channel.end()

    def _tell_of(self, event: Event, at: datetime) -> None:
        match event:
            case PipelineStarted():
                workers = f" in up to {event.workers} workers ({event.engine})" if event.workers else ""
                self._tell(at, f"{event.pipeline}: {' > '.join(event.stages)}{workers}; log in {event.run_dir}")
            case DocumentFinished():
                self._tell_ending(event, at)
            case WorkerLost():
                self._tell(at, _lost(event))
            case RunStopping() | RunCancelling():
                self._tell(at, "; ".join(ending_words(event)))
            case Stall(kind="loop"):
                self._tell(at, f"nothing else has run for {event.seconds:.0f} s: {event.culprit}")
            case BreakerChanged() | LiveEditRefused() | LiveValueChanged():
                for words in limit_words(event):
                    self._tell(at, words)
            case TaskTreeWritten():
                self._tell(at, f"task tree in {event.path}")
            case _:
                return

    def _keep_telling(self) -> None:
        while not self._ended.wait(1.0):
            with self._lock:
                self._tell_state(self._now())
            self._channel.flush()

    def _tell_state(self, at: datetime) -> None:
        """Tell the state where nothing was told for long."""
        if self._told_at is not None and (at - self._told_at).total_seconds() >= PERIOD:
            self._failures = FAILURES
            self._tell(at, status_words(self._progress, at))

    def _tell_ending(self, event: DocumentFinished, at: datetime) -> None:
        words = self._ending(event)
        if self._endings > 0:
            self._endings -= 1
            self._tell(at, words if self._endings else f"{words}; from here on failures, and the state every 10 s")
        elif event.outcome == "failed" and self._failures > 0:
            self._failures -= 1
            self._write(at, words)

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
        self._write(at, text)

    def _write(self, at: datetime, text: str) -> None:
        self._channel.write(f"{self._progress.seconds(at):7.1f} s  {one_line(self._redactor.text(text))}\n")


def _lost(event: WorkerLost) -> str:
    left = event.documents - event.given_up
    they = f"; its {counted(left, 'document')} {'goes' if left == 1 else 'go'} to others" if left else ""
    return f"worker {event.worker} was lost ({event.reason}){they}"
