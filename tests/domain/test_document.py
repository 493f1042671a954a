"""A document never changes under anybody's hands, and its hash stands for all that a stage can see."""

import copy
import hashlib
import operator
import pickle
from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.domain.document import Document, JsonValue

PLAIN = Document("1", "text", "in.md", {"url": "u"}, {"route": "md"})

texts = st.text(max_size=4)
value = st.none() | st.booleans() | st.integers() | texts | st.lists(texts, max_size=2)
values = st.dictionaries(texts, value, max_size=3)
documents = st.builds(Document, texts, texts, st.none() | texts, values, values)


def test_another_text_is_another_document() -> None:
    """A stage that fails half-way must not have changed what the next attempt works on."""
    changed = PLAIN.with_text("new")

    assert changed == Document("1", "new", "in.md", {"url": "u"}, {"route": "md"})
    assert PLAIN.text == "text"


def test_fields_are_added_and_replaced_in_a_copy() -> None:
    """Stages add what they found; the document they were given stays as it was."""
    changed = PLAIN.with_fields(route="py", summary="s")

    assert changed == Document("1", "text", "in.md", {"url": "u"}, {"route": "py", "summary": "s"})
    assert PLAIN.fields == {"route": "md"}


@pytest.mark.parametrize("held", [PLAIN.metadata, PLAIN.fields])
def test_what_is_said_of_a_document_can_not_be_changed(held: Mapping[str, JsonValue]) -> None:
    """A stage that writes into the mapping would change what the ledger already has a hash of."""
    with pytest.raises(TypeError, match="item assignment"):
        operator.setitem(cast("dict[str, JsonValue]", held), "new", 1)


def test_a_document_is_not_changed_through_the_mappings_it_was_made_of() -> None:
    """A source may go on using its dictionary for the next entry."""
    metadata: dict[str, JsonValue] = {"url": "u"}
    fields: dict[str, JsonValue] = {"route": "md"}
    document = Document("1", "text", "in.md", metadata, fields)

    metadata["url"] = fields["route"] = "changed"

    assert document == PLAIN


def test_the_hash_stays_the_same_from_version_to_version() -> None:
    """A run is resumed by it: another way to compute it would pay for every stage again."""
    written = '["1", "t\\u00e9xt", null, {"a": 1, "b": [true]}, {"f": null}]'

    document = Document("1", "téxt", None, {"b": [True], "a": 1}, {"f": None})

    assert document.sha256() == hashlib.sha256(written.encode()).hexdigest()


@given(one=documents, other=documents)
def test_two_documents_have_one_hash_if_stages_see_no_difference(one: Document, other: Document) -> None:
    """Less would give a stage somebody else's result, more would pay for it twice."""

    def seen(document: Document) -> tuple[object, ...]:
        return document.id, document.text, document.source, typed(document.metadata), typed(document.fields)

    assert (one.sha256() == other.sha256()) is (seen(one) == seen(other))
    assert one.sha256() == Document(one.id, one.text, one.source, backwards(one.metadata), one.fields).sha256()


def typed(mapping: Mapping[str, JsonValue]) -> dict[str, tuple[str, JsonValue]]:
    """Tell 1 from True, which are equal to Python and not to a stage."""
    return {key: (type(value).__name__, value) for key, value in mapping.items()}


def backwards(mapping: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the same in another order."""
    return dict(reversed(list(mapping.items())))


@pytest.mark.parametrize(
    "other",
    [
        Document("2", "text", "in.md", {"url": "u"}, {"route": "md"}),
        Document("1", "texts", "in.md", {"url": "u"}, {"route": "md"}),
        Document("1", "text", None, {"url": "u"}, {"route": "md"}),
        Document("1", "text", "in.md", {"route": "md"}, {"url": "u"}),
        Document("1", "text", "in.md", {"url": ["u"]}, {"route": "md"}),
        Document("1", "text", "in.md", {"url": "u"}, {"route": None}),
    ],
)
def test_each_part_is_in_the_hash(other: Document) -> None:
    """A change of any of them makes a recorded result one of another input."""
    assert other.sha256() != PLAIN.sha256()


def test_half_a_character_can_be_hashed() -> None:
    """Models send them, and UTF-8 has no room for them."""
    assert Document("1", "\ud800").sha256() != Document("1", "\udc00").sha256()


def test_a_document_travels_between_processes_as_it_is() -> None:
    """Its mappings are read-only views, which pickle would refuse."""
    document = Document("a", "text", source="a.md", metadata={"n": [1, 2]}, fields={"slug": "a"})

    assert pickle.loads(pickle.dumps(document)) == document == copy.deepcopy(document)  # noqa: S301 - its own
