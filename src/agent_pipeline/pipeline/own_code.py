"""Tells the code of the user's project from that of Python and of installed packages."""

import functools
import inspect
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, ModuleType

THIS = __name__.partition(".")[0]
STAGES = f"{THIS}.stages"
"""The part of this package that counts as the project's: the built-in prompts are here."""

_PYTHON = frozenset({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})
_INSTALLED = frozenset({"site-packages", "dist-packages"})


class OwnCode:
    """What belongs to the same project as a stage's function.

    Args:
        function: its package is the project's, also where it is installed.
    """

    def __init__(self, function: object) -> None:
        scope = _scope_of(function)
        name, file = str(scope.get("__name__")), scope.get("__file__")
        self._package = name.partition(".")[0]
        self._root = _root(name, Path(file), is_package="__path__" in scope) if isinstance(file, str) else ""

    def has_function(self, function: FunctionType) -> bool:
        """Tell whether a function is the project's, by the module in which it looks up names."""
        scope = function.__globals__
        return self.has_file(str(scope.get("__name__", "")), scope.get("__file__"))

    def has_class(self, kind: type) -> bool:
        """Tell whether a class is the project's; one whose module is gone is."""
        name = str(kind.__module__)
        return name != "builtins" and self.has_file(name, getattr(sys.modules.get(name), "__file__", None))

    def has_module(self, module: ModuleType) -> bool:
        """Tell whether a module is the project's."""
        scope = vars(module)
        return self.has_file(module.__name__, scope.get("__file__") or next(iter(scope.get("__path__", ())), None))

    def has_file(self, name: str, file: object) -> bool:
        """Tell whether a module is the project's by its name and file."""
        package = name.partition(".")[0]
        if package == THIS:
            return name == STAGES or name.startswith(f"{STAGES}.")
        if package == self._package:
            return True
        if isinstance(file, str):
            return not _is_installed(file)
        return package not in sys.stdlib_module_names

    def portable(self, path: str) -> str:
        """Return a path as it reads in every copy of the project, with its sources or compiled only."""
        rest = path.removeprefix(self._root)
        if not self._root or rest == path or rest[:1] not in {"", "/", "\\"}:
            return path
        return f"\0{rest.removesuffix('c') if rest.endswith('.pyc') else rest}"


def _scope_of(function: object) -> Mapping[str, object]:
    """Return the names of the module in which a function was written, whatever it is wrapped in."""
    while isinstance(function, functools.partial):
        function = function.func
    try:
        inner = inspect.unwrap(function) if callable(function) else function
        scope = getattr(inner, "__globals__", None) or vars(sys.modules[inner.__module__])
    except Exception:  # noqa: BLE001 - an object may run any code when it is looked at
        return {}
    return scope if isinstance(scope, dict) else {}


@functools.lru_cache(maxsize=4096)
def _is_installed(file: str) -> bool:
    path = Path(file)
    return not _INSTALLED.isdisjoint(path.parts) or any(path.is_relative_to(folder) for folder in _PYTHON)


def _root(name: str, file: Path, *, is_package: bool) -> str:
    """Return the folder that `name` was found in, as many levels up as it has parts; "" where there is none."""
    levels = name.count(".") + is_package
    folder = file.parents[levels] if levels < len(file.parents) else file.parent
    return "" if folder == folder.parent else str(folder)
