"""Compose the value that a JSON schema asks for out of what a document says."""

from typing import Final

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator.array_items import compose_array
from agent_pipeline.simulator.json_values import JsonObject, as_list, as_number, as_object, as_text
from agent_pipeline.simulator.reading import Reading
from agent_pipeline.simulator.scalars import fit_number, fit_text
from agent_pipeline.simulator.schema_rules import SchemaUnusableError, check_schema, enum_values, flat, type_names

_GENEROUS_DEPTH: Final = 5
_MAX_DEPTH: Final = 48
_MAX_VALUES: Final = 5_000
_SCALARS: Final = {"string", "integer", "number", "boolean", "null"}


def compose(schema: JsonObject, reading: Reading, *, strict: bool = False) -> JsonValue:
    """Return a value that satisfies `schema`, its meaning taken from the document.

    Raises:
        SchemaUnusableError: the schema is malformed, unsupported, or allows no finite value.
    """
    check_schema(schema, strict=strict)
    try:
        return _Composer(schema, reading).value(schema, "", 0)
    except RecursionError as exc:
        raise SchemaUnusableError("the schema is nested too deeply") from exc
    except (TypeError, OverflowError) as exc:
        raise SchemaUnusableError(f"the schema is malformed: {exc}") from exc


class _Composer:
    """One walk through a schema; past a certain depth and size it takes the shortest way out of every recursion."""

    def __init__(self, root: JsonObject, reading: Reading) -> None:
        self.root = root
        self.reading = reading
        self._values = 0

    def value(self, schema: JsonValue, name: str, depth: int) -> JsonValue:
        """Return a value for one place; `name` is the field it belongs to."""
        self._values += 1
        if depth > _MAX_DEPTH or self._values > _MAX_VALUES:
            raise SchemaUnusableError("the schema asks for a value without end")
        node = flat(schema, self.root)
        if "const" in node:
            return node["const"]
        if "enum" in node:
            return self._enum(node, name)
        for keyword in ("anyOf", "oneOf"):
            if keyword in node:
                return self._branch(node, keyword, name, depth)
        kind = self._kind(node, depth)
        if kind == "object":
            return self._object(node, depth)
        if kind == "array":
            return compose_array(self, node, name, depth)
        return self._scalar(kind, node, name)

    def is_short(self, depth: int) -> bool:
        """Whether it is time to end: deep inside a recursion, or much was composed already."""
        return depth > _GENEROUS_DEPTH or self._values > _MAX_VALUES // 10

    def _scalar(self, kind: str, node: JsonObject, name: str) -> JsonValue:
        if kind == "string":
            return fit_text(self.reading.texts(name), node)
        if kind in {"integer", "number"}:
            return fit_number(self.reading.number(name), node, whole=kind == "integer")
        if kind == "boolean":
            return self.reading.truth(name)
        if kind == "null":
            return None
        raise SchemaUnusableError(f"the type '{kind}' is unknown")

    def _kind(self, node: JsonObject, depth: int) -> str:
        kinds = type_names(node.get("type"))
        if self.is_short(depth) and "null" in kinds:
            return "null"
        if kinds:
            return next((kind for kind in kinds if kind != "null"), "null")
        for kind, keywords in _SIGNS.items():
            if not keywords.isdisjoint(node):
                return kind
        return "string"

    def _enum(self, node: JsonObject, name: str) -> JsonValue:
        values = enum_values(node)
        if not values:
            raise SchemaUnusableError("an enum allows no value")
        stated = self.reading.stated(name) if name else None
        if stated is not None and stated in values:
            return stated
        texts = [value for value in values if isinstance(value, str)]
        if texts:
            return self.reading.choose(texts)
        return next((value for value in values if value is not None), None)

    def _branch(self, node: JsonObject, keyword: str, name: str, depth: int) -> JsonValue:
        rest = {key: value for key, value in node.items() if key != keyword}
        problem = SchemaUnusableError(f"'{keyword}' allows no value")
        for branch in self._ordered(as_list(node[keyword]), depth):
            try:
                return self.value({"allOf": [rest, branch]}, name, depth + 1)
            except SchemaUnusableError as exc:
                problem = exc
                if self._values > _MAX_VALUES:
                    break
        raise problem

    def _ordered(self, branches: list[JsonValue], depth: int) -> list[JsonValue]:
        """Put the branch the document speaks for first; the shortest one first where it is time to end."""
        nodes = [flat(branch, self.root) if branch is not False else {} for branch in branches]
        order = list(range(len(branches)))
        marks = [_mark(node) for node in nodes]
        named = [mark for mark in marks if mark]
        if len(named) > 1:
            chosen = self.reading.choose(named)
            order.sort(key=lambda index: marks[index] != chosen)
        wants_null = self.is_short(depth)
        order.sort(key=lambda index: _shortness(nodes[index]) if wants_null else nodes[index].get("type") == "null")
        return [branches[index] for index in order if branches[index] is not False]

    def _object(self, node: JsonObject, depth: int) -> JsonObject:
        properties = as_object(node.get("properties"))
        required = [as_text(name) for name in as_list(node.get("required"))]
        extra = node.get("additionalProperties", True)
        wanted = required if self.is_short(depth) else [*properties, *required]
        result: JsonObject = {}
        for name in dict.fromkeys(wanted):
            if name in properties:
                result.update(self._property(name, properties[name], depth, required=name in required))
            elif extra is False:
                raise SchemaUnusableError(f"'{name}' is required and not allowed")
            else:
                result[name] = self.value(extra, name, depth + 1)
        self._fill(result, node, extra, depth)
        return result

    def _property(self, name: str, schema: JsonValue, depth: int, *, required: bool) -> JsonObject:
        try:
            return {name: self.value(schema, name, depth + 1)}
        except SchemaUnusableError:
            if required:
                raise
            return {}

    def _fill(self, result: JsonObject, node: JsonObject, extra: JsonValue, depth: int) -> None:
        """Add or drop optional properties until their number is allowed."""
        least = int(as_number(node.get("minProperties")) or 0)
        most = as_number(node.get("maxProperties"))
        properties = as_object(node.get("properties"))
        required = as_list(node.get("required"))
        if most is not None:
            for name in [name for name in reversed(result) if name not in required][: max(0, len(result) - int(most))]:
                del result[name]
        spare = [name for name in properties if name not in result]
        while len(result) < least:
            if spare:
                name = spare.pop(0)
                result[name] = self.value(properties[name], name, depth + 1)
            elif extra is False:
                raise SchemaUnusableError("'minProperties' can't be reached")
            else:
                result[f"key_{len(result) + 1}"] = self.value(extra, "", depth + 1)
        if most is not None and len(result) > most:
            raise SchemaUnusableError("'maxProperties' is below what is required")


_SIGNS: Final = {
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}


def _mark(node: JsonObject) -> str:
    """Return the text constant that tells this branch from its neighbours, if it has one."""
    for schema in (node, *as_object(node.get("properties")).values()):
        constant = as_object(schema).get("const")
        values = as_list(as_object(schema).get("enum"))
        if isinstance(constant, str):
            return constant
        if len(values) == 1 and isinstance(values[0], str):
            return values[0]
    return ""


def _shortness(node: JsonObject) -> int:
    kinds = type_names(node.get("type"))
    if "null" in kinds:
        return 0
    if "const" in node or "enum" in node or _SCALARS.intersection(kinds):
        return 1
    return 2 if "array" in kinds else 3
