"""How the tests of artifacts write some, look into their folder, and run what is to be killed."""

import os
import subprocess
import sys
from pathlib import Path

import trio

from agent_pipeline.documents import ArtifactWriter
from agent_pipeline.domain.document import Artifact, Document, JsonValue

TAG = "abcdef012345"
"""Of the run these tests are about."""


def document(text: str = "text", *, document_id: str = "7", **fields: JsonValue) -> Document:
    """Make a document with these fields."""
    return Document(document_id, text, fields=fields)


def write_all(directory: Path, documents: list[Document]) -> list[Artifact]:
    """Write documents one after the other with one writer; all are confirmed."""

    async def main() -> list[Artifact]:
        writer = ArtifactWriter(directory, run_tag=TAG, threaded=False)
        artifacts = [await writer.write(made) for made in documents]
        for artifact in artifacts:
            writer.confirm(artifact)
        await writer.aclose()
        return artifacts

    return trio.run(main)


def publish_only(directory: Path, made: Document, *, run_tag: str = TAG) -> Artifact:
    """Write a document and leave it there, as a process does that is killed before its row is on disk."""

    async def main() -> Artifact:
        return await ArtifactWriter(directory, run_tag=run_tag, threaded=False).write(made)

    return trio.run(main)


def sizes_in(folder: Path) -> dict[str, int]:
    """Return the size of each entry of a folder by its name, in the order of names."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def artifacts_in(folder: Path) -> dict[str, int]:
    """Return the same without temporary files."""
    return {name: size for name, size in sizes_in(folder).items() if not name.endswith(".part")}


def temporary_in(folder: Path) -> list[Path]:
    """Return the temporary files of a folder."""
    return sorted(folder.glob(".agent-pipeline-*.part"))


def text_of(artifact: Artifact) -> str:
    """Return what is in the file."""
    return Path(artifact.path).read_text(encoding="utf-8")


def unmeasured() -> dict[str, str]:
    """Return the environment without coverage, whose own files would meet the limits a program sets itself."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def run_to_its_end(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, however it ends."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=unmeasured(),
    )
