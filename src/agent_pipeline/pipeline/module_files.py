"""The code of modules that are imported while a function runs: read from files, not imported before their time."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import CodeType

from agent_pipeline.pipeline.code_facts import Import


def modules_named(one: Import, package: str) -> list[ModuleSpec]:
    """Return the modules that an import statement in `package` names."""
    name = importlib.util.resolve_name("." * one.level + one.name, package) if one.level else one.name
    found = [_find(name), *(_find(f"{name}.{item}") for item in one.items)]
    return [spec for spec in found if spec is not None]


def code_of(spec: ModuleSpec) -> CodeType | None:
    """Return a module's code, None for one that is not written in Python."""
    get_code = getattr(spec.loader, "get_code", None)
    code = None if get_code is None else get_code(spec.name)
    return code if isinstance(code, CodeType) else None


def _find(name: str) -> ModuleSpec | None:
    """Find a module as an import would, without importing the packages it is in."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return loaded.__spec__
    parent, _, _ = name.rpartition(".")
    above = _find(parent) if parent else None
    path = None if above is None else above.submodule_search_locations
    if parent and path is None:
        return None
    specs = (finder.find_spec(name, path) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)
