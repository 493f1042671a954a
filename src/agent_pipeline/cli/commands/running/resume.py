"""`resume`: a run goes on where it ended, however it ended."""

from dataclasses import replace
from pathlib import Path

from agent_pipeline.cli.commands.config_file import logs_here
from agent_pipeline.cli.commands.overridden import overrides_of
from agent_pipeline.cli.commands.running.run import run_and_show
from agent_pipeline.cli.flags import ResumeFlags
from agent_pipeline.cli.output import say
from agent_pipeline.compose.earlier_run import find_earlier_run, merge
from agent_pipeline.config.environment import load_env
from agent_pipeline.config.pipeline import load_pipeline_config


def resume_run(flags: ResumeFlags) -> int:
    """Go on with a run and print how it ended; return the exit code.

    Raises:
        AgentPipelineError: the run can't be gone on with; nothing was changed.
    """
    earlier = find_earlier_run(flags.run, logs_here())
    load_env(earlier.config.parent, Path.cwd())
    loaded = load_pipeline_config(earlier.config, merge(earlier.overrides, overrides_of(flags)))
    options = replace(
        earlier.options,
        own_process=True,
        retry_failed=flags.retry_failed,
        strict_shutdown=flags.strict_shutdown,
    )
    if flags.limit is not None:
        options = replace(options, limit=flags.limit)
    if flags.faults is not None:
        options = replace(options, faults=str(flags.faults))
    tolerated = flags.tolerated_failures()
    if tolerated is not None:
        options = replace(options, fail_on_error=tolerated)
    if options.offline and not flags.quiet:
        say("offline, as the run was begun: using the embedded simulator, which answers by rules and is no model")
    return run_and_show(loaded, options, flags)
