"""Commands for what can be known before a run: `check`."""

import typer

from agent_pipeline.cli import commands
from agent_pipeline.cli.flags import DebugFlag, JsonFlag
from agent_pipeline.cli.surface.arguments import ConfigArgument

PANEL = "Before a run"


def check(config: ConfigArgument = None, *, json: JsonFlag = False, debug: DebugFlag = False) -> int:
    """Validate a pipeline without network, key or heavy import: config, roles, stages, source, directories.

    Exits 0 when a run could begin (a key that is missing is a warning), else 3.
    """
    del debug  # read at the border of the process
    return commands.check_config(config, as_json=json)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("check", rich_help_panel=PANEL)(check)
