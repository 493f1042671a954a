"""Commands that make something to begin with: `init`, `stage new`, `stage list`."""

from pathlib import Path
from typing import Annotated

import typer

from agent_pipeline.cli import commands
from agent_pipeline.cli.flags import DebugFlag, JsonFlag
from agent_pipeline.cli.quick_group import QuickGroup
from agent_pipeline.cli.surface.arguments import ConfigArgument

PANEL = "Make"

stages = typer.Typer(cls=QuickGroup, no_args_is_help=True)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where; made if it is not there.", show_default=False)
    ] = Path(),
    *,
    json: JsonFlag = False,
    debug: DebugFlag = False,
) -> int:
    """Make a project that runs offline at once: config, roles, a stage with its test, documents.

    Nothing is overwritten: where one of its files is there already, nothing is made. Exits 3 then.
    """
    del debug  # read at the border of the process
    return commands.init_project(folder, as_json=json)


@stages.command("new")
def stage_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A Python name, such as find_dates.")],
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="CONFIG", help="The pipeline file it belongs to; by default that of this folder."
        ),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Add it to the pipeline file, as its last stage.")] = False,
    json: JsonFlag = False,
    debug: DebugFlag = False,
) -> int:
    """Make a stage and its test beside the pipeline file, and say which line adds it.

    Without --add the pipeline file is left alone. Exits 3 where the name can't be used.
    """
    del debug  # read at the border of the process
    return commands.make_stage(name, config, add=add, as_json=json)


@stages.command("list")
def stage_list(config: ConfigArgument = None, *, json: JsonFlag = False, debug: DebugFlag = False) -> int:
    """Show the built-in stages and those of a pipeline: roles, options, where they are, what they do.

    No stage is imported, so nothing of yours runs.
    """
    del debug  # read at the border of the process
    return commands.list_stages(config, as_json=json)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("init", rich_help_panel=PANEL)(init)
    app.add_typer(stages, name="stage", rich_help_panel=PANEL, help="Make a stage of your own; list stages.")
