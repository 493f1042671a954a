"""The smoke run: `run` on a known config, with the simulator in the place of a provider without a key."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from agent_pipeline.cli import commands
from agent_pipeline.cli.border import run_command
from agent_pipeline.cli.flags import RunFlags, with_flags


@dataclass(frozen=True, kw_only=True, slots=True)
class SmokeFlags(RunFlags):
    """Flags of `run`, and two more."""

    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Pipeline file; by default the project's configs/smoke.yaml."),
    ] = None
    expect: Annotated[
        int | None,
        typer.Option("--expect", metavar="N", min=0, help="Exit 1 when the source holds fewer than N documents."),
    ] = None


def smoke(arguments: Sequence[str] | None = None, *, default_config: Path, name: str = "smoke.py") -> int:
    """Run the smoke command line; return the exit code."""

    def command(flags: SmokeFlags) -> int:
        """Run the smoke pipeline: real documents in, reviewed artifacts out.

        Without the provider's key it uses the embedded simulator, as with --offline, and says so.
        """
        return commands.run_pipeline(
            flags, flags.config or default_config, simulate_without_key=True, expect=flags.expect
        )

    app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["--help", "-h"]})
    app.command()(with_flags(SmokeFlags, command))
    return run_command(app, arguments, name=name)
