"""Structured answers satisfy their schema, and mean what the document says."""

import json
from enum import StrEnum
from typing import Literal

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator.composer import compose
from agent_pipeline.simulator.json_values import JsonObject
from agent_pipeline.simulator.reading import Reading
from agent_pipeline.simulator.schema_rules import SchemaUnusableError

PROSE = "# Sea level\n\nThe sea rises by 3.4 mm a year. It rose 20 cm in a century.\n\nWrite to tide@example.org.\n"
NOTEBOOK = (
    "# Plotting\n\nLoad the data first.\n\nIn [1]: import csv\n\nIn [2]: rows = list(csv.reader(open('a.csv')))\n"
)


def satisfies(schema: JsonObject, value: JsonValue) -> bool:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
    return bool(validator.is_valid(value))


# --- every schema of the supported subset ------------------------------------------------------------------------

names = st.sampled_from(["title", "summary", "issues", "tags", "count", "approved", "score", "file_slug", "text", "x"])


def strings() -> st.SearchStrategy[JsonObject]:
    bounds: st.SearchStrategy[JsonObject] = st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={"minLength": st.integers(0, 12), "maxLength": st.integers(12, 60)},
    )
    patterns = st.sampled_from(
        [r"^[a-z0-9]+(?:-[a-z0-9]+)*$", r"^\d{4}-\d{2}$", r"^(md|py)$", r"^[A-Z]{2,5}$", r"[0-9]+", r"^\S+@\S+\.\w+$"]
    )
    formats = st.sampled_from(["date", "date-time", "email", "uuid", "ipv4", "ipv6"])

    def text(**more: JsonValue) -> JsonObject:
        return {"type": "string", **more}

    return st.one_of(bounds, st.builds(text, pattern=patterns), st.builds(text, format=formats))


@st.composite
def numbers(draw: st.DrawFn) -> JsonObject:
    schema: JsonObject = {"type": draw(st.sampled_from(["integer", "number"]))}
    low = draw(st.integers(-1000, 1000))
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = low + draw(st.integers(20, 500))
    if draw(st.booleans()):
        schema["multipleOf"] = draw(st.sampled_from([1, 2, 3, 5, 0.5, 0.25, 0.1]))
    return schema


def leaves() -> st.SearchStrategy[JsonObject]:
    constants = st.one_of(st.integers(-5, 5), st.text(max_size=8), st.booleans(), st.none())
    return st.one_of(
        strings(),
        numbers(),
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}, {}]),
        st.builds(lambda value: {"const": value}, constants),
        st.builds(lambda values: {"enum": values}, st.lists(constants, min_size=1, max_size=4)),
    )


def objects(inner: st.SearchStrategy[JsonObject]) -> st.SearchStrategy[JsonObject]:
    def build(*, properties: JsonObject, strict: bool) -> JsonObject:
        required: list[JsonValue] = []
        required.extend([*properties][:: 1 if strict else 2])
        schema: JsonObject = {"type": "object", "properties": properties, "required": required}
        return {**schema, "additionalProperties": False} if strict else schema

    return st.builds(build, properties=st.dictionaries(names, inner, max_size=4), strict=st.booleans())


def arrays(inner: st.SearchStrategy[JsonObject]) -> st.SearchStrategy[JsonObject]:
    return st.fixed_dictionaries(
        {"type": st.just("array"), "items": inner},
        optional={"minItems": st.integers(0, 4), "maxItems": st.integers(4, 6)},
    )


def unions(inner: st.SearchStrategy[JsonObject]) -> st.SearchStrategy[JsonObject]:
    return st.one_of(
        st.builds(lambda branches: {"anyOf": branches}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda one: {"allOf": [one], "description": "as it is"}, inner),
    )


schemas = st.recursive(leaves(), lambda inner: st.one_of(objects(inner), arrays(inner), unions(inner)), max_leaves=8)
documents = st.one_of(st.sampled_from([PROSE, NOTEBOOK, "", "x"]), st.text(max_size=80))


@given(schema=schemas, document=documents)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_supported_schema_gets_a_value_that_satisfies_it(schema: JsonObject, document: str) -> None:
    """A structured answer that does not validate would be a fault nobody asked for."""
    value = compose(schema, Reading(document, ""))

    jsonschema.validate(value, schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


@given(schema=schemas)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_schema_and_document_get_the_same_value(schema: JsonObject) -> None:
    """Everything downstream that is replayed or compared rests on it."""
    first = compose(schema, Reading(PROSE, ""))

    assert json.dumps(compose(schema, Reading(PROSE, ""))) == json.dumps(first)


@given(item=leaves(), least=st.integers(1, 3))
@example(item={"type": "number", "maximum": -4, "multipleOf": 0.1}, least=2)
@example(item={"enum": [1, 1.0, True]}, least=3)
@settings(max_examples=100, deadline=None)
def test_unique_items_are_distinct_or_the_schema_is_refused(item: JsonObject, least: int) -> None:
    """A constant can't be repeated three times and still be unique; that is said, not glossed over."""
    schema: JsonObject = {"type": "array", "items": item, "uniqueItems": True, "minItems": least}

    try:
        value = compose(schema, Reading(PROSE, ""))
    except SchemaUnusableError:
        assert least > 1
    else:
        assert satisfies(schema, value)


@pytest.mark.parametrize(
    "schema",
    [
        {
            "$ref": "#/$defs/tree",
            "$defs": {"tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}}}},
        },
        {
            "type": "object",
            "properties": {"value": {"type": "string"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
            "required": ["value", "next"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
            "required": ["children"],
        },
        {"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}},
        {"type": "object", "required": ["free"]},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
        {"allOf": [{"type": "integer", "minimum": 3}, {"minimum": 5, "maximum": 9}]},
        {"type": ["integer", "null"], "minimum": 4},
        {"type": ["object", "null"], "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
        {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "additionalProperties": False,
            "anyOf": [{"properties": {"b": {"type": "string"}}}],
        },
        {"properties": {"a": {}}, "anyOf": [{"properties": {"b": {}}, "additionalProperties": {"type": "integer"}}]},
        {"enum": ["a", 1, None], "type": ["integer", "null"]},
        {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "anyOf": [{"required": ["b"]}, {"required": ["c"]}],
        },
        {"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"const": 4}}},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001},
    ],
)
def test_awkward_schemas_get_a_value(schema: JsonObject) -> None:
    """Recursion ends, joins hold, references resolve."""
    assert satisfies(schema, compose(schema, Reading(PROSE, "")))


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"type": "string"}},
        {"type": "object", "properties": {"me": {"$ref": "#"}}, "required": ["me"]},
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.org/schema"},
        {"enum": []},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "number", "exclusiveMinimum": 1, "maximum": 1},
        {"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 6},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "string", "pattern": "(?=x)y"},
        {"type": "string", "pattern": "("},
        {"type": "array", "items": False, "minItems": 1},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        {"anyOf": [False]},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "colour"},
        {"type": "object", "properties": {"a": 3}},
        {"type": "integer", "minimum": "three", "multipleOf": 0},
    ],
)
def test_a_schema_that_allows_nothing_is_refused(schema: JsonObject) -> None:
    """Better no answer than one that does not satisfy the schema."""
    with pytest.raises(SchemaUnusableError):
        compose(schema, Reading(PROSE, ""))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": [], "additionalProperties": False},
    ],
)
def test_strict_mode_refuses_what_the_api_refuses(schema: JsonObject) -> None:
    """A schema that only the simulator accepts would fail on the day of the real provider."""
    compose(schema, Reading(PROSE, ""))

    with pytest.raises(SchemaUnusableError):
        compose(schema, Reading(PROSE, ""), strict=True)


# --- meaning -----------------------------------------------------------------------------------------------------


class Severity(StrEnum):
    low = "low"
    high = "high"


class Everything(BaseModel):
    route: Literal["markdown", "notebook"]
    confidence: float = Field(ge=0, le=1)
    rationale: str
    cleaned_markdown: str
    python_script: str
    summary: str
    approved: bool
    issues: str = Field(max_length=1200)
    suggestions: list[str]
    file_slug: str = Field(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*$", max_length=40)
    extension: Literal["md", "py"]
    title: str
    severity: Severity | None
    email: str = Field(json_schema_extra={"format": "email"})


def everything_about(document: str, around: str = "") -> Everything:
    value = compose(to_strict_json_schema(Everything), Reading(document, around), strict=True)
    return Everything.model_validate(value)


def test_prose_is_markdown_and_kept_in_full() -> None:
    """The pipeline's artifact is made of these fields."""
    read = everything_about(PROSE.replace("\n\n", "  \n\n\n\n"))

    assert (read.route, read.extension, read.file_slug, read.title) == ("markdown", "md", "sea-level", "Sea level")
    assert read.cleaned_markdown == PROSE
    assert read.summary == "The sea rises by 3.4 mm a year. It rose 20 cm in a century."
    assert read.approved
    assert read.suggestions == []
    assert read.email == "tide@example.org"


def test_a_notebook_becomes_a_script() -> None:
    """Code stays code, prose becomes comments, nothing is lost."""
    read = everything_about(NOTEBOOK)

    assert (read.route, read.extension, read.file_slug) == ("notebook", "py", "plotting")
    assert read.python_script == (
        "# Plotting\n\n# Load the data first.\n\nimport csv\n\nrows = list(csv.reader(open('a.csv')))\n"
    )


def test_an_empty_text_is_not_approved() -> None:
    """The one defect that every reviewer sees."""
    read = everything_about("  \n")

    assert not read.approved
    assert read.issues == "The text is empty."


def test_a_marked_defect_goes_away_with_feedback_and_a_lasting_one_does_not() -> None:
    """Rework cycles can be shown without a model: disapproved, rewritten with feedback, approved."""
    marked = PROSE + "\n<!-- simulator:defect -->\n"
    lasting = PROSE + "\n<!-- simulator:defect-always -->\n"

    assert not everything_about(marked).approved
    assert "simulator:defect" in everything_about(marked).cleaned_markdown
    assert "simulator:defect" not in everything_about(marked, "Reviewer feedback: a defect").cleaned_markdown
    assert "simulator:defect-always" in everything_about(lasting, "Reviewer feedback: a defect").cleaned_markdown


def test_an_enum_goes_by_what_the_text_names() -> None:
    """A choice among enum values by what the input says."""
    schema: JsonObject = {"enum": ["billing", "shipping", "other"]}

    assert compose(schema, Reading("Where is my parcel? Shipping takes long.", "")) == "shipping"
    assert compose(schema, Reading("The billing was wrong.", "")) == "billing"


def test_a_discriminated_union_goes_by_its_constants() -> None:
    """The branch is a choice like an enum."""
    schema: JsonObject = {
        "anyOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": kind}, "text": {"type": "string"}},
                "required": ["kind"],
            }
            for kind in ("markdown", "notebook")
        ]
    }

    notebook = compose(schema, Reading(NOTEBOOK, ""))
    prose = compose(schema, Reading(PROSE, ""))

    assert isinstance(notebook, dict)
    assert isinstance(prose, dict)
    assert (notebook["kind"], prose["kind"]) == ("notebook", "markdown")
