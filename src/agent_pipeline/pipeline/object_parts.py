"""What an object is made of, as far as that decides what it does."""

import functools
import json
import operator
from collections import ChainMap, UserDict, UserList, UserString
from collections.abc import Callable
from enum import Enum
from string import Template
from types import (
    BuiltinFunctionType,
    FunctionType,
    GenericAlias,
    MappingProxyType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    SimpleNamespace,
    UnionType,
    WrapperDescriptorType,
)
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

_BY_ATTRIBUTES = frozenset({"annotated_types", "pydantic", "pydantic_core"})
"""Packages whose objects say in their public attributes what they do: constraints, fields, validators."""

_SAYS_NOTHING = frozenset(
    {"__annotations__", "__dict__", "__firstlineno__", "__module__", "__signature__", "__static_attributes__"}
    | {"__weakref__", "__class_vars__", "__slotnames__", "_abc_impl"}
)
"""Names in a class that are read elsewhere, or tell where it stands and what was done with it."""

_METHODS = (FunctionType, classmethod, staticmethod, property)

Parts = tuple[object, ...]


class _QuietSchema(GenerateJsonSchema):
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


def qualified_name(kind: type) -> str:
    """Return a type's name behind that of its module."""
    return f"{kind.__module__}.{kind.__qualname__}"


def parts_of(item: object) -> Parts | None:
    """Return what an object of Python's own or of pydantic is made of; None for any other."""
    kind = type(item)
    known = next((_PARTS[base] for base in kind.__mro__ if base in _PARTS), None) or _BY_NAME.get(qualified_name(kind))
    if known is not None:
        return known(item)
    if kind.__module__ in {"typing", "typing_extensions"}:
        return _annotation(item)
    if kind.__module__.partition(".")[0] in _BY_ATTRIBUTES:
        return ({name: part for name, part in state_of(item).items() if not name.startswith("_")},)
    return None


def state_of(item: object) -> dict[str, object]:
    """Return an object's attributes, those in slots too."""
    state = object.__getstate__(item)
    halves = state if isinstance(state, tuple) else (state,)
    return {name: part for half in halves if isinstance(half, dict) for name, part in half.items()}


def fields_of(item: object) -> dict[str, object] | None:
    """Return the fields of a dataclass's instance; None for any other object."""
    fields: dict[str, object] | None = getattr(type(item), "__dataclass_fields__", None)
    return None if fields is None else {name: getattr(item, name, None) for name in fields}


def class_parts(kind: type) -> dict[str, object]:
    """Return what a class holds besides its annotations."""
    held = {name: part for name, part in vars(kind).items() if name not in _SAYS_NOTHING}
    if issubclass(kind, Enum):
        methods = {name: part for name, part in held.items() if isinstance(part, _METHODS) or name[0] != "_"}
        return methods | {"the members": list(kind.__members__)}
    if issubclass(kind, BaseModel):
        schema = _schema(kind.model_json_schema)  # before the fields: names of classes that came later are found now
        own = {name: part for name, part in held.items() if not name.startswith("__pydantic_")}
        return own | {"the fields": vars(kind).get("__pydantic_fields__"), "the schema": schema}
    return held


def _schema(make: Callable[..., object]) -> str:
    """Return a JSON schema as a text; which pydantic can't make, the fields have to do."""
    try:
        return json.dumps(make(schema_generator=_QuietSchema), default=str)
    except Exception as exc:  # noqa: BLE001 - from the model's own hooks, or from pydantic
        return type(exc).__name__


def _adapter(adapter: TypeAdapter[Any]) -> Parts:
    return (_schema(adapter.json_schema), getattr(adapter, "_type", None))


def _annotation(item: object) -> Parts:
    """Return the parts of `list[int]`, `int | None` and the like; whole names such as `Any` have none."""
    origin = get_origin(item)
    if origin is not None:
        return (origin, *get_args(item))
    inner = getattr(item, "__supertype__", None) or getattr(item, "__value__", None)
    return (str(item),) if inner is None else (inner,)


def _bound(item: Any) -> Parts:  # noqa: ANN401 - builtin methods have no common type
    return (item.__name__, None if isinstance(item.__self__, ModuleType) else item.__self__)


_PARTS: dict[type, Callable[..., Parts]] = {
    tuple: tuple,
    MappingProxyType: lambda item: (dict(item),),
    MethodType: lambda item: (item.__func__, item.__self__),
    BuiltinFunctionType: _bound,
    MethodWrapperType: _bound,
    MethodDescriptorType: lambda item: (item.__objclass__, item.__name__),
    WrapperDescriptorType: lambda item: (item.__objclass__, item.__name__),
    operator.attrgetter: lambda item: item.__reduce__()[1:],
    operator.itemgetter: lambda item: item.__reduce__()[1:],
    operator.methodcaller: lambda item: item.__reduce__()[1:],
    functools.partial: lambda item: (item.func, item.args, item.keywords),
    functools.partialmethod: lambda item: (item.func, item.args, item.keywords),
    functools.cached_property: lambda item: (item.func,),
    property: lambda item: (item.fget, item.fset, item.fdel, item.__doc__),
    staticmethod: lambda item: (item.__func__,),
    classmethod: lambda item: (item.__func__,),
    GenericAlias: _annotation,
    UnionType: _annotation,
    TypeAdapter: _adapter,
    BaseModel: lambda item: (vars(item), item.__pydantic_extra__),
    SimpleNamespace: lambda item: (state_of(item),),
    Template: lambda item: (item.template,),
    ChainMap: lambda item: tuple(item.maps),
    UserDict: lambda item: (item.data,),
    UserList: lambda item: (item.data,),
    UserString: lambda item: (item.data,),
}

_BY_NAME: dict[str, Callable[..., Parts]] = {
    "jinja2.environment.Template": lambda item: (item.root_render_func.__code__, item.blocks),
}
"""Objects of packages that are not imported here."""
