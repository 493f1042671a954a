"""Names that import their module at first use (PEP 562), so that help and checks stay free of heavy libraries."""

import importlib
from collections.abc import Callable, Mapping


def lazy_exports(package: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Return a module `__getattr__` that finds each name in the module `names` gives for it."""

    def getattr_(name: str) -> object:
        module = names.get(name)
        if module is None:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(importlib.import_module(module), name)

    return getattr_
