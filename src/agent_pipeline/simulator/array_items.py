"""Compose the items of an array: as many as the schema wants, distinct where it says so."""

from dataclasses import dataclass
from typing import Final, Protocol

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator.json_values import JsonObject, as_list, as_number, dumps
from agent_pipeline.simulator.reading import Reading, words_of
from agent_pipeline.simulator.scalars import fit_number, fit_text
from agent_pipeline.simulator.schema_rules import SchemaUnusableError, enum_values, flat, type_names

_MAX_ITEMS: Final = 2_000
_CLOSED: Final = {"anyOf", "const", "enum", "oneOf"}


class Composing(Protocol):
    """The walk through a schema that an array is part of."""

    root: JsonObject
    reading: Reading

    def value(self, schema: JsonValue, name: str, depth: int, /) -> JsonValue:
        """Return a value for one place."""
        ...

    def is_short(self, depth: int, /) -> bool:
        """Whether it is time to end."""
        ...


def compose_array(composing: Composing, node: JsonObject, name: str, depth: int) -> JsonValue:
    """Return an array for a flat schema.

    Raises:
        SchemaUnusableError: its lengths and items allow none.
    """
    least = int(as_number(node.get("minItems")) or 0)
    limit = as_number(node.get("maxItems"))
    most = _MAX_ITEMS if limit is None else int(limit)
    if most < least:
        raise SchemaUnusableError("the lengths of an array allow no value")
    item = node.get("items", True)
    result = [composing.value(schema, name, depth + 1) for schema in as_list(node.get("prefixItems"))[:most]]
    if item is False or ("items" not in node and len(result) >= least):
        if len(result) < least:
            raise SchemaUnusableError("'minItems' can't be reached")
        return result
    tail = _Tail(composing, item, name, depth, is_distinct=node.get("uniqueItems") is True)
    return tail.extend(result, least, most)


def is_complaint(name: str) -> bool:
    """Whether the field lists what is wrong, so that an empty list is good news."""
    return not {"issues", "issue", "problems", "problem", "errors", "suggestions", "defects"}.isdisjoint(words_of(name))


@dataclass(slots=True)
class _Tail:
    """The items after the leading ones; all have the same schema."""

    composing: Composing
    item: JsonValue
    name: str
    depth: int
    is_distinct: bool

    def extend(self, result: list[JsonValue], least: int, most: int) -> list[JsonValue]:
        """Return `result` with items added."""
        node = flat(self.item, self.composing.root)
        generous = 0 if self.composing.is_short(self.depth) or is_complaint(self.name) else 1
        wanted = min(max(least, generous), most)
        if type_names(node.get("type")) == ["string"] and "enum" not in node and "const" not in node:
            for text in self._texts(node, min(3, most - len(result)) if generous and wanted <= 1 else wanted):
                if not self.is_distinct or text not in result:
                    result.append(text)
        self._fill(result, node, wanted)
        if len(result) < least:
            raise SchemaUnusableError("no further distinct item was found")
        return result

    def _texts(self, node: JsonObject, count: int) -> list[str]:
        reading = self.composing.reading
        if is_complaint(self.name):
            return [fit_text(reading.texts(self.name), node)] if reading.has_defect and count > 0 else []
        fitted = []
        for text in reading.sentences(count) or [reading.title]:
            try:
                fitted.append(fit_text([text], node))
            except SchemaUnusableError:
                break
        return list(dict.fromkeys(fitted))[: max(0, count)]

    def _fill(self, result: list[JsonValue], node: JsonObject, wanted: int) -> None:
        seen = set(map(_identity, result))
        turn = 0
        while len(result) < wanted and turn <= 20 * wanted:
            value = self._variant(node, turn)
            turn += 1
            if self.is_distinct and _identity(value) in seen:
                continue
            seen.add(_identity(value))
            result.append(value)

    def _variant(self, node: JsonObject, turn: int) -> JsonValue:
        if not self.is_distinct or turn == 0:
            return self.composing.value(self.item, self.name, self.depth + 1)
        pool = enum_values(node) if "enum" in node else [True, False] if node.get("type") == "boolean" else []
        if turn <= len(pool):
            return pool[turn - 1]
        value = self.composing.value(self.item, self.name, self.depth + 1)
        return value if _CLOSED.intersection(node) else _neighbour(value, node, turn)


def _identity(value: JsonValue) -> str:
    """Return what two values share that JSON Schema calls equal: 1 and 1.0 are, 1 and true are not."""
    return dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


def _neighbour(value: JsonValue, node: JsonObject, turn: int) -> JsonValue:
    """Return a scalar near this one that the schema still allows."""
    number = as_number(value)
    try:
        if isinstance(value, str):
            return fit_text([f"{turn} {value}", f"{value}{turn}"], node)
        if number is not None:
            step = as_number(node.get("multipleOf")) or 1
            moved = number + (1 if turn % 2 else -1) * step * ((turn + 1) // 2)
            return fit_number(moved, node, whole="integer" in type_names(node.get("type")))
    except SchemaUnusableError:
        return value
    return value
