"""Commands that look at what happened: `runs`, `show`, `trace`, `why`, `verify`, `export`, `metrics`."""

from pathlib import Path
from typing import Annotated

import typer

from agent_pipeline.cli import commands
from agent_pipeline.cli.flags import DebugFlag, JsonFlag
from agent_pipeline.cli.surface.arguments import DocumentArgument, OptionalDocumentArgument, RunArgument

PANEL = "What happened"


def runs(
    *,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Show the newest N.")] = 20,
    json: JsonFlag = False,
    debug: DebugFlag = False,
) -> int:
    """List the runs in the logs folder, the newest first: when, how each ended, documents, tokens, cost."""
    del debug  # read at the border of the process
    return commands.list_runs(limit=limit, as_json=json)


def show(
    run: RunArgument, document: OptionalDocumentArgument = None, *, json: JsonFlag = False, debug: DebugFlag = False
) -> int:
    """Show a run: how it ended and why, stages, roles, waits, limits, failures; or one of its documents."""
    del debug  # read at the border of the process
    return commands.show_run(run, document, as_json=json)


def trace(
    run: RunArgument,
    document: OptionalDocumentArgument = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Only what went wrong.")] = False,
    slow: Annotated[bool, typer.Option("--slow", help="The slowest documents, passes and attempts.")] = False,
    http: Annotated[bool, typer.Option("--http", help="The HTTP attempts as a table, with request ids.")] = False,
    json: JsonFlag = False,
    debug: DebugFlag = False,
) -> int:
    """Show what happened when: a tree of stages, agents, tools, calls and attempts for each document.

    --http with --slow shows the slowest attempts, with --failed those that went wrong.
    """
    del debug  # read at the border of the process
    return commands.show_trace(run, document, failed=failed, slow=slow, http=http, as_json=json)


def why(run: RunArgument, document: DocumentArgument, *, json: JsonFlag = False, debug: DebugFlag = False) -> int:
    """Tell one document's story: what was done, what went wrong and whose doing it was, what it cost, what to do.

    Also of documents that ended well, were skipped or cancelled, are being worked on, or were killed.
    """
    del debug  # read at the border of the process
    return commands.tell_why(run, document, as_json=json)


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
    app.command("runs", rich_help_panel=PANEL)(runs)
    app.command("show", rich_help_panel=PANEL)(show)
    app.command("trace", rich_help_panel=PANEL)(trace)
    app.command("why", rich_help_panel=PANEL)(why)
    app.command("verify", rich_help_panel=PANEL)(verify)
    app.command("metrics", rich_help_panel=PANEL)(metrics)
    app.command("export", rich_help_panel=PANEL)(export)
