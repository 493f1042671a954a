"""Stages that ask what was asked before, or get in the way of who writes."""

from pathlib import Path

from agent_pipeline import Document, StageContext, stage
from agent_pipeline.testing.worlds.stages import Note


@stage(role="writer")
async def note_again(document: Document, context: StageContext) -> Document:
    """Ask word for word what `note` asks."""
    task = f"Give this document a title and a summary.\n\n<document>\n{document.text}\n</document>"
    return document.with_fields(again=(await context.ask(task, Note)).title)


@stage
async def meddle(document: Document, context: StageContext) -> Document:
    """Put a folder where the exchanges of the document `d02` go."""
    if context.document_id == "d02":
        _make_folder(str(context.options["path"]))
    return document


def _make_folder(path: str) -> None:
    """Make a folder without a thread, which virtual time would outrun."""
    Path(path).mkdir()
