"""`init`: a project that runs offline at once."""

import re
import shlex
from pathlib import Path

from agent_pipeline.cli.commands.making.new_files import write_new_files
from agent_pipeline.cli.commands.making.templates import project_files
from agent_pipeline.cli.output import one_line, out, print_json
from agent_pipeline.cli.typeable import typeable
from agent_pipeline.config.pipeline_models import MAX_NAME
from agent_pipeline.errors import InputError

_OTHER = re.compile(r"[^A-Za-z0-9_.-]+")


def init_project(folder: Path, *, as_json: bool) -> int:
    """Make a project in a folder and print what to do next; return 0.

    Raises:
        InputError: the folder holds one of the files already, or can't be written; nothing has changed.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder, or one that is still to be made")
    name = _project_name(folder.resolve().name)
    contents = project_files({"name": name})
    write_new_files(folder, contents)
    there = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    commands = [f"{there}agent-pipeline check", "agent-pipeline run --offline", "pytest"]
    if as_json:
        made = {"project": str(folder.resolve()), "name": name, "files": list(contents)}
        print_json({**made, "next": commands, "exit_code": 0})
        return 0
    lines = [f"made {name}, {len(contents)} files in {folder}:", *(f"  {path}" for path in contents)]
    first, *others = (typeable(command.removeprefix(there), folder) for command in commands)
    lines += [f"next: {there}{first}", *(f"{'':<6}{command}" for command in others)]
    out().write("".join(f"{_safe(line)}\n" for line in lines))
    out().flush()
    return 0


def _project_name(folder_name: str) -> str:
    """Return a folder's name as a pipeline may be called.

    >>> _project_name("My notes!"), _project_name("..."), _project_name("2026.")
    ('My-notes', 'my-pipeline', '2026')
    """
    return _OTHER.sub("-", folder_name).strip("-_.")[:MAX_NAME].rstrip("-_.") or "my-pipeline"


def _safe(line: str) -> str:
    indent = len(line) - len(line.lstrip())
    return " " * indent + one_line(line, most=4000)
