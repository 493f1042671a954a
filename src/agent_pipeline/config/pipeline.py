"""Load a pipeline file: the pipeline, its roles, and every check that needs both."""

import os
from collections.abc import Callable
from pathlib import Path

from agent_pipeline.config.budget_rules import budget_problems, check_order
from agent_pipeline.config.engine import EngineConfig
from agent_pipeline.config.limits import (
    BudgetConfig,
    LimitsConfig,
    RequestsInFlightConfig,
    RetryConfig,
    TimeoutsConfig,
)
from agent_pipeline.config.overrides import override_engine, override_limits, override_runtime
from agent_pipeline.config.pipeline_models import (
    STDIN,
    EngineOverrides,
    Overrides,
    PipelineConfig,
    PipelineText,
    SourceConfig,
    SourceText,
)
from agent_pipeline.config.price_table import check_used, priced_by
from agent_pipeline.config.role_models import KNOWN_ADDRESSES, RuntimeConfig
from agent_pipeline.config.roles import runtime_from_source
from agent_pipeline.config.source_map import KeyPath, SourceMap, load_source_map, parse_source_map
from agent_pipeline.config.stage_list import BUILT_IN_STAGES, StageConfig, parse_stages
from agent_pipeline.config.validation import build, refuse_keys

__all__ = [
    "BUILT_IN_STAGES",
    "BudgetConfig",
    "EngineConfig",
    "EngineOverrides",
    "LimitsConfig",
    "Overrides",
    "PipelineConfig",
    "RequestsInFlightConfig",
    "RetryConfig",
    "SourceConfig",
    "StageConfig",
    "TimeoutsConfig",
    "load_pipeline_config",
    "parse_pipeline_config",
]

_FREE_TEXTS = frozenset({"address", "name", "roles", "path", "glob", "artifacts", "logs", "live", "prices", "results"})
_TIMEOUTS: KeyPath = ("limits", "timeouts")


def load_pipeline_config(path: str | Path, overrides: Overrides | None = None) -> PipelineConfig:
    """Read and check a pipeline file and the roles file it names, with what the command line changes.

    Nothing else is opened: whether sources and stages exist is found out where they are used.

    Raises:
        ConfigError: anything is wrong with one of the files or with an override.
    """
    path = Path(path)
    source = load_source_map(path)
    return _checked(path, source, overrides or Overrides(), lambda written: _load_roles(path, written, source))


def parse_pipeline_config(
    text: str, roles_text: str, *, path: Path, roles: Path, overrides: Overrides | None = None
) -> PipelineConfig:
    """Check a pipeline file and its roles file whose texts are here already; no file is read.

    Args:
        text: of the pipeline file.
        roles_text: of its roles file.
        path: where the pipeline file is, or was: paths in it are relative to its folder.
        roles: likewise.
        overrides: of the command line.

    Raises:
        ConfigError: anything is wrong with one of the texts or with an override.
    """
    source = parse_source_map(text, name=str(path))
    return _checked(
        path, source, overrides or Overrides(), lambda _written: parse_source_map(roles_text, name=str(roles))
    )


def _checked(
    path: Path, source: SourceMap, overrides: Overrides, roles_of: Callable[[PipelineText], SourceMap]
) -> PipelineConfig:
    refuse_keys(source, free_texts=_FREE_TEXTS)
    written = build(PipelineText, source)
    stages = parse_stages(written.stages, source)
    _check_ladder(written.limits, source)
    roles = roles_of(written)
    as_written = runtime_from_source(roles, directory=Path(roles.name).parent)
    runtime = override_runtime(as_written, overrides)
    limits = override_limits(written.limits, overrides)
    engine = override_engine(written.engine, overrides)
    if written.live is not None and engine.kind != "local":
        problem = "no value can change while a run goes on over several processes; leave this out, or --engine local"
        raise source.error(problem, ("live",))
    _check_money(written, as_written, runtime, source)
    for key, problem in budget_problems(limits, runtime, priced_by(written.prices)):
        raise roles.error(problem, key)
    _check_addresses(runtime, roles)
    directory = path.parent.resolve()
    _check_results(written, path.resolve(), source)
    return PipelineConfig(
        name=written.name,
        path=path,
        text=source.text,
        roles=Path(roles.name),
        roles_text=roles.text,
        runtime=runtime,
        source=_source(written.source, directory),
        artifacts=_beside(directory, written.artifacts),
        logs=_beside(directory, written.logs),
        live=None if written.live is None else _beside(directory, written.live),
        results=tuple(_beside(directory, text) for text in written.results),
        stages=stages,
        limits=limits,
        prices=written.prices,
        telemetry=written.telemetry,
        engine=engine,
        overrides=overrides,
    )


def _load_roles(path: Path, written: PipelineText, source: SourceMap) -> SourceMap:
    roles_path = path.parent / written.roles
    if not os.path.exists(roles_path):  # noqa: PTH110 - unlike Path.exists it also answers for impossible names
        raise source.error(f"no such file: {roles_path}", ("roles",))
    return load_source_map(roles_path)


def _source(written: SourceText, directory: Path) -> SourceConfig:
    stdin = written.path == STDIN
    path = None if stdin or written.path is None else _beside(directory, written.path)
    return SourceConfig(path=path, glob=written.glob, stdin=stdin, directory=directory)


def _check_results(written: PipelineText, path: Path, source: SourceMap) -> None:
    """Refuse a table of results in the place of something else; its format is looked at later."""
    directory, artifacts = path.parent, _beside(path.parent, written.artifacts)
    taken = {path: "this file", _beside(directory, written.roles): "the roles file"}
    if written.source.path is not None:
        taken[_beside(directory, written.source.path)] = "the source"
    for index, text in enumerate(written.results):
        table = _beside(directory, text)
        what = next((what for place, what in taken.items() if place in (table, *table.parents)), None)
        if what is not None:
            raise source.error(f"results can't be written there: {text} is {what}, or in it", ("results", index))
        if artifacts in (table, *table.parents):
            raise source.error("the artifacts folder holds artifacts and nothing else", ("results", index))
        taken[table] = "named twice"


def _beside(directory: Path, text: str) -> Path:
    return Path(os.path.normpath(directory / text))


def _check_ladder(limits: LimitsConfig, source: SourceMap) -> None:
    for inner, inner_length, outer, outer_length in limits.timeouts.steps():
        if inner_length < outer_length:
            continue
        problem = (
            f"the {inner} timeout ({inner_length:g} s, {_origin(source, inner)}) has to be shorter than "
            f"the {outer} timeout ({outer_length:g} s, {_origin(source, outer)})"
        )
        defaults = [one for one in limits.timeouts.too_long_for(outer) if source.line((*_TIMEOUTS, one)) is None]
        if inner in defaults:
            problem += f"; write down a shorter {', '.join(defaults)} as well"
        written = inner if source.line((*_TIMEOUTS, inner)) is not None else outer
        raise source.error(problem, (*_TIMEOUTS, written))


def _origin(source: SourceMap, rung: str) -> str:
    line = source.line((*_TIMEOUTS, rung))
    return "the default" if line is None else f"line {line}"


def _check_money(written: PipelineText, as_written: RuntimeConfig, runtime: RuntimeConfig, source: SourceMap) -> None:
    """Refuse prices nobody uses and budgets out of order; a model the command line replaced may keep its price."""
    check_order(written.limits, source)
    used = [*as_written.settings(), *runtime.settings()]
    check_used(written.prices, ((role.provider, role.model) for role in used), source)


def _check_addresses(runtime: RuntimeConfig, roles: SourceMap) -> None:
    """Refuse a provider whose address nobody knows, before a run asks it."""
    for name in dict.fromkeys(role.provider for role in runtime.settings()):
        if name not in KNOWN_ADDRESSES and runtime.providers[name].base_url is None:
            problem = "the address of this provider's OpenAI-compatible endpoint is missing; set base_url"
            raise roles.error(problem, ("providers", name))
