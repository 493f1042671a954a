"""Commands that look at what happened: `verify`, `export`."""

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


def export(
    run: RunArgument,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Ends in .jsonl, .csv or .parquet; - writes JSON Lines on stdout.")
    ],
    *,
    text: Annotated[bool, typer.Option("--text", help="With what each document's text was in the end.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    json: JsonFlag = False,
    debug: DebugFlag = False,
) -> int:
    """Write a run's results as a table: one row per document that ended, with its fields, tokens and cost.

    The run may still go on. Exits 3 where the run can't be read, or the file can't be this table.
    """
    del debug  # read at the border of the process
    return commands.export_results(run, file, with_text=text, overwrite=overwrite, as_json=json)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("verify", rich_help_panel=PANEL)(verify)
    app.command("export", rich_help_panel=PANEL)(export)
