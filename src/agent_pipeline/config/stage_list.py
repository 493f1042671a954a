"""The `stages:` list of a pipeline file: names, options, and where a rework goes back to."""

import re
from collections.abc import Mapping

from pydantic import Field, JsonValue

from agent_pipeline.config.source_map import KeyPath, SourceMap
from agent_pipeline.config.validation import ConfigModel, did_you_mean
from agent_pipeline.errors import ConfigError

REWORK_OPTIONS = frozenset({"rework_to", "max_reworks"})
"""Options of every stage: where a document goes back to when the stage asks for rework, and how often at most."""

BUILT_IN_STAGES: Mapping[str, frozenset[str]] = {
    "route": REWORK_OPTIONS,
    "transform": REWORK_OPTIONS,
    "review": REWORK_OPTIONS,
    "name": REWORK_OPTIONS,
}
"""The built-in stages and the options each knows."""

DEFAULT_MAX_REWORKS = 2

_WORD = r"[A-Za-z_]\w*"
_PYTHON_NAME = re.compile(rf"{_WORD}(\.{_WORD})*:{_WORD}(\.{_WORD})*")


class StageConfig(ConfigModel):
    """One stage of a pipeline: a built-in name or `package.module:attribute`, and its options."""

    name: str
    options: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def rework_to(self) -> str | None:
        """Name of the earlier stage that reworks what this one refuses, None where nothing is reworked."""
        value = self.options.get("rework_to")
        return value if isinstance(value, str) else None

    @property
    def max_reworks(self) -> int:
        """How often one document may be reworked for this stage."""
        value = self.options.get("max_reworks")
        if isinstance(value, int):
            return value
        return 0 if self.rework_to is None else DEFAULT_MAX_REWORKS


def parse_stages(entries: list[JsonValue], source: SourceMap) -> tuple[StageConfig, ...]:
    """Check the list under `stages`.

    Raises:
        ConfigError: a name is unknown or there twice, or options make no sense.
    """
    if not entries:
        raise source.error("at least one stage is wanted", ("stages",))
    stages: list[StageConfig] = []
    for index, entry in enumerate(entries):
        stage, path = _stage(entry, source, ("stages", index))
        earlier = [other.name for other in stages]
        if stage.name in earlier:
            raise source.error(f"the stage {stage.name!r} is there twice", path)
        _check_options(stage, earlier, source, path)
        stages.append(stage)
    return tuple(stages)


def _stage(entry: JsonValue, source: SourceMap, path: KeyPath) -> tuple[StageConfig, KeyPath]:
    options: JsonValue = None
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, options),) = entry.items()
        path = (*path, name)
    elif isinstance(entry, str):
        name = entry
    else:
        raise source.error("a stage's name is wanted, or one name with its options (name: {option: value})", path)
    if name not in BUILT_IN_STAGES and not _PYTHON_NAME.fullmatch(name):
        raise _unknown_stage(name, source, path)
    if options is None:
        options = {}
    if not isinstance(options, dict):
        raise source.error("the options of a stage are a mapping (option: value)", path)
    return StageConfig(name=name, options=options), path


def _unknown_stage(name: str, source: SourceMap, path: KeyPath) -> ConfigError:
    hint = did_you_mean(name, BUILT_IN_STAGES)
    return source.error(f"unknown stage {name!r}{hint}; a stage of your own is package.module:attribute", path)


def _check_options(stage: StageConfig, earlier: list[str], source: SourceMap, path: KeyPath) -> None:
    known = BUILT_IN_STAGES.get(stage.name)
    for option in stage.options:
        if known is not None and option not in known:
            raise source.error(f"unknown option{did_you_mean(option, known)}", (*path, option))
    target = stage.options.get("rework_to")
    if target is not None and (not isinstance(target, str) or target not in earlier):
        hint = did_you_mean(target, earlier) if isinstance(target, str) else ""
        raise source.error(f"the name of an earlier stage is wanted{hint}", (*path, "rework_to"))
    times = stage.options.get("max_reworks")
    if times is None:
        return
    if not isinstance(times, int) or isinstance(times, bool) or times < 0:
        raise source.error("a whole number, 0 or more, is wanted", (*path, "max_reworks"))
    if target is None:
        raise source.error("rework_to is missing: nothing says which stage reworks", (*path, "max_reworks"))
