"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from agent_pipeline.cli import commands


def _run_names(incomplete: str) -> list[str]:
    """Complete RUN with the names of runs, the newest first."""
    return commands.runs_beginning_with(incomplete)


def _config_files(incomplete: str) -> list[str]:
    """Complete CONFIG with pipeline files, and the folders they may be in."""
    return commands.config_files_beginning_with(incomplete)


ConfigArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG",
        help="Pipeline file (YAML or JSON); by default ./pipeline.yaml, else ./configs/smoke.yaml.",
        show_default=False,
        autocompletion=_config_files,
    ),
]

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="The run's directory, its name, the beginning of its name, or `last`.",
        autocompletion=_run_names,
    ),
]

_DOCUMENT_HELP = "A document: its id, the beginning of its id, or its number in the source as '#3'."

DocumentArgument = Annotated[str, typer.Argument(metavar="DOC", help=_DOCUMENT_HELP)]

OptionalDocumentArgument = Annotated[str | None, typer.Argument(metavar="DOC", help=_DOCUMENT_HELP, show_default=False)]
