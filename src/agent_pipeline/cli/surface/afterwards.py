"""Commands that look at what happened: `verify`, `metrics`."""

from pathlib import Path
from typing import Annotated

import typer

from agent_pipeline.cli import commands
from agent_pipeline.cli.flags import DebugFlag, JsonFlag
from agent_pipeline.cli.surface.arguments import RunArgument

PANEL = "What happened"


def verify(run: RunArgument, *, json: JsonFlag = False, debug: DebugFlag = False) -> int:
    """Check that everything a run left behind tells the same story: ledger, events, logs, traces, artifacts, manifest.

    Changes nothing. What a killed process left undone is noted, and is no difference. Exits 0 when nothing differs,
    1 with each difference named, 3 when the run can't be read.
    """
    del debug  # read at the border of the process
    return commands.verify_and_show(run, as_json=json)


def metrics(
    run: RunArgument,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Put them in this file's place, in one step, instead of stdout."),
    ] = None,
    json: JsonFlag = False,
    debug: DebugFlag = False,
) -> int:
    """Print a run's figures in Prometheus' text format: documents, requests, tokens, money, waits, latencies.

    The run may be going on; nothing of it is changed. With --output it is a file for a textfile collector.
    """
    del debug  # read at the border of the process
    return commands.print_metrics(run, output=output, as_json=json)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("verify", rich_help_panel=PANEL)(verify)
    app.command("metrics", rich_help_panel=PANEL)(metrics)
