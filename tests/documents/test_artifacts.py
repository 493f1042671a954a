"""Artifacts: whole or not at all, never outside their folder, never over another file, removed only if unchanged."""

import fcntl
import hashlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import trio
from tests.unprivileged import read_only_folder, unprivileged
from trio.testing import MockClock

from agent_pipeline.documents import ArtifactWriter, remove_artifacts, write_rejected
from agent_pipeline.documents.artifacts import rename_over_placeholder, temporary_file
from agent_pipeline.domain.document import Artifact, Document, JsonValue
from agent_pipeline.errors import ArtifactError


def document(text: str = "text", *, document_id: str = "7", **fields: JsonValue) -> Document:
    """Make a document with these fields."""
    return Document(document_id, text, fields=fields)


def write_all(directory: Path, documents: list[Document]) -> list[Artifact]:
    """Write documents one after the other with one writer."""

    async def main() -> list[Artifact]:
        writer = ArtifactWriter(directory, threaded=False)
        return [await writer.write(made) for made in documents]

    return trio.run(main)


def sizes_in(folder: Path) -> dict[str, int]:
    """Return the size of each entry of a folder by its name, in the order of names."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def text_of(artifact: Artifact) -> str:
    """Return what is in the file."""
    return Path(artifact.path).read_text(encoding="utf-8")


async def test_an_artifact_is_the_text_and_the_record_of_it(tmp_path: Path) -> None:
    """The ledger keeps path, hash and size, and `verify` compares them with the file."""
    writer = ArtifactWriter(tmp_path / "deep" / "out")

    artifact = await writer.write(document("é\r\n漢", file_slug="notes", extension="py"))

    path = tmp_path / "deep" / "out" / "notes.py"
    content = "é\r\n漢".encode()
    assert artifact == Artifact("7", str(path), hashlib.sha256(content).hexdigest(), len(content))
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_nlink == 1
    assert list(sizes_in(path.parent)) == ["notes.py"]


def test_a_second_document_of_the_same_name_gets_its_id(tmp_path: Path) -> None:
    """Both are kept, also where only a case-blind or composing file system takes the names for one."""
    slugs = ["notes", "notes", "NOTES", "straße", "STRASSE", "caf\u00e9", "CAFE\u0301"]
    documents = [document(str(index), document_id=f"d/{index}", file_slug=slug) for index, slug in enumerate(slugs)]

    artifacts = write_all(tmp_path, documents)

    assert [Path(artifact.path).name for artifact in artifacts] == [
        "notes.md",
        "notes-d-1.md",
        "NOTES-d-2.md",
        "straße.md",
        "STRASSE-d-4.md",
        "caf\u00e9.md",
        "CAF\u00c9-d-6.md",
    ]
    assert [text_of(artifact) for artifact in artifacts] == list("0123456")


def test_files_of_earlier_runs_are_never_overwritten(tmp_path: Path) -> None:
    """Whatever lies in the folder stays: files, also by another case, folders, dangling links."""
    (tmp_path / "Notes.md").write_text("old")
    (tmp_path / "notes-7.md").symlink_to(tmp_path / "nowhere")
    (tmp_path / "notes-7-2.md").mkdir()

    (artifact,) = write_all(tmp_path, [document("new", file_slug="notes")])

    assert artifact.path == str(tmp_path / "notes-7-3.md")
    assert (tmp_path / "Notes.md").read_text() == "old"
    assert not (tmp_path / "nowhere").exists()


async def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Another run may write into the same folder after this one has looked."""
    writer = ArtifactWriter(tmp_path)
    await writer.write(document(file_slug="first"))
    (tmp_path / "second.md").write_text("somebody else's")

    artifact = await writer.write(document("mine", file_slug="second"))

    assert Path(artifact.path).name == "second-7.md"
    assert (tmp_path / "second.md").read_text() == "somebody else's"


async def test_concurrent_writers_of_one_name_all_succeed(tmp_path: Path) -> None:
    """Two runs of 50 documents that all want one name: 100 files, each with its own text."""
    writers = [ArtifactWriter(tmp_path), ArtifactWriter(tmp_path)]
    artifacts: list[Artifact] = []

    async def write(writer: ArtifactWriter, number: int) -> None:
        artifacts.append(await writer.write(document(str(number), document_id=str(number % 7), file_slug="same")))

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(write, writers[number % 2], number)

    assert len({artifact.path for artifact in artifacts}) == 100
    assert sorted(int(text_of(artifact)) for artifact in artifacts) == list(range(100))
    assert len(sizes_in(tmp_path)) == 100


async def test_text_that_can_not_be_encoded_is_kept_but_for_that(tmp_path: Path) -> None:
    """Half a character in a model's answer must not cost the document."""
    artifact = await ArtifactWriter(tmp_path).write(document("a\ud800b"))

    assert text_of(artifact) == "a\ufffdb"


@contextmanager
def largest_file(size_bytes: int) -> Generator[None]:
    """Let writes of this process fail beyond a size, like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_leaves_nothing_and_the_name_free(tmp_path: Path) -> None:
    """No half artifact, no temporary file; when there is room again, the name is as good as before."""
    writer = ArtifactWriter(tmp_path)

    with (
        largest_file(1000),
        pytest.raises(ArtifactError, match=r"document '7' can't be written: File too large") as caught,
    ):
        await writer.write(document("x" * 5000, file_slug="notes"))
    left = sizes_in(tmp_path)
    artifact = await writer.write(document("small", file_slug="notes"))

    assert str(tmp_path) in str(caught.value)
    assert left == {}
    assert Path(artifact.path).name == "notes.md"


async def test_a_folder_that_can_not_be_one_is_named(tmp_path: Path) -> None:
    """A file is in the way, or the path can't exist."""
    (tmp_path / "file").write_text("x")

    for directory in (tmp_path / "file", tmp_path / "file" / "out", tmp_path / "a\x00b"):
        writer = ArtifactWriter(directory)
        with pytest.raises(ArtifactError, match="the artifact of document '7' can't be written"):
            await writer.write(document())
        with pytest.raises(ArtifactError, match="the artifacts folder can't be used"):
            writer.prepare()


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_read_only_folder_is_named(*, threaded: bool) -> None:
    """The check before the run finds it, and a write says the same."""
    with read_only_folder({}) as folder, unprivileged():
        writer = ArtifactWriter(folder, threaded=threaded)
        with pytest.raises(ArtifactError, match="Permission denied"):
            writer.prepare()
        with pytest.raises(ArtifactError, match="Permission denied"):
            await writer.write(document())


@pytest.mark.parametrize("threaded", [True, False])
async def test_cancelled_before_it_began_nothing_is_written(tmp_path: Path, *, threaded: bool) -> None:
    """The other case does not exist: once begun, a write is carried through and returned."""
    writer = ArtifactWriter(tmp_path, threaded=threaded)

    with trio.CancelScope() as scope:
        scope.cancel()
        await writer.write(document())

    assert scope.cancelled_caught
    assert sizes_in(tmp_path) == {}


async def test_cancelled_while_writing_is_all_or_nothing(tmp_path: Path) -> None:
    """At whatever moment a run stops: every file is whole, has an owner that was told, and no temporary one is left."""
    writer = ArtifactWriter(tmp_path)
    told: list[str] = []
    one_is_told = trio.Event()

    async def write(number: int) -> None:
        artifact = await writer.write(document("x" * 10_000, document_id=str(number)))
        told.append(artifact.path)
        one_is_told.set()

    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(write, number)
        await one_is_told.wait()
        nursery.cancel_scope.cancel()

    sizes = sizes_in(tmp_path)
    assert sorted(told) == sorted(str(tmp_path / name) for name in sizes)
    assert set(sizes.values()) == {10_000}


def test_virtual_time_stands_still_while_writing_inline(tmp_path: Path) -> None:
    """A write must look instant to every timeout of a simulated run."""

    async def main() -> float:
        writer = ArtifactWriter(tmp_path, threaded=False)
        with trio.fail_after(0.001):
            for number in range(20):
                await writer.write(document(document_id=str(number)))
        return trio.current_time()

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == 0


@pytest.mark.parametrize("taken", [True, False])
def test_without_links_the_name_is_claimed_before_the_file_is_moved(tmp_path: Path, *, taken: bool) -> None:
    """Some file systems have no hard links; even there nothing is overwritten."""
    (tmp_path / "temporary").write_text("new")
    if taken:
        (tmp_path / "name.md").write_text("old")
    folder = os.open(tmp_path, os.O_RDONLY)

    try:
        if taken:
            with pytest.raises(FileExistsError):
                rename_over_placeholder(folder, "temporary", "name.md")
        else:
            rename_over_placeholder(folder, "temporary", "name.md")
            with pytest.raises(FileNotFoundError):
                rename_over_placeholder(folder, "temporary", "other.md")
    finally:
        os.close(folder)

    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left == ({"temporary": "new", "name.md": "old"} if taken else {"name.md": "new"})


KILLED = """
import sys, trio
from pathlib import Path
from agent_pipeline.documents import ArtifactWriter
from agent_pipeline.domain.document import Document

async def main():
    writer = ArtifactWriter(Path(sys.argv[1]))
    async def lane(lane):
        number = 0
        while True:
            number += 1
            artifact = await writer.write(Document(f"{lane}.{number}", "x" * 100_000))
            sys.stdout.write(artifact.path + "\\n")
            sys.stdout.flush()
    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(lane, number)

trio.run(main)
"""


def test_a_killed_run_leaves_whole_artifacts_and_its_remains_are_removed(tmp_path: Path) -> None:
    """What was told is there and whole; temporary files go when they are old and nobody holds them."""
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().decode().strip() for _ in range(40)]
        process.kill()
    for number in range(3):
        (tmp_path / f".agent-pipeline-{number:016x}.part").write_text("half")
    (tmp_path / ".agent-pipeline-mine.part").write_text("the user's own")
    old = time.time() - 3600
    for path in tmp_path.glob(".*.part"):
        os.utime(path, (old, old))
    fresh = tmp_path / f".agent-pipeline-{'a' * 16}.part"
    fresh.write_text("of a run that begins just now")

    ArtifactWriter(tmp_path).prepare()

    assert all(Path(path).stat().st_size == 100_000 for path in told)
    assert {path.name for path in tmp_path.glob(".*")} == {".agent-pipeline-mine.part", fresh.name}
    assert {path.stat().st_size for path in tmp_path.glob("*.md")} == {100_000}


def test_a_temporary_file_somebody_holds_is_left_alone(tmp_path: Path) -> None:
    """A slow disk can make it old; the run it belongs to is alive."""
    path = tmp_path / f".agent-pipeline-{'b' * 16}.part"
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        os.utime(path, (0, 0))
        ArtifactWriter(tmp_path).prepare()

        assert path.exists()
    ArtifactWriter(tmp_path).prepare()
    assert not path.exists()


async def test_rejected_texts_are_kept_with_the_same_care(tmp_path: Path) -> None:
    """Named by the id: a slug is only given to what was approved."""
    rejected = document("bad", document_id="../a/b", file_slug="good-name", extension="py")

    first = await write_rejected(tmp_path / "rejected", rejected)
    second = await write_rejected(tmp_path / "rejected", rejected)

    assert Path(first.path) == tmp_path / "rejected" / "a-b.py"
    assert Path(second.path) == tmp_path / "rejected" / "a-b-a-b.py"
    assert text_of(first) == "bad"


def test_only_unchanged_artifacts_of_the_folder_are_removed(tmp_path: Path) -> None:
    """What a user edited, replaced or keeps elsewhere is the user's."""
    directory = tmp_path / "out"
    kept_elsewhere, *artifacts = [
        *write_all(tmp_path / "elsewhere", [document("e")]),
        *write_all(directory, [document(name, document_id=name) for name in ("plain", "edited", "gone", "linked")]),
    ]
    Path(artifacts[1].path).write_text("edited by hand")
    Path(artifacts[2].path).unlink()
    Path(artifacts[3].path).rename(tmp_path / "moved.md")
    Path(artifacts[3].path).symlink_to(tmp_path / "moved.md")
    (directory / "unknown.md").write_text("never recorded")
    recorded = [(artifact.path, artifact.sha256) for artifact in [kept_elsewhere, *artifacts]]
    sneaky = (f"{directory}/../elsewhere/{Path(kept_elsewhere.path).name}", kept_elsewhere.sha256)

    removed = remove_artifacts([*recorded, *recorded, sneaky, ("a\x00b", "0")], directory=directory)

    assert removed == [artifacts[0].path]
    assert list(sizes_in(directory)) == ["edited.md", "linked.md", "unknown.md"]
    assert Path(kept_elsewhere.path).exists()


def test_nothing_is_removed_from_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A first run with --clean."""
    assert remove_artifacts([(str(tmp_path / "no" / "a.md"), "0")], directory=tmp_path / "no") == []


def test_a_temporary_file_is_held_while_it_is_written(tmp_path: Path) -> None:
    """Otherwise another run that starts in the same folder would take it for remains."""
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with temporary_file(folder) as (name, _):
            os.utime(tmp_path / name, (0, 0))
            ArtifactWriter(tmp_path).prepare()

            assert list(sizes_in(tmp_path)) == [name]
    finally:
        os.close(folder)
    assert sizes_in(tmp_path) == {}


async def test_the_content_is_synced_before_the_name_and_the_name_before_the_answer(tmp_path: Path) -> None:
    """After a power cut an artifact that was told of is there, and one that is there is whole."""
    calls: list[str] = []

    def watch(_frame: FrameType, event: str, called: object) -> None:
        if event == "c_call" and called in (os.write, os.fsync, os.link):
            calls.append(getattr(called, "__name__", ""))

    writer = ArtifactWriter(tmp_path, threaded=False)
    sys.setprofile(watch)
    try:
        await writer.write(document())
    finally:
        sys.setprofile(None)

    assert calls == ["write", "fsync", "link", "fsync"]
