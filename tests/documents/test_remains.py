"""What killed runs leave: temporary files go, evidence stays for its own run, which removes what it never recorded."""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from tests.documents.writing import (
    TAG,
    artifacts_in,
    document,
    publish_only,
    sizes_in,
    temporary_in,
    write_all,
)

from agent_pipeline.documents import ArtifactWriter, Recovered, tag_of_run
from agent_pipeline.documents.temporary import temporary_file

OLD = time.time() - 3600


def temporary(folder: Path, *, run_tag: str = TAG, digit: str = "0", text: str = "half") -> Path:
    """Leave a half-written file, an hour old."""
    path = folder / f".agent-pipeline-{run_tag}-{digit * 16}.part"
    path.write_text(text)
    os.utime(path, (OLD, OLD))
    return path


def recover(folder: Path, *recorded: str) -> Recovered:
    """Begin a further session of the run."""
    return ArtifactWriter(folder, run_tag=TAG).recover(iter(recorded))


def nothing_is_read() -> Iterator[str]:
    """Be a ledger that nobody may ask."""
    return map(pytest.fail, ["the ledger was read without need"])


def test_a_new_run_removes_what_is_half_written_and_old(tmp_path: Path) -> None:
    """Of any run; what is fresh, held, no file, or the user's own stays."""
    orphans = [temporary(tmp_path, run_tag=tag) for tag in ("123456", TAG, "0123456789abcdef")]
    fresh = temporary(tmp_path, digit="1")
    os.utime(fresh)
    mine = tmp_path / ".agent-pipeline-mine.part"
    mine.write_text("the user's own")
    os.utime(mine, (OLD, OLD))
    folder = temporary(tmp_path, digit="2")
    folder.unlink()
    folder.mkdir()
    os.utime(folder, (OLD, OLD))
    link = temporary(tmp_path, digit="3")
    link.unlink()
    link.symlink_to(mine)

    ArtifactWriter(tmp_path).prepare()

    assert not any(path.exists() for path in orphans)
    assert set(sizes_in(tmp_path)) == {path.name for path in (fresh, mine, folder, link)}


def test_a_temporary_file_somebody_holds_is_left_alone(tmp_path: Path) -> None:
    """A slow disk can make it old; the run it belongs to is alive."""
    path = temporary(tmp_path)
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ArtifactWriter(tmp_path).prepare()

        assert path.exists()
    ArtifactWriter(tmp_path).prepare()
    assert not path.exists()


def test_a_temporary_file_is_held_while_it_is_written(tmp_path: Path) -> None:
    """Otherwise another run that starts in the same folder would take it for remains."""
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with temporary_file(folder, TAG) as made:
            os.utime(tmp_path / made.name, (0, 0))
            ArtifactWriter(tmp_path).prepare()

            assert list(sizes_in(tmp_path)) == [made.name]
    finally:
        os.close(folder)
    assert sizes_in(tmp_path) == {}


def test_a_new_run_leaves_evidence_until_its_artifact_is_gone(tmp_path: Path) -> None:
    """It tells the run that was killed, whenever it is resumed, which artifact it never recorded."""
    artifact = publish_only(tmp_path, document())
    os.utime(artifact.path, (OLD, OLD))

    ArtifactWriter(tmp_path).prepare()
    kept = temporary_in(tmp_path)
    Path(artifact.path).unlink()
    ArtifactWriter(tmp_path).prepare()

    assert len(kept) == 1
    assert sizes_in(tmp_path) == {}


def test_without_remains_nothing_is_removed_and_the_ledger_not_read(tmp_path: Path) -> None:
    """The usual case costs one look at the folder, or makes it."""
    write_all(tmp_path / "out", [document()])

    for folder in (tmp_path / "out", tmp_path / "new"):
        assert ArtifactWriter(folder, run_tag=TAG).recover(nothing_is_read()) == Recovered(0, 0)
    assert list(sizes_in(tmp_path / "out")) == ["7.md"]


def test_half_written_files_of_this_run_go_whatever_their_age(tmp_path: Path) -> None:
    """Nobody else works on the run; another run may be alive, so its files stay, also one whose tag begins alike."""
    for digit in "12":
        os.utime(temporary(tmp_path, digit=digit))
    others = [temporary(tmp_path, run_tag=tag) for tag in ("abcdef", f"{TAG}67")]

    assert ArtifactWriter(tmp_path, run_tag=TAG).recover(nothing_is_read()) == Recovered(temporary=2, unrecorded=0)
    assert temporary_in(tmp_path) == sorted(others)


def test_an_artifact_no_row_claims_is_removed_and_its_name_free(tmp_path: Path) -> None:
    """Left there, the document would be written a second time under another name."""
    recorded, unrecorded, foreign = (
        publish_only(tmp_path, document(document_id=name), run_tag=tag)
        for name, tag in (("recorded", TAG), ("unrecorded", TAG), ("foreign", "123456"))
    )
    (tmp_path / "users.md").write_text("text")

    found = recover(tmp_path, recorded.path)
    again = recover(tmp_path, recorded.path)
    artifact = publish_only(tmp_path, document(document_id="unrecorded"))

    assert (found, again) == (Recovered(temporary=2, unrecorded=1), Recovered(0, 0))
    assert artifact.path == unrecorded.path
    assert set(artifacts_in(tmp_path)) == {"recorded.md", "unrecorded.md", "foreign.md", "users.md"}
    assert Path(foreign.path).stat().st_nlink == 2


def test_a_row_counts_through_whichever_link_the_folder_was_named(tmp_path: Path) -> None:
    """One session was given the path, another a link to it; a file of that name elsewhere is another one."""
    (tmp_path / "link").symlink_to(tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    publish_only(tmp_path / "out", document())

    assert recover(tmp_path / "out", str(tmp_path / "link" / "7.md")) == Recovered(temporary=1, unrecorded=0)
    publish_only(tmp_path / "out", document(document_id="8"))
    assert recover(tmp_path / "link", str(tmp_path / "elsewhere" / "8.md")) == Recovered(temporary=1, unrecorded=1)
    assert list(sizes_in(tmp_path / "out")) == ["7.md"]


def test_what_somebody_made_of_an_unrecorded_artifact_is_theirs(tmp_path: Path) -> None:
    """Replaced, moved away, linked once more, given to a folder: only the temporary file goes."""
    replaced, moved, linked = (
        Path(publish_only(tmp_path, document(document_id=name)).path) for name in ("replaced", "moved", "linked")
    )
    replaced.unlink()
    replaced.write_text("another file")
    (tmp_path / "kept").mkdir()
    moved.rename(tmp_path / "kept" / "moved.md")
    (tmp_path / "copy.md").hardlink_to(linked)

    assert recover(tmp_path) == Recovered(temporary=3, unrecorded=0)
    assert list(sizes_in(tmp_path)) == ["copy.md", "kept", "linked.md", "replaced.md"]
    assert replaced.read_text() == "another file"
    assert list(sizes_in(tmp_path / "kept")) == ["moved.md"]


def test_a_file_that_takes_the_name_at_the_last_moment_stays(tmp_path: Path) -> None:
    """While the ledger is read, somebody may save a file of their own under the artifact's name."""
    path = Path(publish_only(tmp_path, document()).path)

    def replacing() -> Iterator[str]:
        path.unlink()
        path.write_text("somebody else's")
        yield "nothing of this folder"

    found = ArtifactWriter(tmp_path, run_tag=TAG).recover(replacing())

    assert found == Recovered(temporary=1, unrecorded=0)
    assert path.read_text() == "somebody else's"


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_only_looks_like_a_temporary_file_stays(tmp_path: Path, kind: str) -> None:
    """A run makes regular files; a link might lead anywhere."""
    path = temporary(tmp_path)
    path.unlink()
    (tmp_path / "target").write_text("the user's own")
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "target")

    assert recover(tmp_path) == Recovered(0, 0)
    assert list(sizes_in(tmp_path)) == [path.name, "target"]


async def test_confirmed_artifacts_lose_their_temporary_names_with_the_next_group(tmp_path: Path) -> None:
    """No hop to a thread of its own; what was not confirmed keeps its name, also at the end."""
    writer = ArtifactWriter(tmp_path, run_tag=TAG)
    first, second = [await writer.write(document(document_id=name)) for name in "ab"]
    writer.confirm(first)
    writer.confirm(first)
    before = len(temporary_in(tmp_path))
    third = await writer.write(document(document_id="c"))
    after = len(temporary_in(tmp_path))
    writer.confirm(third)
    with trio.CancelScope() as scope:
        scope.cancel()
        await writer.aclose()

    assert (before, after) == (2, 2)
    assert len(writer._publisher._evidence) == 1, "what is confirmed is forgotten, or a long run fills the memory"
    assert [os.stat(one.path).st_nlink for one in (first, second, third)] == [1, 2, 1]  # noqa: PTH116 - all is over
    assert len(temporary_in(tmp_path)) == 1


@pytest.mark.parametrize("threaded", [True, False])
async def test_closing_waits_for_what_is_being_written(tmp_path: Path, *, threaded: bool) -> None:
    """And without a folder, or with nothing confirmed, it makes none."""
    writer = ArtifactWriter(tmp_path / "out", threaded=threaded)
    await writer.aclose()
    assert sizes_in(tmp_path) == {}

    async def write(number: int) -> None:
        writer.confirm(await writer.write(document(document_id=str(number))))

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(write, number)
    await writer.aclose()

    assert len(sizes_in(tmp_path / "out")) == 40
    assert temporary_in(tmp_path / "out") == []


async def test_a_folder_that_is_gone_does_not_matter_when_closing(tmp_path: Path) -> None:
    """There is nothing left to remove."""
    writer = ArtifactWriter(tmp_path / "out")
    writer.confirm(await writer.write(document()))
    (tmp_path / "out").rename(tmp_path / "moved")
    (tmp_path / "out").write_text("in the way")

    await writer.aclose()

    assert (tmp_path / "out").read_text() == "in the way"


@pytest.mark.parametrize("tag", ["", "abcde", "ABCDEF", "../../", "0" * 17, "abcdef\n"])
def test_a_tag_that_would_not_be_recognised_is_refused(tmp_path: Path, tag: str) -> None:
    """It becomes a part of file names, and is looked for by its digits."""
    with pytest.raises(ValueError, match="6 to 16 hex digits"):
        ArtifactWriter(tmp_path, run_tag=tag)


@pytest.mark.parametrize("run_id", ["smoke-2026-01-02_03h04m05s-a1b2c3", "", "renamed by hand", "x-ABCDEF"])
def test_every_run_id_makes_a_tag(tmp_path: Path, run_id: str) -> None:
    """The same one each time, another one for another run."""
    tag = tag_of_run(run_id)

    ArtifactWriter(tmp_path, run_tag=tag)
    assert (tag, tag_of_run(f"{run_id} ")) == (tag_of_run(run_id), tag_of_run(f"{run_id} "))
    assert tag != tag_of_run(f"{run_id} ")
