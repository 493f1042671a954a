"""What does a stage's name lead to? Looked up in the module's text, since importing it would run it."""

import ast
import difflib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from agent_pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class WrittenStage:
    """What a stage's own text says of it; empty where it says nothing, or is no text.

    Attributes:
        roles: those that the decorator names, as far as they are written out.
        options: those that its function looks up in `context.options` by a written name, in that order.
        place: `file:line`, or the file.
        summary: the first line of its docstring.
    """

    roles: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    place: str = ""
    summary: str = ""


def check_stage(spec: str, *, beside: Path) -> WrittenStage:
    """See that the module of `package.module:name` is there, parses, and binds the name to what may be a stage.

    Args:
        spec: as in the config file.
        beside: a folder that is searched after the Python path.

    Returns:
        What is written there.

    Raises:
        ConfigError: it is not there, would fail to import for its syntax, or is no async function.
    """
    module_name, _, attribute = spec.partition(":")
    found = _find_module(module_name, [*sys.path, str(beside.resolve())])
    if found is None:
        raise ConfigError(
            f"stage {spec!r}: no module {module_name!r} on the Python path or beside the config", key="stages"
        )
    if found.origin is None or not found.origin.endswith(".py"):
        return WrittenStage(place=found.origin or "")
    path = Path(found.origin)
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise ConfigError(f"stage {spec!r}: {path} can't be read: {exc}", key="stages") from exc
    except SyntaxError as exc:
        raise ConfigError(
            f"stage {spec!r}: {exc.msg}", place=f"{path}:{exc.lineno}:{exc.offset}", key="stages"
        ) from exc
    names = set(_bound_names(tree.body))
    first = attribute.partition(".")[0]
    if first not in names and not names & {"*", "__getattr__"}:
        near = difflib.get_close_matches(first, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"stage {spec!r}: {path} has no {first!r}{hint}", key="stages")
    written = next((one for one in tree.body if isinstance(one, _FUNCTIONS) and one.name == first), None)
    if written is None or not (marks := [mark for mark in written.decorator_list if _is_stage(mark)]):
        return WrittenStage(place=str(path))
    if isinstance(written, ast.FunctionDef):
        raise ConfigError(
            f"stage {spec!r}: a stage is an async function; write `async def {first}`",
            place=f"{path}:{written.lineno}",
            key="stages",
        )
    return _described(written, marks, f"{path}:{written.lineno}")


def _described(written: ast.AsyncFunctionDef, marks: list[ast.expr], place: str) -> WrittenStage:
    roles = [role for mark in marks if isinstance(mark, ast.Call) for role in _roles_in(mark)]
    return WrittenStage(
        roles=tuple(dict.fromkeys(roles)),
        options=tuple(dict.fromkeys(_options_in(written))),
        place=place,
        summary=(ast.get_docstring(written) or "").partition("\n")[0],
    )


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _is_stage(mark: ast.expr) -> bool:
    """Tell whether a decorator is `@stage`, with or without arguments, by whatever way it was imported."""
    named = mark.func if isinstance(mark, ast.Call) else mark
    return (isinstance(named, ast.Name) and named.id == "stage") or (
        isinstance(named, ast.Attribute) and named.attr == "stage"
    )


def _roles_in(call: ast.Call) -> Iterator[str]:
    """Yield the texts in `role=` and `roles=`; what is worked out first is not known here."""
    for keyword in call.keywords:
        if keyword.arg in {"role", "roles"}:
            for node in ast.walk(keyword.value):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def _options_in(function: ast.AsyncFunctionDef) -> Iterator[str]:
    """Yield the written names in `....options["name"]` and `....options.get("name")`, in the order of the text."""
    found: list[tuple[int, int, str]] = []
    for node in ast.walk(function):
        match node:
            case ast.Subscript(value=ast.Attribute(attr="options"), slice=ast.Constant(value=str(name))):
                found.append((node.lineno, node.col_offset, name))
            case ast.Call(
                func=ast.Attribute(attr="get", value=ast.Attribute(attr="options")),
                args=[ast.Constant(value=str(name)), *_],
            ):
                found.append((node.lineno, node.col_offset, name))
    yield from (name for _, _, name in sorted(found))


def _find_module(name: str, path: list[str]) -> ModuleSpec | None:
    """Find a module as import would, but without running the packages it is in."""
    found: ModuleSpec | None = None
    search: list[str] | None = path
    prefix = ""
    for part in name.split("."):
        if search is None:
            return None
        prefix = f"{prefix}.{part}" if prefix else part
        found = PathFinder.find_spec(prefix, search)
        if found is None:
            return None
        places = found.submodule_search_locations
        search = None if places is None else list(places)
    return found


def _bound_names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield what statements bind on the level of their module; `*` for a star import."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield statement.name
            case ast.Import() | ast.ImportFrom():
                for alias in statement.names:
                    yield (alias.asname or alias.name).partition(".")[0]
            case _:
                for node in ast.walk(statement):
                    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                        yield node.id
                    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                        yield node.name
                    elif isinstance(node, ast.Import | ast.ImportFrom):
                        yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
