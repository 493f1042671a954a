"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG",
        help="Pipeline file (YAML or JSON); by default ./pipeline.yaml, else ./configs/smoke.yaml.",
        show_default=False,
    ),
]

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's directory, its name, or the beginning of its name.")
]
