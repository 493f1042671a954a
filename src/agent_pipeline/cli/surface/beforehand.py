"""Commands for what can be known before a run: `check`, `plan`, `rehearse`."""

from dataclasses import dataclass

import typer

from agent_pipeline.cli import commands
from agent_pipeline.cli.flags import DebugFlag, JsonFlag, PlanFlags, RehearseFlags, with_flags
from agent_pipeline.cli.surface.arguments import ConfigArgument

PANEL = "Before a run"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanCommandFlags(PlanFlags):
    """`plan [CONFIG]` and its flags."""

    config: ConfigArgument = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearseCommandFlags(RehearseFlags):
    """`rehearse [CONFIG]` and its flags."""

    config: ConfigArgument = None


def check(config: ConfigArgument = None, *, json: JsonFlag = False, debug: DebugFlag = False) -> int:
    """Validate a pipeline without network, key or heavy import: config, roles, stages, source, directories.

    Exits 0 when a run could begin (a key that is missing is a warning), else 3.
    """
    del debug  # read at the border of the process
    return commands.check_config(config, as_json=json)


def plan(flags: PlanCommandFlags) -> int:
    """Say what a run would need: documents, requests, tokens, money, time, and which limit binds first.

    Low, expected and high; expected comes from the newest earlier run of the pipeline, where there is one. No network,
    no key, nothing is made or spent. What can't be known is shown as unknown. Exits 0, or 3 where config or input is
    invalid.
    """
    return commands.plan_and_show(flags, flags.config)


def rehearse(flags: RehearseCommandFlags) -> int:
    """Run a pipeline against a simulated provider that fails, in virtual time: what would be lost, and what to change.

    Your config, stages, limits, budget, retries and ledger; no network, no key, nothing of yours is written. Exits 0
    where every document was finished, 1 where one was lost or left, 3 where config or input is invalid.
    """
    return commands.rehearse_and_show(flags, flags.config)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("check", rich_help_panel=PANEL)(check)
    app.command("plan", rich_help_panel=PANEL)(with_flags(PlanCommandFlags, plan))
    app.command("rehearse", rich_help_panel=PANEL)(with_flags(RehearseCommandFlags, rehearse))
