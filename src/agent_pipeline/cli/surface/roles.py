"""Commands on roles: `roles list`, `roles test`."""

from typing import Annotated

import typer

from agent_pipeline.cli import commands
from agent_pipeline.cli.flags import DebugFlag, JsonFlag
from agent_pipeline.cli.quick_group import QuickGroup
from agent_pipeline.cli.surface.arguments import ConfigArgument

PANEL = "Before a run"

group = typer.Typer(
    cls=QuickGroup, help="Look at roles and try them: which model each is, what it costs, whether it answers."
)


@group.command("list")
def list_roles(config: ConfigArgument = None, *, json: JsonFlag = False, debug: DebugFlag = False) -> int:
    """List the roles: provider, model, mode, params, fallback, budget, price, and whether the key is set.

    CONFIG may be a roles file too. Nothing is sent, no key is shown, not even a part of it.
    """
    del debug  # read at the border of the process
    return commands.list_roles(config, as_json=json)


@group.command("test")
def try_role(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="A role of the roles file.")],
    config: ConfigArgument = None,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Ask the embedded simulator: no key, no network.")] = False,
    json: JsonFlag = False,
    debug: DebugFlag = False,
) -> int:
    """Make one tiny call by a role, with its own params and instructions: model, time, tokens, cost, or the error.

    It costs a few tokens. Exit codes: 0 it answered, 1 it did not, 3 wrong config or role, 5 credentials missing or
    rejected, 6 unreachable.
    """
    del debug  # read at the border of the process
    return commands.try_role(role, config, offline=offline, as_json=json)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="roles", rich_help_panel=PANEL, no_args_is_help=True)
