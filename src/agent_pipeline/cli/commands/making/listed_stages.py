"""`stage list`: the built-in stages and those of a pipeline, told without importing any of the user's."""

import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from agent_pipeline.cli.commands.config_file import DEFAULTS, find_config
from agent_pipeline.cli.commands.stage_names import WrittenStage, check_stage
from agent_pipeline.cli.output import one_line, out, print_json
from agent_pipeline.config.pipeline import PipelineConfig, load_pipeline_config
from agent_pipeline.config.stage_list import REWORK_OPTIONS, StageConfig
from agent_pipeline.paths import near
from agent_pipeline.pipeline.stage import Stage
from agent_pipeline.stages import BUILT_IN


@dataclass(frozen=True, slots=True)
class _Listed:
    """One stage as it is shown.

    Attributes:
        position: in the pipeline, from 1; None where the pipeline does not have it.
        options: what the pipeline file sets.
        known_options: what the stage looks up itself, besides `rework_to` and `max_reworks`.
    """

    name: str
    built_in: bool
    position: int | None
    roles: tuple[str, ...]
    options: dict[str, object]
    known_options: tuple[str, ...]
    place: str
    summary: str


def list_stages(config: Path | None, *, as_json: bool) -> int:
    """Print the stages of a pipeline, then the built-in ones it does not have; return 0.

    Without a pipeline file, named or in the working directory, the built-in ones alone.

    Raises:
        ConfigError: the pipeline file is wrong, or names a stage that is not there.
    """
    is_there = config is not None or any(Path(name).is_file() for name in DEFAULTS)
    pipeline = load_pipeline_config(find_config(config)) if is_there else None
    stages = list(_of_pipeline(pipeline)) if pipeline is not None else []
    used = {stage.name for stage in stages}
    rest = [_listed(StageConfig(name=name), None, _read(one)) for name, one in BUILT_IN.items() if name not in used]
    if as_json:
        shown = [{**asdict(stage), "place": stage.place or None} for stage in [*stages, *rest]]
        print_json({"config": None if pipeline is None else str(pipeline.path), "stages": shown, "exit_code": 0})
        return 0
    lines: list[str] = []
    if pipeline is not None:
        lines = [f"{pipeline.name} ({pipeline.path}):", *(line for stage in stages for line in _lines(stage))]
    if rest:
        lines += [f"built in{'' if pipeline is None else ', not used here'}:"]
        lines += [line for stage in rest for line in _lines(stage)]
    out().write("".join(f"{line}\n" for line in lines))
    out().flush()
    return 0


def _of_pipeline(pipeline: PipelineConfig) -> Iterator[_Listed]:
    for index, stage in enumerate(pipeline.stages):
        built_in = BUILT_IN.get(stage.name)
        beside = pipeline.path.parent
        written = check_stage(stage.name, beside=beside) if built_in is None else _read(built_in)
        yield _listed(stage, index + 1, written)


def _read(stage: Stage) -> WrittenStage:
    """Return what a built-in stage says of itself."""
    code = inspect.unwrap(stage.function).__code__
    doc = inspect.getdoc(stage.function) or ""
    return WrittenStage(
        roles=stage.roles, place=f"{code.co_filename}:{code.co_firstlineno}", summary=doc.partition("\n")[0]
    )


def _listed(stage: StageConfig, position: int | None, written: WrittenStage) -> _Listed:
    return _Listed(
        name=stage.name,
        built_in=stage.name in BUILT_IN,
        position=position,
        roles=written.roles,
        options=dict(stage.options),
        known_options=tuple(name for name in written.options if name not in REWORK_OPTIONS),
        place=written.place,
        summary=written.summary,
    )


def _lines(stage: _Listed) -> Iterator[str]:
    number = "-" if stage.position is None else f"{stage.position}."
    kind = " (built in)" if stage.built_in and stage.position is not None else ""
    yield f"  {number} {one_line(stage.name)}{kind}: {one_line(stage.summary) or 'says nothing of itself'}"
    told = []
    if stage.roles:
        told.append(f"roles {', '.join(stage.roles)}")
    if stage.options:
        told.append("options " + ", ".join(f"{name}: {value}" for name, value in stage.options.items()))
    if unset := [name for name in stage.known_options if name not in stage.options]:
        told.append(f"reads also {', '.join(unset)}")
    if told:
        yield f"     {one_line('; '.join(told))}"
    if stage.place:
        yield f"     {one_line(near(stage.place), most=4000)}"
