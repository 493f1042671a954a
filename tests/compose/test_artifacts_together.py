"""Artifacts of documents that end together, one of which is cancelled at that moment."""

import os
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from agent_pipeline.documents import ArtifactWriter
from agent_pipeline.domain.document import Artifact, Document


async def test_a_cancelled_document_takes_no_other_artifact_with_it(tmp_path: Path) -> None:
    """Whose turn it is writes for all that wait; cancelled just then, the others' work must not be lost."""
    writer = ArtifactWriter(tmp_path)
    written: list[Artifact] = []
    cancelled = trio.CancelScope()

    async def write(document_id: str, scope: trio.CancelScope) -> None:
        with scope:
            written.append(await writer.write(Document(document_id, "text")))

    async with trio.open_nursery() as nursery:
        await writer._turn.acquire()
        nursery.start_soon(write, "next", cancelled)
        await wait_all_tasks_blocked()
        nursery.start_soon(write, "other", trio.CancelScope())
        await wait_all_tasks_blocked()
        writer._turn.release()
        cancelled.cancel()  # the next one has the turn by now, but has not begun to write

    assert [artifact.document_id for artifact in written] == ["other"]
    assert [one for one in sorted(os.listdir(tmp_path)) if one[0] != "."] == ["other.md"]  # noqa: PTH208 - all is over
