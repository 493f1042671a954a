"""A live view on a terminal: how far the run is, what it spends, what its stages and requests do, what went wrong."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console, RenderableType
from rich.live import Live

from agent_pipeline.cli.display.picture import picture
from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.domain.events import Event
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.snapshot import RunSnapshot
from agent_pipeline.telemetry import Redactor

_PICTURES_PER_SECOND = 4


def _now() -> datetime:
    return datetime.now(UTC)


class FullDisplay:
    """A sink for terminals; rich's own thread draws it, so that the clock goes on while models think.

    Events come on the telemetry's thread, snapshots from the run's task; a lock holds them off while the picture is
    made. Nobody waits for the terminal: one that was stopped (Ctrl-S) stops the drawing and nothing else.

    Args:
        progress: kept up to date here.
        console: on a stream that never makes its writer wait.
        redactor: takes secrets out of what others wrote.
        end: hands over the last picture.
    """

    name = "display"

    def __init__(
        self,
        progress: Progress,
        console: Console,
        redactor: Redactor,
        *,
        end: Callable[[], object] | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._progress = progress
        self._console = console
        self._redactor = redactor
        self._end = end or console.file.flush
        self._now = now
        self._lock = threading.Lock()
        self._ending = threading.Lock()
        self._ended = False
        self._live = Live(
            console=console,
            get_renderable=self._render,
            redirect_stdout=False,
            refresh_per_second=_PICTURES_PER_SECOND,
        )

    def start(self, _emit: Emit) -> None:
        """Begin to draw."""
        self._live.start()

    def show(self, state: RunSnapshot) -> None:
        """Take the run's newest snapshot; never waits for a picture."""
        self._progress.state = state

    def handle(self, event: Event, at: datetime) -> None:
        """Count one event."""
        with self._lock:
            self._progress.take(event, at)
            self._progress.failures.clear()

    def flush(self) -> None:
        """Nothing waits: the next picture has it."""

    def close(self) -> None:
        """Draw the last picture and stop."""
        self.stop()
        self._end()

    def stop(self) -> None:
        """Stop drawing for good; the cursor is back and nothing is drawn afterwards."""
        with self._ending:
            if not self._ended:
                self._ended = True
                self._live.stop()

    def _render(self) -> RenderableType:
        with self._lock:
            return picture(self._progress, self._now(), self._redactor.text, width=self._console.width)
