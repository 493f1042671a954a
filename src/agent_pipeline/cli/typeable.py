"""How a command of ours is typed where this process was started: a line that is printed can be copied as it is."""

import os
import shlex
import shutil
import sys
from pathlib import Path

_OURS = ("agent-pipeline", "pytest")


def typeable(command: str, at: Path | None = None) -> str:
    """Return a command as it is typed in a folder, by default the working directory.

    `uv run` goes before it where `uv run` started this process, and names the project where uv would not find it from
    that folder. The whole path of the script stands there where an environment was used without being activated. What
    is no command of this environment stays as it is.
    """
    word, _, rest = command.partition(" ")
    if word not in _OURS:
        return command
    if "UV_RUN_RECURSION_DEPTH" in os.environ:
        return f"uv run {_project_flag((at or Path.cwd()).resolve())}{command}"
    script = Path(sys.executable).parent / word
    if sys.prefix == sys.base_prefix or not script.exists() or _found_by_name(word, script):
        return command
    return f"{shlex.quote(str(script))} {rest}".rstrip()


def _project_flag(folder: Path) -> str:
    """Return `--project` for a folder from which uv would not come to the environment that runs this."""
    project = Path(sys.prefix).resolve().parent
    told = {"UV_PROJECT", "UV_PROJECT_ENVIRONMENT"} & os.environ.keys()
    if told or Path(sys.prefix).name != ".venv" or not (project / "pyproject.toml").is_file():
        return ""
    nearest = next((parent for parent in (folder, *folder.parents) if (parent / "pyproject.toml").is_file()), None)
    return "" if nearest == project else f"--project {shlex.quote(str(project))} "


def _found_by_name(word: str, script: Path) -> bool:
    found = shutil.which(word)
    return found is not None and script.samefile(found)
