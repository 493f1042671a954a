"""Commands that make something to look at and to hand on: `report`."""

from pathlib import Path
from typing import Annotated

import typer

from agent_pipeline.cli import commands
from agent_pipeline.cli.flags import DebugFlag, JsonFlag
from agent_pipeline.cli.surface.afterwards import PANEL
from agent_pipeline.cli.surface.arguments import RunArgument


def report(
    run: RunArgument,
    other: Annotated[
        str | None,
        typer.Argument(metavar="RUN2", help="Another run, to be compared with the first.", show_default=False),
    ] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Where to write; by default report.html in the run's directory."),
    ] = None,
    json: JsonFlag = False,
    debug: DebugFlag = False,
) -> int:
    """Write one HTML page about a run: verdict, course, stages, failures, every document down to its requests.

    It needs no network and asks none for anything. A run that still goes on or was killed is told as far as it came.
    The run is only read. Prints the file's path.
    """
    del debug  # read at the border of the process
    return commands.report_run(run, other, output=output, as_json=json)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("report", rich_help_panel=PANEL)(report)
