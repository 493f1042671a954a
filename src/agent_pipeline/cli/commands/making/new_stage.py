"""`stage new`: a stage and its test beside the pipeline file."""

import keyword
import os
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from agent_pipeline.cli.commands.config_file import find_config
from agent_pipeline.cli.commands.making.new_files import write_new_files
from agent_pipeline.cli.commands.making.templates import stage_files
from agent_pipeline.cli.output import one_line, out, print_json
from agent_pipeline.cli.typeable import typeable
from agent_pipeline.config.pipeline import BUILT_IN_STAGES, PipelineConfig, load_pipeline_config
from agent_pipeline.config.stage_addition import with_stage
from agent_pipeline.config.text_file import replace_text_file
from agent_pipeline.errors import InputError

_NO_LETTER = re.compile(r"\W+", re.ASCII)


def make_stage(name: str, config: Path | None, *, add: bool, as_json: bool) -> int:
    """Write a stage and its test, and print what to do next; return 0.

    Raises:
        InputError: the name can't be used, or one of the files is there; nothing has changed.
        ConfigError: the pipeline file is wrong, or the stage can't be added to it; nothing has changed.
    """
    path = find_config(config)
    pipeline = load_pipeline_config(path)
    folder = path.parent
    check_name(name, folder)
    spec = f"{name}:{name}"
    changed = with_stage(path, spec) if add else None
    contents = stage_files(name, _role(pipeline))
    write_new_files(folder, contents)
    made = [str(folder / file) for file in contents]
    if changed is not None:
        try:
            replace_text_file(path, changed)
        except BaseException:
            for file in made:
                Path(file).unlink()
            raise
    line = f"- {spec}"
    commands = [f"pytest {made[-1]}", f"agent-pipeline check {path}", f"agent-pipeline run {path} --offline"]
    if as_json:
        shown = {"stage": spec, "files": made, "config": str(path), "added": add, "line": line}
        print_json({**shown, "next": commands, "exit_code": 0})
        return 0
    told = f"added to {path} as its last stage" if add else f"add this line to `stages` in {path}:  {line}"
    for position, text in enumerate([f"made {made[0]} and {made[1]}", told, *map(typeable, commands)]):
        out().line(("next: " if position == 2 else " " * 6 if position > 2 else "") + one_line(text, most=4000))
    return 0


def check_name(name: str, folder: Path) -> None:
    """See that a stage may have this name.

    Raises:
        InputError: it may not; says why, and which one would do.
    """
    problem = _problem(name, folder)
    if problem is None:
        return
    better = _suggestion(name, folder)
    hint = f"; {better!r} would do" if better else "; choose another name"
    raise InputError(f"no stage can be called {name!r}: {problem}{hint}")


def _problem(name: str, folder: Path) -> str | None:
    if not (name.isidentifier() and name.isascii()):
        return "a name of letters, digits and '_' is wanted, beginning with a letter"
    if name.startswith(("test_", "_")):
        return "'_' and 'test_' at its beginning have a meaning of their own"
    there = next((file for file in (f"{name}.py", f"test_{name}.py", name) if os.path.lexists(folder / file)), None)
    reasons = {
        "it is a word of Python's own": keyword.iskeyword(name),
        "that is a built-in stage": name in BUILT_IN_STAGES,
        f"{there} is there already": there is not None,
        "a module of this name is on the Python path, and would be found first": _is_elsewhere(name),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _is_elsewhere(name: str) -> bool:
    return name in sys.stdlib_module_names or PathFinder.find_spec(name) is not None


def _suggestion(name: str, folder: Path) -> str | None:
    """Return a name near to this one that could be used."""
    plain = _NO_LETTER.sub("_", name).strip("_").removeprefix("test_").strip("_").lower()
    for candidate in (plain, f"{plain}_stage", f"my_{plain}", f"stage_{plain}"):
        if plain and candidate != name and _problem(candidate, folder) is None:
            return candidate
    return None


def _role(pipeline: PipelineConfig) -> str:
    """Return the role the new stage asks: the first there is; `writer` where only defaults are."""
    return next(iter(pipeline.runtime.roles), "writer")
