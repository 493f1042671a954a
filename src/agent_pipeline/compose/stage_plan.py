"""The stages of a run: found, in order, each with its place and options."""

from dataclasses import replace
from typing import Any

from agent_pipeline.compose.options import RunOptions
from agent_pipeline.config.pipeline import PipelineConfig, StageConfig
from agent_pipeline.config.roles import resolve_role
from agent_pipeline.config.source_map import parse_source_map
from agent_pipeline.errors import ConfigError
from agent_pipeline.pipeline.registry import load_stage
from agent_pipeline.pipeline.stage import PlannedStage, Stage
from agent_pipeline.stages import BUILT_IN


def plan_stages(config: PipelineConfig, options: RunOptions) -> tuple[PlannedStage, ...]:
    """Load the stages that run, in order; a rework into one that does not run is no rework."""
    known = [stage.name for stage in config.stages]
    for name in (*options.only, *options.skip):
        if name not in known:
            raise ConfigError(f"no stage {name!r} in this pipeline; it has {', '.join(known)}", key="stages")
    chosen = [
        stage
        for stage in config.stages
        if stage.name not in options.skip and (not options.only or stage.name in options.only)
    ]
    if not chosen:
        raise ConfigError("no stage is left to run", key="stages")
    loaded = {stage.name: BUILT_IN.get(stage.name) or _load_stage(stage.name, config) for stage in chosen}
    for stage in loaded.values():
        for role in stage.roles:
            resolve_role(config.runtime, role)  # a role that is missing is found before anything is created
    names = [stage.name for stage in loaded.values()]
    loaded = {
        spec: stage if names.count(stage.name) == 1 else replace(stage, name=spec) for spec, stage in loaded.items()
    }
    return tuple(_planned(stage, loaded) for stage in chosen)


def _load_stage(name: str, config: PipelineConfig) -> Stage:
    """Import a stage of the user's own; what is wrong with it is told at its line of the config file."""
    try:
        return load_stage(name, beside=config.path.parent)
    except ConfigError as exc:
        index = [stage.name for stage in config.stages].index(name)
        raise parse_source_map(config.text, name=str(config.path)).error(exc.problem, ("stages", index)) from exc


def _planned(stage: StageConfig, loaded: dict[str, Any]) -> PlannedStage:
    target = loaded.get(stage.rework_to or "")
    rest = {name: value for name, value in stage.options.items() if name not in {"rework_to", "max_reworks"}}
    return PlannedStage(
        stage=loaded[stage.name],
        rework_to=None if target is None else target.name,
        max_reworks=0 if target is None else stage.max_reworks,
        options=rest,
    )
