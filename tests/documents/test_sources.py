"""JSON files: the object format and what is refused before anything is spent."""

import re
from pathlib import Path

import pytest
from tests.documents.reading import errors, read, texts, write

from agent_pipeline.documents import open_source
from agent_pipeline.documents.json_documents import load_entries
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import InputError


def test_scraped_documents_come_before_follow_ups_and_are_numbered_together(tmp_path: Path) -> None:
    """Ids are positions over all entries, also the skipped ones: they stay what they are when an entry is mended."""
    spec = write(
        tmp_path / "docs.json",
        {
            "follow_up_documents": [{"link": "u4", "content": "four", "meta": {"k": [1]}}],
            "scraped_documents": [
                {"url": "u1", "markdown": "one", "metadata": {"a": 1}, "id": "ignored"},
                {"markdown": "no url"},
                {"source_url": "u3", "markdown": ""},
            ],
        },
    )

    entries = read(spec)

    assert texts(entries) == [("1", "one"), ("4", "four")]
    assert [(entry.position, entry.id, entry.skipped) for entry in entries if entry.skipped] == [
        (2, "2", "no url (url, source_url or link)"),
        (3, "3", "empty text"),
    ]
    documents = [entry.document for entry in entries if entry.document]
    assert [(document.source, dict(document.metadata)) for document in documents] == [
        ("u1", {"a": 1}),
        ("u4", {"k": [1]}),
    ]


def test_a_bad_entry_does_not_stop_the_others(tmp_path: Path) -> None:
    """Each says where it is and what is wrong."""
    huge = "x" * (10 * 1024 * 1024 + 1)
    bad: list[JsonValue] = [
        {"url": "\ud800"},
        "text",
        {"url": "u", "markdown": 5},
        {"url": "u", "markdown": "a", "metadata": []},
        {"url": "u", "markdown": "\ud800"},
        {"url": "u", "markdown": "a", "meta": {"x": float("nan")}},
        {"url": "u", "markdown": huge},
    ]
    good: JsonValue = {"url": "u", "markdown": huge[:-1]}
    spec = write(tmp_path / "docs.json", {"scraped_documents": [*bad, good]})

    entries = read(spec)

    assert [document_id for document_id, _ in texts(entries)] == ["8"]
    place = f"{tmp_path}/docs.json: scraped_documents"
    assert [re.sub("is not JSON: .*", "is not JSON", error) for error in errors(entries)] == [
        f"{place}[0]: the source's name holds bytes that are not UTF-8",
        f"{place}[1]: an entry must be an object, not text",
        f"{place}[2]: the text must be text, not a number",
        f"{place}[3]: metadata must be an object, not a list",
        f"{place}[4]: the text holds half a character (a lone surrogate)",
        f"{place}[5]: metadata is not JSON",
        f"{place}[6]: the document has 10485761 bytes, more than 10485760",
    ]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"[]", "holds no documents"),
        (b'{"scraped_documents": []}', "holds no documents"),
        (b'{"text": "a"}', "unknown shape: an object with 'text'"),
        (b"{}", "no keys"),
        (b'{"scraped_documents": {}}', "scraped_documents must be a list"),
        (b'"text"', "top level"),
        (b"7", "top level"),
        (b'[{"text": "a" "b"}]', r"docs.json:1:15: not JSON"),
        (b'[{"text": "a",}]', r"docs.json:1:1[45]: not JSON"),  # from Python 3.13 on the comma itself is pointed at
        (b'{"text": "a"}\n{"text": "b"}', r"docs.json:2:1: not JSON: Extra data; .*\.jsonl"),
        (b'["a\n\xff"]', "docs.json:2: not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'[{"text": "a", "id": ' + b"1" * 5000 + b"}]", "not usable JSON"),
        (b'[{"id": "a", "text": "1"}, {"id": "b"}, {"id": "a"}]', r"\[2\]: the id 'a' is already that of \[0\]"),
        (b'[{"id": 2, "text": "1"}, {"text": "2"}]', r"\[1\]: the id '2' is already"),
        (b'[{"id": " ", "text": "1"}]', r"\[0\]: the id is empty"),
        (b'[{"id": true, "text": "1"}]', "not true or false"),
        (b'[{"id": 1.5, "text": "1"}]', "not a number"),
        (b'[{"id": "a\\nb", "text": "1"}]', "control characters"),
        (b'[{"id": "\\ud800", "text": "1"}]', "control characters"),
        (b'[{"id": "' + b"a" * 513 + b'", "text": "1"}]', "513 characters"),
    ],
)
def test_a_json_file_that_can_not_be_used_is_refused_at_once(tmp_path: Path, content: bytes, match: str) -> None:
    """Before anything is spent, with one message that names the place."""
    spec = write(tmp_path / "docs.json", content)

    with pytest.raises(InputError, match=match) as caught:
        open_source(spec)

    assert str(caught.value).startswith(f"{tmp_path}/docs.json")


def test_a_huge_json_file_is_refused_with_advice(tmp_path: Path) -> None:
    """It is read as a whole; the limit is 512 MiB, here a small one."""
    write(tmp_path / "docs.json", [{"text": "a"}])

    with pytest.raises(InputError, match="use JSON Lines"):
        load_entries(tmp_path / "docs.json", max_bytes=10)
