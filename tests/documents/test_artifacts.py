"""Artifacts: whole or not at all, never outside their folder, never over another file."""

import hashlib
import os
import sys
from pathlib import Path
from types import FrameType

import pytest
import trio
from tests.documents.writing import TAG, artifacts_in, document, sizes_in, temporary_in, text_of, write_all
from tests.unprivileged import read_only_folder, unprivileged
from trio.testing import MockClock

from agent_pipeline import failpoints
from agent_pipeline.documents import ArtifactWriter
from agent_pipeline.documents.artifacts import MOST_TOGETHER
from agent_pipeline.documents.publishing import Job, Publisher
from agent_pipeline.documents.temporary import rename_over_placeholder
from agent_pipeline.domain.document import Artifact
from agent_pipeline.errors import ArtifactError


async def test_an_artifact_is_the_text_and_the_record_of_it(tmp_path: Path) -> None:
    """The ledger keeps path, hash and size, and `verify` compares them with the file."""
    writer = ArtifactWriter(tmp_path / "deep" / "out")

    artifact = await writer.write(document("é\r\n漢", file_slug="notes", extension="py"))
    writer.confirm(artifact)
    await writer.aclose()

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
    assert len(artifacts_in(tmp_path)) == 100


async def test_text_that_can_not_be_encoded_is_kept_but_for_that(tmp_path: Path) -> None:
    """Half a character in a model's answer must not cost the document."""
    artifact = await ArtifactWriter(tmp_path).write(document("a\ud800b"))

    assert text_of(artifact) == "a\ufffdb"


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
    """At whatever moment a run stops: every file is whole, with evidence, and has an owner that was told."""
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

    sizes = artifacts_in(tmp_path)
    assert sorted(told) == sorted(str(tmp_path / name) for name in sizes)
    assert set(sizes.values()) == {10_000}
    assert len(temporary_in(tmp_path)) == len(told)
    assert {path.stat().st_nlink for path in temporary_in(tmp_path)} == {2}


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


def test_each_step_is_taken_with_all_of_a_group_before_the_next(tmp_path: Path) -> None:
    """A file that is synced after another got its name would take the folder along, each anew."""
    calls: list[str] = []
    watched = {"write", "posix_fadvise", "fsync", "link", "close"}

    def watch(_frame: FrameType, event: str, called: object) -> None:
        name = getattr(called, "__name__", "")
        if event == "c_call" and name in watched and getattr(called, "__module__", "") == os.name:
            calls.append(name)

    jobs = [Job(document(document_id=str(number))) for number in range(2)]
    sys.setprofile(watch)
    try:
        Publisher(tmp_path, TAG).write(jobs)
    finally:
        sys.setprofile(None)

    filled = ["write", "posix_fadvise"] if sys.platform == "linux" else ["write"]
    assert calls == [*filled * 2, *["fsync"] * 2, *["link"] * 2, "fsync", *["close"] * 3]
    assert [job.result().path for job in jobs] == [str(tmp_path / name) for name in ("0.md", "1.md")]


async def test_a_group_holds_no_more_descriptors_than_it_may(tmp_path: Path) -> None:
    """A process has a thousand, as a rule, and sockets want most of them; who finds no place waits for the next."""
    writer = ArtifactWriter(tmp_path)
    groups: list[int] = []
    failpoints.arm("artifact.synced", lambda: groups.append(len(list(tmp_path.glob("*.md")))))

    async def write(number: int) -> None:
        writer.confirm(await writer.write(document(document_id=str(number))))

    try:
        async with trio.open_nursery() as nursery:
            for number in range(MOST_TOGETHER + 1):
                nursery.start_soon(write, number)
    finally:
        failpoints.disarm_all()
        await writer.aclose()

    assert groups == [MOST_TOGETHER, MOST_TOGETHER + 1]
