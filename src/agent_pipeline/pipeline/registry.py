"""Finds a stage by its `package.module:name`, on the Python path or beside the config file."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from agent_pipeline.errors import ConfigError
from agent_pipeline.pipeline.stage import Stage

_folders: set[Path] = set()
"""Folders that were put on the path here. Python keeps one module per name, whichever folder it came from."""


def load_stage(spec: str, *, beside: Path) -> Stage:
    """Import a stage.

    Args:
        spec: `package.module:name`.
        beside: a folder that is searched after the Python path.

    Raises:
        ConfigError: no such module or name, the module fails to import, or the name is no stage.
    """
    module_name, _, name = spec.partition(":")
    folder = beside.resolve()
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        _folders.add(folder)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as exc:
        msg = f"stage {spec!r}: can't import {module_name!r}: {type(exc).__name__}: {exc}"
        raise ConfigError(msg, key="stages") from exc
    origin = _folder_of(sys.modules[module_name.partition(".")[0]])
    if origin in _folders - {folder}:
        msg = f"stage {spec!r}: {module_name!r} comes from {origin}, beside another config; give one another name"
        raise ConfigError(msg, key="stages")
    found = getattr(module, name, None)
    if not isinstance(found, Stage):
        what = "has no such name" if found is None else f"is a {type(found).__name__}, not made with @stage"
        msg = f"stage {spec!r}: {name!r} in {module_name!r} {what}"
        raise ConfigError(msg, key="stages")
    return found


def _folder_of(module: ModuleType) -> Path | None:
    """Return the folder in which a top-level module or package was found."""
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    path = Path(file).resolve()
    return path.parent.parent if path.stem == "__init__" else path.parent
