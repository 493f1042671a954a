"""`run`: a pipeline from its file to a summary and an exit code."""

import warnings
from dataclasses import replace
from pathlib import Path

import typer

from agent_pipeline.cli.commands.config_file import find_config
from agent_pipeline.cli.commands.hidden import hide
from agent_pipeline.cli.commands.overridden import overrides_of
from agent_pipeline.cli.commands.running.consent import REFUSED, consents, is_unbounded
from agent_pipeline.cli.display.choice import Display, choose_display, make_display
from agent_pipeline.cli.display.progress import Progress
from agent_pipeline.cli.flags import ContinuedFlags, RunFlags
from agent_pipeline.cli.output import out, print_json, say
from agent_pipeline.cli.summary import Ended, essential_line, result_object, summary
from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.compose.engine_wanted import check_engine
from agent_pipeline.config.pipeline import PipelineConfig, load_pipeline_config
from agent_pipeline.config.worst_case import crowded_minute
from agent_pipeline.domain.result import RunResult
from agent_pipeline.gateway.endpoints import missing_keys, redactor_of
from agent_pipeline.telemetry import Redactor


def run_pipeline(
    flags: RunFlags, config: Path | None, *, simulate_without_key: bool = False, expect: int | None = None
) -> int:
    """Run a pipeline and print how it ended; return the exit code.

    Args:
        flags: of the command line.
        config: pipeline file; None looks for one.
        simulate_without_key: use the embedded simulator, and say so, where a provider's key is missing.
        expect: fewer documents than this make the run a failure.

    Raises:
        AgentPipelineError: the run could not begin, or its source could not be used.
        typer.BadParameter: a flag makes no sense.
    """
    flags.check_recording()
    options, overrides = _options(flags), overrides_of(flags)
    loaded = load_pipeline_config(find_config(config), overrides)
    options = _simulated(options, loaded, simulate_without_key=simulate_without_key, quiet=flags.quiet)
    if not flags.yes and is_unbounded(loaded, options) and not consents(options):
        return REFUSED
    return run_and_show(loaded, options, flags, expect=expect)


def run_and_show(
    loaded: PipelineConfig, options: RunOptions, flags: ContinuedFlags, *, expect: int | None = None
) -> int:
    """Run what is loaded under a display, print how it ended, return the exit code."""
    check_engine(loaded, options)
    if not flags.quiet:
        _announce_recording(options)
    if crowd := crowded_minute(loaded.limits, options.limit):
        say(f"warning: {crowd}")
    progress, redactor = Progress(), hide(redactor_of(loaded.runtime))
    result = _run(loaded, options, flags, progress, redactor)
    if expect is not None and result.documents.total < expect:
        result = _too_few(result, expect)
    ended = Ended(
        result=result,
        detail=progress.stopping,
        artifacts=loaded.artifacts,
        simulator=options.offline,
        replayed=options.replay is not None,
        clean=redactor,
    )
    _show(ended, flags)
    return result.exit_code


def _announce_recording(options: RunOptions) -> None:
    if options.replay is not None:
        say(f"replay: every answer comes from the recording {options.replay}; no model is asked, nothing is spent")
    if options.record is not None:
        say(f"recording into {options.record}: prompts and answers are written there as they are, but for keys")


def _options(flags: RunFlags) -> RunOptions:
    return RunOptions(
        limit=flags.limit,
        only=tuple(flags.only),
        skip=tuple(flags.skip),
        offline=flags.offline,
        clean=flags.clean,
        fail_on_error=flags.tolerated_failures() or 0,
        own_process=True,
        strict_shutdown=flags.strict_shutdown,
        faults=None if flags.faults is None else str(flags.faults),
        record=None if flags.record is None else str(flags.record),
        replay=None if flags.replay is None else str(flags.replay),
    )


def _show(ended: Ended, flags: ContinuedFlags) -> None:
    """Print how the run ended, in the form that was asked for."""
    if flags.json:
        print_json(result_object(ended))
    elif flags.quiet:
        out().line(essential_line(ended))
    else:
        out().write(summary(ended))
        out().flush()


def _simulated(options: RunOptions, config: PipelineConfig, *, simulate_without_key: bool, quiet: bool) -> RunOptions:
    """Return the options, offline where the simulator has to stand in; it never does so unannounced."""
    if options.replay is not None:
        return options
    if not options.offline and simulate_without_key:
        missing = missing_keys(config.runtime)
        if missing:
            names = ", ".join(f"{one} ({config.runtime.providers[one].env_key} is not set)" for one in missing)
            say(f"no key for {names}: using the embedded simulator, which answers by rules and is no model")
            options = replace(options, offline=True)
    elif options.offline and not quiet:
        say("offline: using the embedded simulator, which answers by rules and is no model")
    if options.faults is not None and not options.offline:
        raise typer.BadParameter("faults are for the embedded simulator: add --offline", param_hint="'--faults'")
    return options


def _run(
    config: PipelineConfig, options: RunOptions, flags: ContinuedFlags, progress: Progress, redactor: Redactor
) -> RunResult:
    display = make_display(choose_display(flags.display, quiet=flags.quiet), progress, redactor)
    options = replace(options, sinks=(display,), on_snapshot=display.show if isinstance(display, Display) else None)
    # The SDK wraps the coroutine of a turn in another; cancelled before its first step, the inner one is reported as
    # forgotten. That is no news for whoever pressed Ctrl-C.
    warnings.filterwarnings("ignore", "coroutine 'run_single_turn' was never awaited", RuntimeWarning)
    try:
        return Pipeline(config, options).run_sync()
    except Exception as exc:
        if progress.run_dir is not None:
            exc.add_note(f"What happened until then is in {progress.run_dir}.")
        raise


def _too_few(result: RunResult, expect: int) -> RunResult:
    say(f"Smoke test failed: expected at least {expect} documents but found {result.documents.total}")
    return replace(result, exit_code=result.exit_code or 1, reason=result.reason or "too_few_documents")
