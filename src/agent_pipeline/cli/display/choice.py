"""Which display a run gets."""

import os
from collections.abc import Mapping
from typing import Protocol, TextIO, cast, runtime_checkable

from rich.console import Console

from agent_pipeline.cli.display.full import FullDisplay
from agent_pipeline.cli.display.log import LogDisplay
from agent_pipeline.cli.display.plain import PlainDisplay
from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.cli.display.unseen import UnseenDisplay
from agent_pipeline.cli.display.unwaited import Unwaited
from agent_pipeline.cli.flags import DisplayKind
from agent_pipeline.cli.output import err
from agent_pipeline.domain.snapshot import RunSnapshot
from agent_pipeline.telemetry import Redactor, Sink


def choose_display(
    wanted: DisplayKind | None, *, quiet: bool, terminal: bool | None = None, environ: Mapping[str, str] | None = None
) -> DisplayKind:
    """Return the display: the one that was asked for, as far as stderr can show it, else what fits stderr.

    Args:
        wanted: by the command line; a live view needs a terminal, elsewhere it becomes plain lines.
        quiet: no display at all.
        terminal: whether stderr is one; None looks.
        environ: None takes the process's own.
    """
    environment = os.environ if environ is None else environ
    is_live = (err().isatty() if terminal is None else terminal) and environment.get("TERM") != "dumb"
    if quiet:
        return "none"
    if wanted is None:
        return "full" if is_live and not environment.get("CI") else "plain"
    return "plain" if wanted == "full" and not is_live else wanted


@runtime_checkable
class Display(Sink, Protocol):
    """A sink that shows a run; it is also given the run's state four times a second, under Trio."""

    def show(self, state: RunSnapshot) -> None:
        """Take the newest snapshot; neither blocks nor raises."""
        ...


def make_display(kind: DisplayKind, progress: Progress, redactor: Redactor) -> Sink:
    """Return the sink that shows a run in this way and keeps `progress` up to date; some are a `Display` as well."""
    match kind:
        case "none":
            return UnseenDisplay(progress)
        case "plain":
            return PlainDisplay(progress, Unwaited(err(), mention=_left_out), redactor)
        case "log":
            return LogDisplay(progress, Unwaited(err(), mention=_left_out), redactor)
        case "full":
            return _full(progress, redactor)


def _full(progress: Progress, redactor: Redactor) -> Sink:
    channel = Unwaited(err())
    console = Console(file=cast(TextIO, channel))  # it has all of TextIO that rich uses
    return FullDisplay(progress, console, redactor, end=channel.end)


def _left_out(texts: int) -> str:
    return f"... {texts:,} lines left out, which nobody read in time; the run log has all of them\n"
