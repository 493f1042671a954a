"""Commands that run: `run`, `resume`, `simulate`."""

from dataclasses import dataclass
from typing import Annotated

import typer

from agent_pipeline.cli import commands
from agent_pipeline.cli.flags import DebugFlag, FaultsFlag, JsonFlag, ResumeFlags, RunFlags, with_flags
from agent_pipeline.cli.surface.arguments import ConfigArgument

PANEL = "Run"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCommandFlags(RunFlags):
    """`run [CONFIG]` and its flags."""

    config: ConfigArgument = None


def run(flags: RunCommandFlags) -> int:
    """Run a pipeline: documents in, artifacts out.

    Exit codes: 0 all documents ended well, 1 some failed, 2 usage, 3 config or input invalid, 4 a budget was reached,
    5 credentials missing or rejected, 6 provider unreachable, 70 a bug, 129 SIGHUP,
    130 SIGINT, 143 SIGTERM.
    """
    return commands.run_pipeline(flags, flags.config)


def resume(flags: ResumeFlags) -> int:
    """Go on with a run: what is finished is kept, and no result that was paid for is paid for again.

    The pipeline file is read again: what changed in it since takes effect, from the first stage it concerns onward.
    Exit codes are those of `run`.
    """
    return commands.resume_run(flags)


def simulate(
    *,
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")] = 0,
    faults: FaultsFlag = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Same seed, same answers and faults.")] = 0,
    json: JsonFlag = False,
    debug: DebugFlag = False,
) -> int:
    """Serve the OpenAI-compatible simulator on 127.0.0.1 until SIGINT or SIGTERM; the address is printed on stdout.

    It answers by rules and is no model.
    """
    del debug  # read at the border of the process
    return commands.serve_simulator(port=port, faults=faults, seed=seed, as_json=json)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("run", rich_help_panel=PANEL)(with_flags(RunCommandFlags, run))
    app.command("resume", rich_help_panel=PANEL)(with_flags(ResumeFlags, resume))
    app.command("simulate", rich_help_panel=PANEL)(simulate)
