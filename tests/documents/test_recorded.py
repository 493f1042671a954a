"""Artifacts that a ledger recorded: whole or not, and removed only if nobody changed them."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from tests.documents.writing import document, sizes_in, write_all
from tests.unprivileged import let_others_in, unprivileged

from agent_pipeline.documents import Recorded, artifact_is_whole, artifacts_are_whole, remove_artifacts
from agent_pipeline.errors import ArtifactError


def descriptors() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough


def damage(path: Path, how: str) -> None:
    """Make something else of an artifact."""
    content = path.read_bytes()
    if how in {"edited", "longer"}:
        path.write_bytes(content.upper() if how == "edited" else content + b"x")
        return
    moved = path.with_name("moved.txt")
    path.rename(moved)
    if how == "link":
        path.symlink_to(moved)
    elif how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))


def test_an_artifact_as_recorded_is_whole(tmp_path: Path) -> None:
    """Also through a link to its folder; the batch tells each apart, and holds one descriptor at a time."""
    (tmp_path / "link").symlink_to(tmp_path / "out")
    artifacts = write_all(tmp_path / "out", [document(str(number) * 50_000) for number in range(30)])
    before = descriptors()

    assert artifact_is_whole(artifacts[0], tmp_path / "out")
    assert artifact_is_whole(replace(artifacts[0], path=str(tmp_path / "link" / "7.md")), tmp_path / "out")
    assert artifact_is_whole(artifacts[0], tmp_path / "link")
    assert not artifact_is_whole(replace(artifacts[0], size_bytes=1), tmp_path / "out")
    Path(artifacts[3].path).write_bytes(b"3" * 49_999 + b"4")
    assert artifacts_are_whole(map(Recorded, artifacts), tmp_path / "out") == [number != 3 for number in range(30)]
    assert descriptors() == before


WRITTEN_AT = 1_700_000_000.0


@pytest.mark.parametrize(
    ("begun_before", "ended_after", "left_after", "is_read"),
    [
        (1.0, 1.0, 60.0, False),
        (0.0, 0.0, 60.0, False),
        (-1.0, 2.0, 60.0, True),  # written before its document was begun
        (1.0, -1.0, 60.0, True),  # written after it was recorded
        (1.0, 1.0, 0.0, True),  # renamed, linked, or given another time since the process had gone
    ],
)
def test_an_artifact_only_its_run_can_have_touched_is_not_read(
    tmp_path: Path, begun_before: float, ended_after: float, left_after: float, *, is_read: bool
) -> None:
    """A million files are not read for a resume; a wrong hash shows which are."""
    (artifact,) = write_all(tmp_path, [document()])
    os.utime(artifact.path, (WRITTEN_AT, WRITTEN_AT))
    times = WRITTEN_AT - begun_before, WRITTEN_AT + ended_after, Path(artifact.path).stat().st_ctime + left_after
    wrong = replace(artifact, sha256="0" * 64)

    assert artifacts_are_whole([Recorded(wrong, *times)], tmp_path) == [not is_read]
    assert artifacts_are_whole([Recorded(artifact, *times)], tmp_path) == [True]
    assert artifacts_are_whole([Recorded(replace(wrong, size_bytes=1), *times)], tmp_path) == [False]


def test_what_took_an_artifacts_place_is_read_whatever_its_times(tmp_path: Path) -> None:
    """Neither a link of the same length nor nothing is what was written."""
    (artifact,) = write_all(tmp_path, [document()])
    damage(Path(artifact.path), "link")
    always = Recorded(replace(artifact, size_bytes=Path(artifact.path).lstat().st_size), 0.0, 1e12, 1e12)

    assert artifacts_are_whole([always], tmp_path) == [False]
    Path(artifact.path).unlink()
    assert artifacts_are_whole([always], tmp_path) == [False]
    assert artifacts_are_whole([always], tmp_path / "nowhere") == [False]


@pytest.mark.parametrize("how", ["edited", "longer", "gone", "link", "folder", "pipe", "socket"])
def test_an_artifact_that_was_touched_is_not(tmp_path: Path, how: str) -> None:
    """A link to the very same content is not the file that was written; a pipe is not waited for."""
    (artifact,) = write_all(tmp_path, [document()])
    damage(Path(artifact.path), how)
    before = descriptors()

    assert not artifact_is_whole(artifact, tmp_path)
    assert descriptors() == before


@pytest.mark.parametrize(
    "path", ["", "7.md", "/", "{}/deep/7.md", "{}/..", "{}/.", "{}/", "{}/a\x00b", "{}/" + "a" * 300]
)
def test_a_path_that_is_none_of_the_folder_is_not(tmp_path: Path, path: str) -> None:
    """A ledger is a file that anybody may have written."""
    (artifact,) = write_all(tmp_path / "deep", [document()])
    write_all(tmp_path, [document()])

    assert not artifact_is_whole(replace(artifact, path=path.format(tmp_path)), tmp_path)
    assert not artifact_is_whole(artifact, tmp_path / "nowhere")
    assert not artifact_is_whole(artifact, Path(artifact.path))


def test_what_can_not_be_read_is_neither_whole_nor_not(tmp_path: Path) -> None:
    """Told `no`, a resumed run would work again on every document of a folder it may not read just now."""
    let_others_in(tmp_path)
    (artifact,) = write_all(tmp_path / "out", [document()])
    (tmp_path / "out").chmod(0o755)

    with unprivileged(), pytest.raises(ArtifactError, match=r"7\.md: can't be read: Permission denied"):
        artifact_is_whole(artifact, tmp_path / "out")
    (tmp_path / "out").chmod(0o700)
    with unprivileged(), pytest.raises(ArtifactError, match="the artifacts folder can't be read: Permission denied"):
        artifact_is_whole(artifact, tmp_path / "out")


def test_only_unchanged_artifacts_of_the_folder_are_removed(tmp_path: Path) -> None:
    """What a user edited, replaced or keeps elsewhere is the user's."""
    directory = tmp_path / "out"
    names = ("plain", "edited", "gone", "linked", "folder")
    kept_elsewhere, *artifacts = [
        *write_all(tmp_path / "elsewhere", [document("e")]),
        *write_all(directory, [document(name, document_id=name) for name in names]),
    ]
    Path(artifacts[1].path).write_text("edited by hand")
    Path(artifacts[2].path).unlink()
    Path(artifacts[3].path).rename(tmp_path / "moved.md")
    Path(artifacts[3].path).symlink_to(tmp_path / "moved.md")
    Path(artifacts[4].path).unlink()
    Path(artifacts[4].path).mkdir()
    (directory / "unknown.md").write_text("never recorded")
    recorded = [(artifact.path, artifact.sha256) for artifact in [kept_elsewhere, *artifacts]]
    sneaky = (f"{directory}/../elsewhere/{Path(kept_elsewhere.path).name}", kept_elsewhere.sha256)

    removed = remove_artifacts([*recorded, *recorded, sneaky, ("a\x00b", "0")], directory=directory)

    assert removed == [artifacts[0].path]
    assert list(sizes_in(directory)) == ["edited.md", "folder.md", "linked.md", "unknown.md"]
    assert Path(kept_elsewhere.path).exists()


def test_nothing_is_removed_from_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A first run with --clean."""
    assert remove_artifacts([(str(tmp_path / "no" / "a.md"), "0")], directory=tmp_path / "no") == []


def test_an_artifact_that_can_not_be_removed_is_an_error(tmp_path: Path) -> None:
    """`--clean` promised that it goes."""
    let_others_in(tmp_path)
    (artifact,) = write_all(tmp_path / "out", [document()])
    (tmp_path / "out").chmod(0o555)
    Path(artifact.path).chmod(0o444)

    with unprivileged(), pytest.raises(ArtifactError, match="can't be removed: Permission denied"):
        remove_artifacts([(artifact.path, artifact.sha256)], directory=tmp_path / "out")
