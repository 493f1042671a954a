"""`plan`: what a run would need, printed before it costs anything."""

import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import typer

from agent_pipeline.amounts import counted, dollars
from agent_pipeline.cli.commands.before.engine_words import engine_object, engine_words
from agent_pipeline.cli.commands.config_file import find_config, logs_here
from agent_pipeline.cli.commands.hidden import hide
from agent_pipeline.cli.commands.looking.looked_at import only_reading
from agent_pipeline.cli.commands.overridden import overrides_of
from agent_pipeline.cli.flags import PlanFlags
from agent_pipeline.cli.output import one_line, out, print_json, say
from agent_pipeline.compose import RunOptions
from agent_pipeline.compose.earlier_run import find_earlier_run, merge
from agent_pipeline.compose.engine_wanted import check_engine
from agent_pipeline.compose.process import raise_descriptor_limit
from agent_pipeline.config.environment import load_env
from agent_pipeline.config.pipeline import PipelineConfig, load_pipeline_config
from agent_pipeline.gateway.endpoints import redactor_of
from agent_pipeline.planning.estimate import StageEstimate
from agent_pipeline.planning.figures import Figures, added
from agent_pipeline.planning.plan import Plan, make_plan
from agent_pipeline.planning.survey import Found

_UNKNOWN = "unknown"
_SHOWN_ID = 60


def plan_and_show(flags: PlanFlags, config: Path | None) -> int:
    """Plan a run, or a resume, and print the plan; return 0.

    Raises:
        AgentPipelineError: config, source, stages or the run can't be used.
        typer.BadParameter: flags don't go together.
    """
    loaded, options = _resumed(flags, config) if flags.run is not None else _begun(flags, config)
    hide(redactor_of(loaded.runtime))
    check_engine(loaded, options)
    raise_descriptor_limit()
    with only_reading():
        plan = make_plan(loaded, options)
    for warning in _warnings(plan):
        say(f"warning: {warning}")
    if flags.json:
        print_json(_as_object(plan, options))
    else:
        out().write("".join(f"{line}\n" for line in _lines(plan, options)))
        out().flush()
    return 0


def _begun(flags: PlanFlags, config: Path | None) -> tuple[PipelineConfig, RunOptions]:
    if flags.retry_failed:
        raise typer.BadParameter("it is for a run that goes on: add --run RUN", param_hint="'--retry-failed'")
    options = RunOptions(limit=flags.limit, only=tuple(flags.only), skip=tuple(flags.skip))
    return load_pipeline_config(find_config(config), overrides_of(flags)), options


def _resumed(flags: PlanFlags, config: Path | None) -> tuple[PipelineConfig, RunOptions]:
    """Return config and options of a run as `resume` would go on with it."""
    if config is not None or flags.only or flags.skip:
        problem = "a run goes on with its own config and stages: leave out CONFIG, --only and --skip"
        raise typer.BadParameter(problem, param_hint="'--run'")
    earlier = find_earlier_run(flags.run or "", logs_here())
    load_env(earlier.config.parent, Path.cwd())
    loaded = load_pipeline_config(earlier.config, merge(earlier.overrides, overrides_of(flags)))
    options = replace(earlier.options, retry_failed=flags.retry_failed)
    return loaded, options if flags.limit is None else replace(options, limit=flags.limit)


def _warnings(plan: Plan) -> Iterator[str]:
    if plan.crowd is not None:
        yield plan.crowd
    if plan.config.engine.kind == "local" and plan.in_flight < plan.config.limits.documents_in_flight:
        yield (
            f"documents_in_flight is {plan.config.limits.documents_in_flight:,}, but this process may open files for "
            f"{plan.in_flight:,} only; raise the limit (ulimit -n)"
        )
    survey = plan.survey
    if survey is None:
        return
    if survey.same_id.count:
        yield f"{_shown(survey.same_id)} have an id that another document has: a run ends at the second"
    if survey.same_name.count:
        yield (
            f"{_shown(survey.same_name)} would have the artifact name of another; where no stage names them, each gets "
            "its id into its name"
        )
    for threshold, found in survey.over:
        if found.count:
            yield f"{_shown(found)}: {threshold.what}"
    if survey.skipped + survey.invalid:
        yield f"{survey.skipped:,} entries of the source would be skipped, {survey.invalid:,} are not usable"


def _shown(found: Found) -> str:
    names = ", ".join(one_line(name, _SHOWN_ID) for name in found.first)
    more = ", …" if found.count > len(found.first) else ""
    return f"{found.count:,} {'document' if found.count == 1 else 'documents'} ({names}{more})"


def _lines(plan: Plan, options: RunOptions) -> Iterator[str]:
    config, survey = plan.config, plan.survey
    what = f"what is left of {options.run.run_id}" if options.run is not None else f"a run of {config.name}"
    yield f"plan of {one_line(what)}: nothing is asked, made or spent"
    if survey is None:
        yield "documents:  unknown: standard input can be read only once"
        yield f"worst case: a document {_time(plan.worst.document)}"
        return
    more = "" if survey.is_complete else "at least "
    kept = f"; {survey.kept:,} are finished and kept" if options.run is not None else ""
    reused = f", {survey.reused:,} stage results are not paid for again" if survey.reused else ""
    sizes = survey.sizes
    yield f"documents:  {more}{sizes.count:,} to work on, {sizes.text_bytes:,} bytes of text{kept}{reused}"
    yield f"{'':<11} {'low':>14} {'expected':>14} {'high':>14}"
    for name, figures in _totals(plan).items():
        show = dollars if name == "money" else _count
        yield f"{name + ':':<11} {show(figures.low):>14} {show(figures.expected):>14} {show(figures.high):>14}"
    for stage in plan.stages:
        figures = stage.tokens
        shown = " ".join(f"{_count(one):>14}" for one in (figures.low, figures.expected, figures.high))
        yield f"  {one_line(stage.stage, 60)}: tokens of {counted(stage.documents, 'document')}\n{'':<11} {shown}"
    yield from _basis(plan)
    for words in engine_words(config):
        yield f"engine:     {words}"
    yield from _limits(plan)
    for position, line in enumerate(plan.assumptions):
        yield f"{'assumed:' if position == 0 else '':<11} {one_line(line)}"
    if not survey.is_complete:
        yield "assumed:    the source was not read to its end: there are more documents, and all figures grow with them"


def _basis(plan: Plan) -> Iterator[str]:
    history = plan.history
    if history is None:
        yield "expected:   a guess by the size of documents; the first run of this pipeline makes it better"
    else:
        by_whom = " (simulated)" if history.simulated else ""
        yield f"expected:   as in {one_line(history.run_id, 300)}{by_whom}, by the size of documents"
    yield "high:       every request takes all its attempts, every document all its reworks, every answer its cap"


def _limits(plan: Plan) -> Iterator[str]:
    budget = plan.config.limits.budget
    left = [
        *([] if plan.tokens_left is None else [f"{plan.tokens_left:,} tokens"]),
        *([] if plan.micro_usd_left is None or budget.usd is None else [dollars(plan.micro_usd_left)]),
    ]
    if left:
        yield f"budget:     {' and '.join(left)} at the most, whatever happens"
    binding = plan.binding
    if binding is None:
        return
    expected = "unknown" if binding.expected_seconds is None else f"about {_time(binding.expected_seconds)}"
    yield f"time:       {expected}, where an answer takes {binding.latency:.1f} s; at worst {_time(plan.worst.run)}"
    if binding.paces:
        first, *others = binding.paces
        rest = "".join(f"; {one.limit} {one.documents_per_hour:,.0f}" for one in others)
        yield f"pace:       {first.limit} binds first: {first.documents_per_hour:,.0f} documents an hour{rest}"
    for ending in binding.endings:
        done = counted(ending.document, "document")
        yield f"ends early: {ending.limit} is reached after about {done}; `resume` goes on there"


def _totals(plan: Plan) -> dict[str, Figures]:
    return {
        "requests": added(stage.requests for stage in plan.stages),
        "attempts": added(stage.attempts for stage in plan.stages),
        "tokens": added(stage.tokens for stage in plan.stages),
        "money": added(stage.micro_usd for stage in plan.stages),
    }


def _count(number: int | None) -> str:
    return _UNKNOWN if number is None else f"{number:,}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "without end"
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _in_dollars(figures: Figures) -> dict[str, float | None]:
    return {name: None if value is None else value / 1e6 for name, value in figures.as_object().items()}


def _stage_object(stage: StageEstimate) -> dict[str, object]:
    return {
        "stage": stage.stage,
        "documents": stage.documents,
        "requests": stage.requests.as_object(),
        "attempts": stage.attempts.as_object(),
        "tokens": stage.tokens.as_object(),
        "cost_usd": _in_dollars(stage.micro_usd),
        "from_history": stage.from_history,
    }


def _as_object(plan: Plan, options: RunOptions) -> dict[str, object]:
    totals, survey, binding = _totals(plan), plan.survey, plan.binding
    unknown = survey is None
    return {
        "config": os.fspath(plan.config.path),
        "name": plan.config.name,
        "run": None if options.run is None else options.run.run_id,
        "exit_code": 0,
        "documents": None
        if survey is None
        else {
            "total": survey.sizes.count,
            "is_complete": survey.is_complete,
            "text_bytes": survey.sizes.text_bytes,
            "kept": survey.kept,
            "stage_results_kept": survey.reused,
            "skipped": survey.skipped,
            "invalid": survey.invalid,
            "same_id": asdict(survey.same_id),
            "same_artifact_name": asdict(survey.same_name),
            "over": [{"what": one.what, **asdict(found)} for one, found in survey.over if found.count],
        },
        **{name: None if unknown else totals[name].as_object() for name in ("requests", "attempts", "tokens")},
        "cost_usd": None if unknown else _in_dollars(totals["money"]),
        "budget_left": {
            "tokens": plan.tokens_left,
            "usd": None if plan.micro_usd_left is None else plan.micro_usd_left / 1e6,
        },
        "stages": [_stage_object(stage) for stage in plan.stages],
        "history": None if plan.history is None else plan.history.run_id,
        "expected_seconds": None if binding is None else binding.expected_seconds,
        "worst_case_seconds": asdict(plan.worst),
        "answer_seconds": None if binding is None else binding.latency,
        "documents_in_flight": plan.in_flight,
        "engine": engine_object(plan.config),
        "paces": [] if binding is None else [asdict(one) for one in binding.paces],
        "endings": [] if binding is None else [asdict(one) for one in binding.endings],
        "assumptions": list(plan.assumptions),
        "warnings": list(_warnings(plan)),
    }
