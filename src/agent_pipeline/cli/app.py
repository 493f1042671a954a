"""The commands and their flags; what they do is in `commands`."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from agent_pipeline.cli import commands
from agent_pipeline.cli.border import run_command
from agent_pipeline.cli.flags import DebugFlag, FaultsFlag, JsonFlag, ResumeFlags, RunFlags, with_flags
from agent_pipeline.cli.output import out

NAME = "agent-pipeline"

ConfigArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG",
        help="Pipeline file (YAML or JSON); by default ./pipeline.yaml, else ./configs/smoke.yaml.",
        show_default=False,
    ),
]

app = typer.Typer(
    name=NAME,
    help="Run staged LLM agents over many documents. Results go to stdout, progress and messages to stderr.",
    no_args_is_help=True,
    add_completion=False,
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


app.command("run")(with_flags(RunCommandFlags, run))


def resume(flags: ResumeFlags) -> int:
    """Go on with a run: what is finished is kept, and no result that was paid for is paid for again.

    The pipeline file is read again: what changed in it since takes effect, from the first stage it concerns onward.
    Exit codes are those of `run`.
    """
    return commands.resume_run(flags)


app.command("resume")(with_flags(ResumeFlags, resume))


@app.command("verify")
def verify(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The run's directory, its name, or the beginning of its name.")
    ],
    *,
    json: JsonFlag = False,
    debug: DebugFlag = False,
) -> int:
    """Check that everything a run left behind tells the same story: ledger, events, logs, traces, artifacts, manifest.

    Changes nothing. What a killed process left undone is noted, and is no difference. Exits 0 when nothing differs,
    1 with each difference named, 3 when the run can't be read.
    """
    del debug
    return commands.verify_and_show(run, as_json=json)


@app.command("check")
def check(config: ConfigArgument = None, *, json: JsonFlag = False, debug: DebugFlag = False) -> int:
    """Validate a pipeline without network, key or heavy import: config, roles, stages, source, directories.

    Exits 0 when a run could begin (a key that is missing is a warning), else 3.
    """
    del debug  # read at the border of the process
    return commands.check_config(config, as_json=json)


@app.command("simulate")
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
    del debug
    return commands.serve_simulator(port=port, faults=faults, seed=seed, as_json=json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return run_command(app, arguments, name=NAME)
