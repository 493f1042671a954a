"""Output types: the schema that strict mode takes, and the value that comes back."""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from agent_pipeline.errors import OutputInvalidError
from agent_pipeline.gateway.outputs import output_schema


class Colour(Enum):
    """A choice."""

    red = "red"
    blue = "blue"


class Inner(BaseModel):
    """A part."""

    name: str
    colour: Colour = Colour.red


class Outer(BaseModel):
    """Parts within parts, with defaults and what may be missing."""

    inners: list[Inner]
    note: str | None = None
    default: int = 3
    share: Annotated[float, Field(ge=0, le=1)] = 0.5


class Node(BaseModel):
    """It holds its like."""

    name: str
    children: list["Node"] = []


class Cat(BaseModel):
    """One of two."""

    kind: Literal["cat"]


class Dog(BaseModel):
    """The other."""

    kind: Literal["dog"]


class Owner(BaseModel):
    """Told apart by a field."""

    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


@dataclass
class Point:
    """A dataclass."""

    x: int
    y: int = 0


class Row(TypedDict):
    """A typed dict."""

    cells: list[str]


class Pair(NamedTuple):
    """A tuple with names."""

    left: int
    right: str


STRICT: list[tuple[Any, object, object]] = [
    (Outer, {"inners": [{"name": "a", "colour": "blue"}], "note": None, "default": 1, "share": 1}, None),
    (Node, {"response": {"name": "a", "children": [{"name": "b", "children": []}]}}, None),
    (Owner, {"pet": {"kind": "dog"}}, Owner(pet=Dog(kind="dog"))),
    (Point, {"x": 1, "y": 2}, Point(1, 2)),
    (Row, {"cells": ["a"]}, {"cells": ["a"]}),
    (list[int], {"response": [1, 2]}, [1, 2]),
    (list[Inner], {"response": [{"name": "a", "colour": "red"}]}, [Inner(name="a")]),
    (Colour, {"response": "blue"}, Colour.blue),
    (Literal["a", "b"], {"response": "b"}, "b"),
    (str, {"response": "x"}, "x"),
    (bool, {"response": True}, True),
    (int | None, {"response": None}, None),
    (Cat | Dog, {"response": {"kind": "cat"}}, Cat(kind="cat")),
]
OPEN: list[tuple[Any, object, object]] = [
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict[str, Any], {"a": [1]}, {"a": [1]}),
    (tuple[int, str], {"response": [1, "a"]}, (1, "a")),
    (Pair, {"response": [1, "a"]}, Pair(1, "a")),
    (set[int], {"response": [1]}, {1}),
]


@pytest.mark.parametrize(("output_type", "answer", "expected"), STRICT + OPEN)
def test_answer_becomes_a_value_of_its_type(output_type: Any, answer: object, expected: object) -> None:  # noqa: ANN401  (any type may be asked for)
    """What the schema asks for is what validation takes."""
    value = output_schema(output_type).validate(json.dumps(answer))

    if expected is not None:
        assert value == expected


@pytest.mark.parametrize("output_type", [case[0] for case in STRICT])
def test_schema_is_what_strict_mode_takes(output_type: Any) -> None:  # noqa: ANN401  (any type may be asked for)
    """A refused schema is a failed document, and no retry helps."""
    form = output_schema(output_type).form

    assert form["strict"] is True
    assert form["schema"]["type"] == "object"
    assert set(form["name"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert 0 < len(form["name"]) <= 64
    for schema in subschemas(form["schema"]):
        assert not {"default", "oneOf", "allOf", "discriminator"} & schema.keys()
        if schema.get("type") == "object":
            assert schema["additionalProperties"] is False
            assert schema["required"] == list(schema["properties"])
        assert "$ref" not in schema or list(schema) == ["$ref"]


@pytest.mark.parametrize("output_type", [case[0] for case in OPEN])
def test_what_strict_mode_can_not_hold_to_is_not_called_strict(output_type: Any) -> None:  # noqa: ANN401  (any type may be asked for)
    """Free keys and tuples are refused there; without it they work."""
    form = output_schema(output_type).form

    assert form["strict"] is False
    assert form["schema"]["type"] == "object"


def subschemas(schema: Any) -> list[dict[str, Any]]:  # noqa: ANN401  (JSON of any form)
    """Return all schemas inside a schema."""
    found = [schema]
    for name in ("properties", "$defs"):
        for inner in schema.get(name, {}).values():
            found += subschemas(inner)
    for inner in [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]:
        found += subschemas(inner)
    return found


@pytest.mark.parametrize("text", ["", "yes", "{}", '{"x": "one"}', '{"x": 1, "y": 2', "[1]", '{"x": 1}{"x": 1}'])
def test_what_does_not_fit_says_where(text: str) -> None:
    """The reviewer of a failed run has to see what the model did wrong."""
    with pytest.raises(OutputInvalidError, match="does not fit Point"):
        output_schema(Point).validate(text)


def test_message_does_not_repeat_the_answer() -> None:
    """It may be a document's text."""
    with pytest.raises(OutputInvalidError) as caught:
        output_schema(Point).validate('{"x": "a secret text", "y": 1}')

    assert "a secret text" not in str(caught.value)
    assert "x: " in str(caught.value)


def test_schema_is_built_once_per_type() -> None:
    """It costs more than a call."""
    assert output_schema(Outer) is output_schema(Outer)
    assert output_schema(list[int]) is output_schema(list[int])
