"""The files that `init` and `stage new` make, kept as files of the package beside this folder."""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template

_SUFFIX = ".template"
_HIDDEN = {"env.example": ".env.example", "gitignore": ".gitignore"}
"""Names that would have an effect where the templates themselves lie."""


def project_files(values: Mapping[str, str]) -> dict[str, str]:
    """Return the files of a new project: path below its folder to text."""
    return dict(_filled("project", values))


def stage_files(name: str, role: str) -> dict[str, str]:
    """Return the two files of a new stage, its test last."""
    filled = dict(_filled("stage", {"name": name, "role": role}))
    return {f"{name}.py": filled["stage.py"], f"test_{name}.py": filled["test_stage.py"]}


def _filled(group: str, values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for path, file in _walk(files("agent_pipeline.cli") / "templates" / group, ""):
        name, text = path.removesuffix(_SUFFIX), file.read_text(encoding="utf-8")
        yield _HIDDEN.get(name, name), text if name == path else Template(text).substitute(values)


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for one in sorted(folder.iterdir(), key=lambda found: found.name):
        if one.is_dir():
            yield from _walk(one, f"{prefix}{one.name}/")
        else:
            yield f"{prefix}{one.name}", one
