"""A run that may spend without end: a person at a terminal is asked before it, a program never."""

import os
import sys
from collections.abc import Mapping
from typing import TextIO

from agent_pipeline.cli.output import err, say
from agent_pipeline.compose import RunOptions
from agent_pipeline.config.pipeline import PipelineConfig

REFUSED = 2
"""The exit code of a command whose question was not answered with yes."""


def is_unbounded(config: PipelineConfig, options: RunOptions) -> bool:
    """Say whether a run asks a provider for whom there is a key, and no budget ends it."""
    budget = config.limits.budget
    if options.offline or options.replay is not None or budget.tokens is not None or budget.usd is not None:
        return False
    runtime = config.runtime
    used = {role.provider for role in runtime.roles.values()}
    used |= set() if runtime.defaults is None else {runtime.defaults.provider}
    return any(runtime.providers[name].env_key is not None for name in used)


def consents(
    options: RunOptions,
    *,
    terminal: bool | None = None,
    environ: Mapping[str, str] | None = None,
    answers: TextIO | None = None,
) -> bool:
    """Ask whether to go on without a budget; True at once where nobody is there to be asked.

    Args:
        options: of the run.
        terminal: whether a person sits there; None looks at stdin and stderr.
        environ: None takes the process's own; where `CI` is set nobody is there.
        answers: None takes stdin.
    """
    read = sys.stdin if answers is None else answers
    is_there = (read.isatty() and err().isatty()) if terminal is None else terminal
    if not is_there or (os.environ if environ is None else environ).get("CI"):
        return True
    documents = "all documents" if options.limit is None else f"at most {options.limit:,} documents"
    say(
        f"nothing limits what {documents} may cost: no --budget-usd, no --budget-tokens, none in the file "
        "(`plan` says what to expect, --yes asks nothing)"
    )
    err().write("go on? [y/N] ")
    err().flush()
    if read.readline().strip().lower() in {"y", "yes"}:
        return True
    say("nothing was begun")
    return False
