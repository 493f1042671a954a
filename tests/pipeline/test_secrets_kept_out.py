"""A secret that the run knows of is in no document it works on, and in nothing it keeps."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.pipeline.world import entry, open_run, plan
from trio.testing import MockClock

from agent_pipeline.domain.document import Document, JsonValue, SourceEntry
from agent_pipeline.domain.events import StageStarted
from agent_pipeline.errors import DocumentInvalidError
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.secrets_kept_out import refuse_secrets, without_secrets
from agent_pipeline.telemetry import NO_SECRETS, REDACTED, SecretValues

KEY = 'canary "7f3a/9b1c"'
KEYS = SecretValues([KEY])
CLEAN = Document("1", "a text", "in.md", {"kind": "x"}, {"n": 1})


async def source(*entries: SourceEntry) -> AsyncGenerator[SourceEntry]:
    """Be a source."""
    for one in entries:
        yield one


async def refused(*entries: SourceEntry) -> list[SourceEntry]:
    """Return what comes of these entries."""
    return [one async for one in refuse_secrets(source(*entries), KEYS)]


def holding(folder: Path) -> list[Path]:
    """Return the files with the key in their content or name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if KEYS.holds(path.read_bytes().decode(errors="replace") + path.name)]


async def test_entry_without_a_key_passes_as_it_is() -> None:
    """Whatever kind it is of; what looks like a key is a document's own business."""
    entries = [
        entry(1, "the header is Authorization: Bearer sk-proj-0123456789abcdef"),
        SourceEntry(2, "2", None, skipped="no text"),
        SourceEntry(3, "3", "in.md", error=DocumentInvalidError("no")),
        SourceEntry(4, "4", None, document=Document("4", "x", None, {"n": cast("JsonValue", {1, 2})})),
    ]

    assert await refused(*entries) == entries


@pytest.mark.parametrize(
    "document",
    [
        Document("1", f"the key is {KEY}."),
        Document("1", "x" + json.dumps(KEY)),
        Document("1", "x", metadata={"a": [{"b": KEY}]}),
        Document("1", "x", metadata={KEY: 1}),
    ],
)
async def test_document_with_a_key_can_not_be_used(document: Document) -> None:
    """It would be sent to a provider, and kept; the message says what to do and does not repeat it."""
    (found,) = await refused(SourceEntry(1, "1", "in.md", document))

    assert (found.document, found.id, found.source) == (None, "1", "in.md")
    assert isinstance(found.error, DocumentInvalidError)
    assert "document 1 holds a key" in str(found.error)
    assert KEY not in str(found.error)


async def test_names_with_a_key_are_kept_without_it() -> None:
    """An id is in every file; two that differ in the key alone stay two."""
    document = Document(f"of {KEY}", "x")
    found = await refused(
        SourceEntry(1, document.id, f"{KEY}.md", document),
        SourceEntry(2, f"of {KEY}", None, skipped=f"no text in {KEY}"),
        SourceEntry(3, "3", f"https://host/?key={KEY}", error=DocumentInvalidError("no")),
    )

    assert [(one.id, one.source, one.skipped) for one in found] == [
        (f"of {REDACTED} (1)", f"{REDACTED}.md", None),
        (f"of {REDACTED} (2)", None, f"no text in {REDACTED}"),
        ("3", f"https://host/?key={REDACTED}", None),
    ]
    assert [one.document for one in found] == [None] * 3
    assert KEY not in str(found[0].error)


async def test_source_is_closed_with_its_reader() -> None:
    """A run that stops early holds no file open."""
    closed: list[bool] = []

    async def endless() -> AsyncGenerator[SourceEntry]:
        try:
            for position in range(1, 10**9):
                yield entry(position)
        finally:
            closed.append(True)

    entries = refuse_secrets(endless(), KEYS)
    await anext(entries)
    await entries.aclose()

    assert closed == [True]


def test_result_without_a_key_is_the_same_object() -> None:
    """Nothing is copied in vain."""
    assert without_secrets(CLEAN, KEYS) is CLEAN
    assert without_secrets(CLEAN.with_text(KEY), NO_SECRETS).text == KEY


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"text": f"<{KEY}>"}, {"text": f"<{REDACTED}>"}),
        ({"source": KEY}, {"source": REDACTED}),
        ({"metadata": {"k": [KEY]}}, {"metadata": {"k": [REDACTED]}}),
        ({"fields": {"n": 1, KEY: KEY}}, {"fields": {"n": 1, REDACTED: REDACTED}}),
    ],
)
def test_key_in_a_result_is_replaced_wherever_it_is(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    """Everything else stays as the stage returned it."""
    values = {name: getattr(CLEAN, name) for name in ("id", "text", "source", "metadata", "fields")}

    assert without_secrets(Document(**{**values, **changes}), KEYS) == Document(**{**values, **expected})


async def test_nothing_a_stage_lets_slip_is_kept(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Ledger, artifact, rejected text, the result's failures and the next stage have it without the key."""
    seen: list[str] = []

    async def leak(document: Document, context: StageContext) -> Document:
        return document.with_text(f"# The key\n\n{KEY}\n").with_fields(file_slug=f"of-{KEY}", answer={"said": KEY})

    async def look(document: Document, context: StageContext) -> Document:
        seen.append(document.text + json.dumps(dict(document.fields)))
        if document.id == "3":
            raise RuntimeError(f"could not use {KEY}")
        context.review(approved=document.id == "1", issues=f"{KEY}!")
        return document

    async with open_run(tmp_path, plan(leak, look), secrets=KEYS) as run:
        await run.documents([entry(1), entry(2), entry(3)])

    assert run.outcomes() == {"1": ("succeeded", None), "2": ("failed", "rejected"), "3": ("failed", "stage_failed")}
    assert all(REDACTED in text and not KEYS.holds(text) for text in seen)
    assert list(run.artifacts.values()) == list(run.rejected.values()) == [f"# The key\n\n{REDACTED}\n"]
    assert not KEYS.holds(repr(run.tally.shown_failures()))
    assert holding(tmp_path) == []
    outputs = [json.loads(row) for (row,) in run.rows("select output_json from stage_results where stage = 'look'")]
    assert [output["verdict"]["issues"] for output in outputs] == [f"{REDACTED}!"] * 2


async def test_no_stage_sees_a_document_with_a_key(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It fails alone, and leaves nothing of its content."""

    async def work(document: Document, context: StageContext) -> Document:
        await context.run_agent("writer", document.text)
        return document

    async with open_run(tmp_path, plan(work), secrets=KEYS) as run:
        await run.documents(refuse_secrets(source(entry(1), entry(2, f"the key is {KEY}")), KEYS))

    assert run.outcomes() == {"1": ("succeeded", None), "2": ("failed", "document_invalid")}
    assert {event.document_id for event in run.events(StageStarted)} == {"1"}
    assert run.world.simulator.statistics.requests == 1
    assert run.rows("select content_sha256 from documents where document_id = '2'") == [(None,)]
