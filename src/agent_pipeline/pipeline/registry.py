"""Finds a stage by its `package.module:name`, on the Python path or beside the config file."""

import importlib
import sys
from pathlib import Path

from agent_pipeline.errors import ConfigError
from agent_pipeline.pipeline.stage import Stage


def load_stage(spec: str, *, beside: Path) -> Stage:
    """Import a stage.

    Args:
        spec: `package.module:name`.
        beside: a folder that is searched after the Python path.

    Raises:
        ConfigError: no such module or name, the module fails to import, or the name is no stage.
    """
    module_name, _, name = spec.partition(":")
    folder = str(beside.resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except Exception as exc:
        msg = f"stage {spec!r}: can't import {module_name!r}: {type(exc).__name__}: {exc}"
        raise ConfigError(msg, key="stages") from exc
    found = getattr(module, name, None)
    if not isinstance(found, Stage):
        what = "has no such name" if found is None else f"is a {type(found).__name__}, not made with @stage"
        msg = f"stage {spec!r}: {name!r} in {module_name!r} {what}"
        raise ConfigError(msg, key="stages")
    return found
