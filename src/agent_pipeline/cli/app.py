"""The program: its name, its version, and the commands of `surface` put together."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from agent_pipeline.cli.border import run_command
from agent_pipeline.cli.output import out
from agent_pipeline.cli.quick_group import QuickGroup
from agent_pipeline.cli.surface import afterwards, beforehand, doctor, making, reporting, roles, running

NAME = "agent-pipeline"

app = typer.Typer(
    name=NAME,
    cls=QuickGroup,
    help="Run staged LLM agents over many documents. Results go to stdout, progress and messages to stderr.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        out().line(f"{NAME} {version(NAME)}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version_wanted: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version_wanted  # its callback did the work


for room in (making, beforehand, roles, doctor, running, afterwards, reporting):
    room.add_to(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return run_command(app, arguments, name=NAME)
