"""JSON schemas as data: which are accepted, and how references and `allOf` become one flat schema."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator.json_values import JsonObject, as_list, as_number, as_object, as_text, dumps, loads

_UNSUPPORTED: Final = (
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "if",
    "not",
    "patternProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_MAX_DEPTH: Final = 64
_LOWER: Final = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
_UPPER: Final = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}


class SchemaUnusableError(Exception):
    """The schema is malformed, uses a keyword the simulator does not support, or allows no value."""


@lru_cache(maxsize=256)
def _checked(text: str, *, strict: bool) -> str | None:
    schema = as_object(loads(text))
    try:
        _check(schema, 0, strict=strict)
    except SchemaUnusableError as exc:
        return str(exc)
    if strict and schema.get("type") != "object":
        return "the root of a strict schema must be of type 'object'"
    return None


def check_schema(schema: JsonObject, *, strict: bool) -> None:
    """Refuse a schema that can't be answered, or in strict mode one that the API refuses.

    Raises:
        SchemaUnusableError: says what is wrong.
    """
    problem = _checked(dumps(schema), strict=strict)
    if problem is not None:
        raise SchemaUnusableError(problem)


def _check(schema: JsonValue, depth: int, *, strict: bool) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise SchemaUnusableError("a schema must be an object")
    if depth > _MAX_DEPTH:
        raise SchemaUnusableError("the schema is nested too deeply")
    for keyword in _UNSUPPORTED:
        if keyword in schema:
            raise SchemaUnusableError(f"the keyword '{keyword}' is not supported")
    properties = as_object(schema.get("properties"))
    if strict and (properties or schema.get("type") == "object"):
        _check_strict_object(schema, properties)
    inner: list[JsonValue] = [*properties.values()]
    for keyword in ("$defs", "definitions"):
        inner.extend(as_object(schema.get(keyword)).values())
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        inner.extend(as_list(schema.get(keyword)))
    inner.extend(schema[keyword] for keyword in ("items", "additionalProperties") if keyword in schema)
    for part in inner:
        _check(part, depth + 1, strict=strict)


def _check_strict_object(schema: JsonObject, properties: JsonObject) -> None:
    if schema.get("additionalProperties") is not False:
        raise SchemaUnusableError("'additionalProperties' is required to be supplied and to be false")
    absent = sorted(set(properties) - set(map(as_text, as_list(schema.get("required")))))
    if absent:
        raise SchemaUnusableError(f"'required' must name every key in properties; missing '{absent[0]}'")


def flat(schema: JsonValue, root: JsonObject) -> JsonObject:
    """Return an equal schema without `$ref` and `allOf` at its top.

    Raises:
        SchemaUnusableError: a reference leads nowhere or in a circle, the parts contradict each other, or it is
            `false`.
    """
    for _ in range(_MAX_DEPTH):
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise SchemaUnusableError("the schema allows no value")
        if "$ref" not in schema and "allOf" not in schema:
            return schema
        rest = {key: value for key, value in schema.items() if key not in {"$ref", "allOf"}}
        parts = as_list(schema.get("allOf"))
        if "$ref" in schema:
            parts = [_target(as_text(schema["$ref"]), root), *parts]
        for part in parts:
            if part is False:
                raise SchemaUnusableError("the schema allows no value")
            rest = _merged(as_object(part), rest)
        schema = rest
    raise SchemaUnusableError("references go in a circle")


def _target(pointer: str, root: JsonObject) -> JsonValue:
    if not pointer.startswith("#"):
        raise SchemaUnusableError(f"the reference '{pointer}' leaves the schema")
    found: JsonValue = root
    for part in pointer[1:].split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        elif isinstance(found, dict) and key in found:
            found = found[key]
        else:
            raise SchemaUnusableError(f"the reference '{pointer}' leads nowhere")
    return found


def _merged(one: JsonObject, two: JsonObject) -> JsonObject:
    """Return a schema that holds what both demand."""
    result = dict(one)
    for key, value in two.items():
        result[key] = _both(key, one[key], value) if key in one and one[key] != value else value
    for side in (one, two):
        extra = side.get("additionalProperties", True)
        if extra is not True and "properties" in result:
            result["properties"] = _limited(as_object(result["properties"]), as_object(side.get("properties")), extra)
    return result


def _limited(properties: JsonObject, own: JsonObject, extra: JsonValue) -> JsonObject:
    """Return the joined properties as a side sees them that allows only its own, or `extra` for all others."""
    if extra is False:
        return {name: schema for name, schema in properties.items() if name in own}
    return {name: schema if name in own else {"allOf": [schema, extra]} for name, schema in properties.items()}


def _both(key: str, one: JsonValue, two: JsonValue) -> JsonValue:
    if key in _LOWER or key in _UPPER:
        bounds = [number for number in (as_number(one), as_number(two)) if number is not None]
        return (max(bounds) if key in _LOWER else min(bounds)) if bounds else None
    if key == "multipleOf" and isinstance(one, int) and isinstance(two, int):
        return math.lcm(one, two)
    if key in _JOINED:
        return _JOINED[key](one, two)
    if key in {"pattern", "format", "const", "oneOf", "prefixItems", "multipleOf"}:
        raise SchemaUnusableError(f"two demands for '{key}' can't be joined")
    return two


def _both_properties(one: JsonValue, two: JsonValue) -> JsonValue:
    mine, yours = as_object(one), as_object(two)
    shared: JsonObject = {name: {"allOf": [mine[name], yours[name]]} for name in mine if name in yours}
    return {**mine, **yours, **shared}


def _both_choices(one: JsonValue, two: JsonValue) -> JsonValue:
    pairs: list[JsonValue] = [{"allOf": [left, right]} for left in as_list(one) for right in as_list(two)]
    return pairs[:256]


def _both_types(one: JsonValue, two: JsonValue) -> JsonValue:
    left, right = type_names(one), type_names(two)
    common: list[JsonValue] = [name for name in left if name in right]
    if not common and "integer" in [*left, *right] and "number" in [*left, *right]:
        return "integer"
    if not common:
        raise SchemaUnusableError("the types contradict each other")
    return common


def type_names(value: JsonValue) -> list[str]:
    """Return `type` as a list of names."""
    return [as_text(name) for name in value] if isinstance(value, list) else [as_text(value)] if value else []


def enum_values(node: JsonObject) -> list[JsonValue]:
    """Return the values of an enum that its `type` allows too."""
    kinds = type_names(node.get("type"))
    values = as_list(node.get("enum"))
    return [value for value in values if not kinds or _type_of(value) in kinds or _is_number_of(value, kinds)]


def _type_of(value: JsonValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "integer" if float(value).is_integer() else "number"
    return "array" if isinstance(value, list) else "object"


def _is_number_of(value: JsonValue, kinds: list[str]) -> bool:
    return "number" in kinds and as_number(value) is not None


_JOINED: Final[dict[str, Callable[[JsonValue, JsonValue], JsonValue]]] = {
    "$defs": _both_properties,
    "additionalProperties": lambda one, two: False if one is False or two is False else two,
    "anyOf": _both_choices,
    "definitions": _both_properties,
    "enum": lambda one, two: [value for value in as_list(one) if value in as_list(two)],
    "items": lambda one, two: {"allOf": [one, two]},
    "properties": _both_properties,
    "required": lambda one, two: list(dict.fromkeys(map(as_text, [*as_list(one), *as_list(two)]))),
    "type": _both_types,
}
