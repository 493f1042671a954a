"""A live view on a terminal: a bar, counts, the stages in work, tokens and the last failure."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.cli.output import one_line
from agent_pipeline.domain.events import Event
from agent_pipeline.domain.ports import Emit
from agent_pipeline.telemetry import Redactor

_BAR_WIDTH = 40


def _now() -> datetime:
    return datetime.now(UTC)


class FullDisplay:
    """A sink for terminals; rich's own thread redraws it, so that the clock goes on while models think.

    Events change the state on the telemetry's thread, which puts a finished picture down at each flush; the redrawing
    thread takes only that.
    """

    name = "display"

    def __init__(
        self, progress: Progress, console: Console, redactor: Redactor, *, now: Callable[[], datetime] = _now
    ) -> None:
        self._progress = progress
        self._redactor = redactor
        self._now = now
        self._picture: list[Text] = []
        self._bar = (0, progress.total)
        self._ending = threading.Lock()
        self._ended = False
        self._live = Live(console=console, get_renderable=self._render, redirect_stdout=False, refresh_per_second=5)

    def start(self, _emit: Emit) -> None:
        """Begin to draw."""
        self._live.start()

    def handle(self, event: Event, at: datetime) -> None:
        """Count one event."""
        self._progress.take(event, at)
        self._progress.failures.clear()

    def flush(self) -> None:
        """Put down the picture of what is known now."""
        self._picture = self._lines()
        self._bar = (self._progress.done, self._progress.total)

    def close(self) -> None:
        """Draw the last picture and stop."""
        self.flush()
        self.stop()

    def stop(self) -> None:
        """Stop drawing for good; the cursor is back and nothing is drawn afterwards."""
        with self._ending:
            if not self._ended:
                self._ended = True
                self._live.stop()

    def _render(self) -> RenderableType:
        done, total = self._bar
        begun_at = self._progress.begun_at
        elapsed = 0.0 if begun_at is None else (self._now() - begun_at).total_seconds()
        head = Table.grid(padding=(0, 1))
        # Without a total the bar pulses: it would be a lie to show how far the run is.
        head.add_row(
            ProgressBar(total=total, completed=done, width=_BAR_WIDTH, pulse=total is None),
            Text(f"{done}" if total is None else f"{done}/{total}"),
            Text(f"{max(elapsed, 0.0):.0f} s", style="dim"),
        )
        return Group(head, *self._picture)

    def _lines(self) -> list[Text]:
        progress = self._progress
        lines = [_cut(progress.status())]
        stages = progress.stage_counts()
        if stages:
            lines.append(_cut("  ".join(f"{name} {count}" for name, count in stages.items()), "cyan"))
        failure = progress.last_failure
        if failure is not None:
            text = f"last failure: document {failure.document_id}: {failure.error_code}: "
            lines.append(_cut(self._redactor.text(text + failure.error), "red"))
        told = [*(words for outage in progress.outages.values() for words in outage), *progress.live, *progress.ending]
        lines += [_cut(self._redactor.text(words), "yellow") for words in told]
        return lines


def _cut(text: str, style: str = "") -> Text:
    return Text(one_line(text), style=style, no_wrap=True, overflow="ellipsis")
