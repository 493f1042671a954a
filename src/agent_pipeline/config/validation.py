"""Turn a source map into a checked model, and what pydantic says against it into one ConfigError with its place."""

import difflib
import functools
import re
import types
import typing
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from agent_pipeline.config.key_guard import is_secret_name, looks_like_key, looks_like_known_key, shown, texts_in
from agent_pipeline.config.source_map import KeyPath, Place, SourceMap
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

_NOTHING: Mapping[str, object] = MappingProxyType({})
_QUOTED = re.compile(r"'([^']*)'")
"""One of the words that pydantic lists."""

_WORDS: Mapping[str, str] = {
    "missing": "this key is missing",
    "string_type": "a text is wanted; put the value in quotes",
    "string_too_short": "an empty text says nothing",
    "int_type": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "float_type": "a number is wanted",
    "bool_type": "true or false is wanted",
    "dict_type": "a mapping (key: value) is wanted",
    "model_type": "a mapping (key: value) is wanted",
    "list_type": "a list is wanted",
    "tuple_type": "a list is wanted",
}


def _a_path(value: str) -> str:
    if not value or not value.isprintable():
        raise ValueError("a path is wanted")
    return value


PathText = Annotated[str, AfterValidator(_a_path)]
"""A path as it is written in a file: not empty, no control characters."""


class ConfigModel(BaseModel):
    """Base of all config models: frozen, no unknown keys, no silent conversion, no values in error texts."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


def build(model: type[M], source: SourceMap) -> M:
    """Validate the whole value of a source map.

    Raises:
        ConfigError: for the first problem in the order of the file; it tells how many more there are.
    """
    try:
        return model.model_validate(mapping_in(source))
    except ValidationError as exc:
        raise _first_problem(exc, model, source) from None


def mapping_in(source: SourceMap) -> dict[str, JsonValue]:
    """Return the value of a source map, where it is a mapping.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(source.value, dict):
        what = "the file is empty" if source.value is None else "the file holds no mapping (key: value)"
        raise source.error(what if source.name else "a mapping (key: value) is wanted")
    return source.value


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that was probably meant by an unknown name, None where no choice is near."""
    known = sorted(choices)
    # Swapped letters first: to difflib, `modle` is nearer to `mode` than to `model`.
    near = [choice for choice in known if sorted(choice) == sorted(name)]
    return next(iter(near or difflib.get_close_matches(name, known, n=1)), None)


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the near one, else the choices, else nothing."""
    known = sorted(choices)
    near = nearest(name, known)
    if near is not None:
        return f"; did you mean {near!r}?"
    return f"; known are {', '.join(known)}" if known else ""


def refuse_keys(source: SourceMap, *, free_texts: frozenset[str] = frozenset()) -> None:
    """Refuse a pasted key anywhere in the file, comments included, without repeating it.

    Args:
        source: what was read.
        free_texts: names of keys whose values are prose or names of others' making (instructions, model ids), where
            only the known forms of keys count; of a key of the whole file, so is everything below.

    Raises:
        ConfigError: something looks like a key; the message names the place only.
    """
    for path, text in texts_in(source.value):
        free = not free_texts.isdisjoint(map(str, (*path[:1], *path[-1:])))
        if looks_like_known_key(text) or (not free and looks_like_key(text)):
            raise source.error(
                "this looks like a key; keys don't belong into config files. Put it into an environment variable or "
                ".env and name that variable in `providers.<id>.env_key`",
                path,
            )
        if path and isinstance(path[-1], str) and is_secret_name(path[-1]):
            raise source.error(
                "keys don't belong into config files; name an environment variable in `providers.<id>.env_key`", path
            )
    for number, line in enumerate(source.text.splitlines(), 1):
        if looks_like_known_key(line):  # in a comment, since it is in no value
            problem = "this looks like a key; take it out: a run keeps a copy of the whole file"
            raise ConfigError(problem, place=f"{source.name}:{number}")


def _first_problem(exc: ValidationError, model: type[BaseModel], source: SourceMap) -> ConfigError:
    found: list[tuple[bool, Place, KeyPath, str]] = []
    for error in exc.errors(include_url=False, include_input=False):
        path = _written_path(error["loc"], source)
        problem = _problem(error, path, model) + _near(error, path, source)
        # A key that is missing is often there under a misspelt name, and that is the better message.
        found.append((error["type"] == "missing", source.places.get(path, (0, 0)), path, problem))
    # Python's sort is stable, so a value without places keeps the order in which the models name their keys.
    _, _, path, problem = min(found, key=lambda item: item[:2])
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return source.error(problem + more, path)


def _member(value: JsonValue, part: str | int) -> JsonValue:
    if isinstance(value, dict):
        return value.get(str(part))
    return value[part] if isinstance(value, list) and isinstance(part, int) else None


def _near(error: ErrorDetails, path: KeyPath, source: SourceMap) -> str:
    """Return which of the words that may stand there was probably meant."""
    expected = str(error.get("ctx", {}).get("expected", "")) if error["type"] == "literal_error" else ""
    value = functools.reduce(_member, path, source.value)
    near = nearest(value, _QUOTED.findall(expected)) if isinstance(value, str) else None
    return "" if near is None else f"; did you mean {near!r}?"


def _written_path(loc: tuple[int | str, ...], source: SourceMap) -> KeyPath:
    """Drop what pydantic adds to a location (names of union members) and no file holds; a missing key stays."""
    path: KeyPath = ()
    value = source.value
    for part in loc:
        if isinstance(value, dict) and isinstance(part, str):
            path = (*path, part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            path = (*path, part)
            value = value[part]
    return path


def _problem(error: ErrorDetails, path: KeyPath, model: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        return f"unknown key{did_you_mean(shown(str(path[-1])), _keys_beside(model, path))}"
    return wording(error["type"], error["msg"], error.get("ctx", {}))


def wording(kind: str, message: str, context: Mapping[str, object] = _NOTHING) -> str:
    """Return what pydantic says about a value in the words of our messages."""
    if kind == "union_tag_not_found":
        return f"the key {context['discriminator']} is missing"
    if kind == "union_tag_invalid":
        tag, known = shown(str(context["tag"])), _QUOTED.findall(str(context["expected_tags"]))
        return f"there is no {context['discriminator']} {tag!r}{did_you_mean(tag, known)}"
    return _WORDS.get(kind) or message.removeprefix("Value error, ").replace("Input should be", "the value should be")


def _keys_beside(model: type[BaseModel], path: KeyPath) -> list[str]:
    """Return the keys the model knows where the path's last key stands."""
    at: object = model
    for part in path[:-1]:
        at = _inside(at, part)
    found = _model_in(at)
    return list(found.model_fields) if found else []


def _inside(annotation: object, part: str | int) -> object:
    """Return the annotation of one member of a value with this annotation."""
    model = _model_in(annotation)
    if model is not None:
        return model.model_fields[part].annotation if part in model.model_fields else None
    for candidate in _members(annotation):
        if get_origin(candidate) in {dict, Mapping, list, tuple} and get_args(candidate):
            arguments = [argument for argument in get_args(candidate) if argument is not Ellipsis]
            return arguments[-1]
    return None


def _model_in(annotation: object) -> type[BaseModel] | None:
    for candidate in _members(annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _members(annotation: object) -> tuple[object, ...]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return tuple(member for part in typing.get_args(annotation) for member in _members(part))
    return () if origin is Literal else (annotation,)
