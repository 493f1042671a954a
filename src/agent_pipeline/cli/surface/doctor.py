"""The command that looks at this machine: `doctor`."""

import typer

from agent_pipeline.cli import commands
from agent_pipeline.cli.flags import DebugFlag, JsonFlag
from agent_pipeline.cli.surface.arguments import ConfigArgument

PANEL = "Before a run"


def doctor(config: ConfigArgument = None, *, json: JsonFlag = False, debug: DebugFlag = False) -> int:
    """Look at what a run needs of this machine: versions, keys, traces, open files, disk, extras, config.

    Contacts nobody, changes nothing, shows no part of a key. Exits 0 when nothing is in the way of a run (warnings
    are not), 1 when something is.
    """
    del debug  # read at the border of the process
    return commands.examine(config, as_json=json)


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("doctor", rich_help_panel=PANEL)(doctor)
