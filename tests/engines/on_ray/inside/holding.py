"""A stage that lets documents pass only so far as a file beside it says; it lies in the project's folder as well."""

from pathlib import Path

import trio

from agent_pipeline import Document, StageContext, stage

FAR = "far"
"""The name of that file: the number of the last document that may pass, as a text."""


@stage()
async def hold(document: Document, context: StageContext) -> Document:
    """Wait until the file's number has reached the document's, which is the end of its id."""
    del context
    while int(document.id[1:]) > int(Path(__file__).with_name(FAR).read_text(encoding="utf-8")):  # noqa: ASYNC110 - a file says so
        await trio.sleep(0.05)
    return document
