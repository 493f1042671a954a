"""`run_stage`: what a stage makes or raises, the test gets; and nothing else is left."""

import tempfile
from pathlib import Path

import pytest
from pydantic import BaseModel

from agent_pipeline import Document, DocumentRejectedError, StageContext, StageError, stage
from agent_pipeline.pipeline.stage import Stage
from agent_pipeline.testing import run_stage


class Note(BaseModel):
    title: str
    count: int


NOTE = Document("deep/note.md", "# Lakes\n\nThe lake is deep.\n", "a source", {"year": 2026}, {"before": [1]})


@stage(role="anybody")
async def summarise(document: Document, context: StageContext) -> Document:
    """Ask, and say what was seen."""
    assert context.original is document
    answer = await context.ask(f"Summarise:\n<document>\n{document.text}\n</document>", output_type=Note)
    return document.with_fields(title=answer.title, least=context.options.get("least"), year=document.metadata["year"])


def test_it_returns_what_the_stage_makes() -> None:
    """With the document as it was given, whatever stage would have made its fields; the same each time."""
    done = run_stage(summarise, NOTE, options={"least": 3})

    assert done == NOTE.with_fields(title="Lakes", least=3, year=2026)
    assert run_stage(summarise, NOTE, options={"least": 3}) == done


@stage
async def edit(document: Document, context: StageContext) -> Document:
    """Run an agent with a tool that is a plain function."""

    def count_words(text: str) -> int:
        """Count."""
        return len(text.split())

    answer = await context.run_agent("editor", document.text, Note, tools=[count_words])
    return document.with_text(answer.title)


def test_agents_and_their_tools_run_too() -> None:
    """In real time, so that a tool's thread is waited for."""
    assert run_stage(edit, NOTE).text


@stage
async def fail(document: Document, context: StageContext) -> Document:
    """Raise."""
    raise ZeroDivisionError(document.id)


@stage
async def refuse(document: Document, context: StageContext) -> Document:
    """Do not approve."""
    context.review(approved=False, issues="no")
    return document


@stage
async def swap(document: Document, context: StageContext) -> Document:
    """Return another document."""
    return Document("other", document.text)


@pytest.mark.parametrize(
    ("one", "kind", "words"),
    [
        (fail, ZeroDivisionError, "deep/note.md"),
        (refuse, DocumentRejectedError, "did not approve"),
        (swap, StageError, "must return the document it was given"),
    ],
)
def test_what_goes_wrong_is_raised_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: Stage, kind: type[Exception], words: str
) -> None:
    """As it was raised, so that a test may expect it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with pytest.raises(kind, match=words):
        run_stage(one, NOTE)

    assert list(tmp_path.iterdir()) == []


async def test_under_an_event_loop_it_refuses() -> None:
    """It would block the loop."""
    with pytest.raises(RuntimeError, match="run"):
        run_stage(summarise, NOTE)
