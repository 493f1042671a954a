"""The artifact writer cancelled at every scheduler step: an artifact is there and whole, or not at all."""

from pathlib import Path

import pytest
import trio
from tests.documents.writing import TAG, document, text_of

from agent_pipeline.documents import ArtifactWriter, Recorded
from agent_pipeline.domain.document import Artifact
from agent_pipeline.testing import cancel_at_every_step, virtual_clock

TEXTS = {str(number): f"# {number}\n" * 1000 for number in range(1, 6)}


async def _write(writer: ArtifactWriter, document_id: str, written: dict[str, Artifact]) -> None:
    await trio.sleep(int(document_id) * 0.006)  # some join a group, some wait for their turn
    made = document(TEXTS[document_id], document_id=document_id, file_slug="notes", extension="md")
    artifact = await writer.write(made)
    written[document_id] = artifact
    writer.confirm(artifact)
    many = [Recorded(artifact)] * 200
    assert await writer.whole(many) == many  # takes its time in the writer's one thread, for which others wait


def _check(folder: Path, written: dict[str, Artifact]) -> None:
    """Each file belongs to a document that was told so, and has its text; no temporary file is left."""
    assert {str(path) for path in folder.iterdir()} == {artifact.path for artifact in written.values()}
    for document_id, artifact in written.items():
        assert (artifact.document_id, text_of(artifact)) == (document_id, TEXTS[document_id])


@pytest.mark.parametrize(("threaded", "stride"), [(False, 1), (True, 5), pytest.param(True, 1, marks=pytest.mark.slow)])
def test_writer_cancelled_at_every_step(
    tmp_path_factory: pytest.TempPathFactory, *, threaded: bool, stride: int
) -> None:
    """All want the same name; one that was cancelled keeps no name, and another run can go on in the folder."""
    counts: list[int] = []

    async def operation(scope: trio.CancelScope) -> None:
        folder = tmp_path_factory.mktemp("artifacts")
        writer = ArtifactWriter(folder, run_tag=TAG, threaded=threaded)
        written: dict[str, Artifact] = {}
        with scope:
            try:
                async with trio.open_nursery() as nursery:
                    for document_id in TEXTS:
                        nursery.start_soon(_write, writer, document_id, written)
            finally:
                await writer.aclose()

        _check(folder, written)
        counts.append(len(written))
        for document_id in TEXTS.keys() - written.keys():  # the writer is still good for what was cut off
            await _write(writer, document_id, written)
        await writer.aclose()
        _check(folder, written)

    assert cancel_at_every_step(operation, stride=stride, clock=None if threaded else virtual_clock) > 5
    assert {0, len(TEXTS)} < set(counts)
