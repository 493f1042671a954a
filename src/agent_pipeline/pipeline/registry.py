"""Finds a stage by its `package.module:name`, on the Python path or beside the config file."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from agent_pipeline.errors import ConfigError
from agent_pipeline.pipeline.stage import Stage

_folders: set[Path] = set()
"""Folders that were put on the path here."""


def load_stage(spec: str, *, beside: Path) -> Stage:
    """Import a stage.

    Args:
        spec: `package.module:name`.
        beside: a folder that is searched after the Python path.

    Raises:
        ConfigError: no such module or name, the module fails to import, or the name is no stage.
    """
    module_name, _, name = spec.partition(":")
    _look_beside(beside.resolve())
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as exc:
        msg = f"stage {spec!r}: can't import {module_name!r}: {type(exc).__name__}: {exc}"
        raise ConfigError(msg, key="stages") from exc
    found = getattr(module, name, None)
    if not isinstance(found, Stage):
        what = "has no such name" if found is None else f"is a {type(found).__name__}, not made with @stage"
        msg = f"stage {spec!r}: {name!r} in {module_name!r} {what}"
        raise ConfigError(msg, key="stages")
    return found


def _look_beside(folder: Path) -> None:
    """Put the folder on the path, in the place of another config's.

    Python keeps one module per name, whichever folder it came from: without this two projects in one process, each
    with its `stages.py`, would share the first one's. Stages that were loaded keep the modules they were made in.
    """
    others = _folders - {folder}
    if others:
        gone = {name for name, module in sys.modules.items() if "." not in name and _folder_of(module) in others}
        for name in [name for name in sys.modules if name.partition(".")[0] in gone - _KEPT]:
            del sys.modules[name]
        sys.path[:] = [entry for entry in sys.path if Path(entry) not in others]
        _folders.difference_update(others)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        _folders.add(folder)
        importlib.invalidate_caches()


_KEPT = {"__main__", __name__.partition(".")[0]}


def _folder_of(module: ModuleType) -> Path | None:
    """Return the folder in which a top-level module or package was found."""
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    path = Path(file)
    return path.parent.parent if path.stem == "__init__" else path.parent
