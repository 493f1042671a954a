"""A disk that takes no more: its own error, nothing half there, and what was told before is whole."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.documents.writing import (
    TAG,
    artifacts_in,
    document,
    run_to_its_end,
    sizes_in,
    temporary_in,
    text_of,
)

from agent_pipeline import failpoints
from agent_pipeline.documents import ArtifactWriter
from agent_pipeline.documents.folder import reporting
from agent_pipeline.documents.publishing import Job, Publisher
from agent_pipeline.documents.temporary import TemporaryFile, fill
from agent_pipeline.errors import ArtifactError, DiskFullError


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """Leave no point armed for the tests that follow."""
    yield
    failpoints.disarm_all()


def failing(number: int, *, after: int = 0) -> Callable[[], None]:
    """Fail as the operating system does, from a certain call on."""
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("point", ["artifact.filled", "artifact.linked", "artifact.synced"])
@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EROFS, DiskFullError),
        (errno.EIO, DiskFullError),
        (errno.EFBIG, ArtifactError),
        (errno.EACCES, ArtifactError),
    ],
)
async def test_a_failed_write_leaves_nothing_and_the_name_free(
    tmp_path: Path, point: str, number: int, error: type[ArtifactError]
) -> None:
    """Whichever step failed; only what every other document would meet ends the run. Case makes two names of one."""
    writer = ArtifactWriter(tmp_path, run_tag=TAG)
    failpoints.arm(point, failing(number))

    with pytest.raises(ArtifactError, match=f"document '7' can't be written: {os.strerror(number)}") as caught:
        await writer.write(document(file_slug="Notes"))
    left = sizes_in(tmp_path)
    failpoints.disarm_all()
    artifact = await writer.write(document("again", file_slug="Notes"))
    writer.confirm(artifact)
    await writer.aclose()

    assert type(caught.value) is error
    assert str(tmp_path) in str(caught.value)
    assert left == {}
    assert sizes_in(tmp_path) == {"Notes.md": 5}


@pytest.mark.parametrize(("point", "failed"), [("artifact.filled", [2, 3]), ("artifact.synced", [0, 1, 2, 3])])
async def test_only_those_it_happened_to_are_told_of_it(tmp_path: Path, point: str, failed: list[int]) -> None:
    """Of a group that is written together some may fit; a folder that can't be synced is everybody's."""
    writer = ArtifactWriter(tmp_path)
    failpoints.arm(point, failing(errno.ENOSPC, after=2 if point == "artifact.filled" else 0))
    told: dict[int, str] = {}
    errors: list[int] = []

    async def write(number: int) -> None:
        try:
            told[number] = text_of(await writer.write(document(str(number), document_id=str(number))))
        except DiskFullError:
            errors.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(write, number)

    assert len(errors) == len(failed)
    assert sorted([*told, *errors]) == [0, 1, 2, 3]
    assert set(artifacts_in(tmp_path)) == {f"{number}.md" for number in told}
    assert len(temporary_in(tmp_path)) == len(told)
    assert all(text == str(number) for number, text in told.items())


def test_what_fails_while_one_is_tidied_up_is_not_told_to_those_that_are_on_disk(tmp_path: Path) -> None:
    """Their files have names and are synced: called failed, they would be in the folder and on no record."""
    jobs = [Job(document(str(number), document_id=str(number))) for number in range(3)]
    filled: set[str] = set()

    def fail_with_the_second() -> None:
        (name,) = {path.name for path in tmp_path.iterdir()} - filled
        filled.add(name)
        if len(filled) == 2:
            (tmp_path / name).unlink()
            (tmp_path / name).mkdir()  # which no file's removal removes
            raise OSError(errno.EFBIG, "too large")

    failpoints.arm("artifact.filled", fail_with_the_second)
    Publisher(tmp_path, TAG).write(jobs)

    assert [text_of(jobs[number].result()) for number in (0, 2)] == ["0", "2"]
    with pytest.raises(ArtifactError, match="document '1' can't be written: too large"):
        jobs[1].result()
    assert artifacts_in(tmp_path) == {"0.md": 1, "2.md": 1}


async def test_a_file_that_replaced_a_failed_artifact_is_not_withdrawn(tmp_path: Path) -> None:
    """Between its name and the error somebody may have put another file there."""
    writer = ArtifactWriter(tmp_path)

    def replace_and_fail() -> None:
        (tmp_path / "7.md").unlink()
        (tmp_path / "7.md").write_text("somebody else's")
        raise OSError(errno.EIO, "broken")

    failpoints.arm("artifact.linked", replace_and_fail)
    with pytest.raises(DiskFullError, match="broken"):
        await writer.write(document())

    assert sizes_in(tmp_path) == {"7.md": 15}


def test_what_the_full_device_says_is_a_full_disk(tmp_path: Path) -> None:
    """The operating system's own words for it, on every Linux and without any rights."""
    with (
        Path("/dev/full").open("wb", buffering=0) as device,
        pytest.raises(DiskFullError, match="no room: No space left on device"),
        reporting(tmp_path, "no room"),
    ):
        fill(TemporaryFile("x", device.fileno()), b"text")


LIMITED = """
import resource, sys, trio
from pathlib import Path
from agent_pipeline.documents import ArtifactWriter
from agent_pipeline.domain.document import Document
from agent_pipeline.errors import ArtifactError

async def main():
    writer = ArtifactWriter(Path(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    for size in (5000, 900, 5000, 1000):
        try:
            writer.confirm(await writer.write(Document(str(size), "x" * size)))
        except ArtifactError as error:
            print(type(error).__name__, error.disposition, str(error).rpartition(": ")[2])
    await writer.aclose()

trio.run(main)
"""


def test_a_file_too_large_for_its_process_fails_alone(tmp_path: Path) -> None:
    """The limit is about one file's size: smaller ones still fit, so it is no full disk."""
    ended = run_to_its_end(LIMITED, tmp_path)

    assert ended.stderr == ""
    assert ended.stdout.splitlines() == ["ArtifactError fail_document File too large"] * 2
    assert sizes_in(tmp_path) == {"1000.md": 1000, "900.md": 900}


SMALL_DISK = """
import json, os, sys, trio
from pathlib import Path
from agent_pipeline.documents import ArtifactWriter, RejectedTexts
from agent_pipeline.domain.document import Document
from agent_pipeline.errors import ArtifactError, DiskFullError

told = {"written": [], "errors": [], "kinds": []}

async def main(folder):
    writer = ArtifactWriter(folder / "out")
    writer.prepare()
    async def write(number):
        try:
            artifact = await writer.write(Document(f"{number:03d}", "x" * 20_000))
        except ArtifactError as error:
            told["errors"].append(str(error).rpartition(": ")[2])
            told["kinds"].append(type(error).__name__)
        else:
            told["written"].append(Path(artifact.path).name)
            writer.confirm(artifact)
    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(write, number)
    await writer.aclose()
    told["left"] = {path.name: path.stat().st_size for path in (folder / "out").iterdir()}
    small = await writer.write(Document("small", "x"))
    told["small"] = Path(small.path).name
    try:
        await RejectedTexts(folder / "rejected").keep(Document("7", "x" * 500_000))
    except DiskFullError:
        told["rejected"] = os.listdir(folder / "rejected")
    os.system(f"mount -o remount,ro {folder}")
    try:
        await writer.write(Document("later", "x"))
    except DiskFullError as error:
        told["read_only"] = str(error).rpartition(": ")[2]
    try:
        writer.prepare()
    except DiskFullError as error:
        told["prepare"] = str(error).rpartition(": ")[2]

trio.run(main, Path(sys.argv[1]))
print(json.dumps(told))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return what runs a program on a disk of this size; its own, in a namespace where this process may mount."""
    folder = str(tmp_path)
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        possible = subprocess.run([*inside, 'mount -t tmpfs none "$1"', "sh", folder], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `unshare` to get a small disk from")
    if possible.returncode != 0:
        pytest.skip("this machine lets nobody mount, not even in a namespace")

    def run(program: str, size: str) -> dict[str, Any]:
        script = 'mount -t tmpfs -o "$4" none "$1" && exec "$2" -c "$3" "$1"'
        command = [*inside, script, "sh", folder, sys.executable, program, size]
        told: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return told

    return run


def test_a_disk_that_is_really_full(small_disk: Callable[..., dict[str, Any]]) -> None:
    """What was told is whole, the rest is not there; the same for a disk that turned read-only."""
    told = small_disk(SMALL_DISK, "size=512k")

    assert len(told["written"]) + len(told["errors"]) == 40
    assert len(told["written"]) > 10
    assert set(told["errors"]) == {"No space left on device"}
    assert set(told["kinds"]) == {"DiskFullError"}
    assert told["left"] == dict.fromkeys(told["written"], 20_000)
    assert told["small"] == "small.md"
    assert told["rejected"] == []
    assert told["read_only"] == told["prepare"] == "Read-only file system"


NO_ROOM_FOR_NAMES = """
import json, sys, trio
from pathlib import Path
from agent_pipeline.documents import ArtifactWriter
from agent_pipeline.domain.document import Document
from agent_pipeline.errors import DiskFullError

async def main(folder):
    writer = ArtifactWriter(folder)
    (folder / "ballast").touch()
    try:
        await writer.write(Document("7", "text"))
    except DiskFullError as error:
        told = {"error": str(error).rpartition(": ")[2], "left": [path.name for path in folder.iterdir()]}
    (folder / "ballast").unlink()
    return told | {"again": Path((await writer.write(Document("7", "text"))).path).name}

print(json.dumps(trio.run(main, Path(sys.argv[1]))))
"""


def test_a_disk_with_room_for_no_further_name(small_disk: Callable[..., dict[str, Any]]) -> None:
    """The file was written, its second name did not fit; with room again, that name is free."""
    told = small_disk(NO_ROOM_FOR_NAMES, "nr_inodes=3")

    assert told == {"error": "No space left on device", "left": ["ballast"], "again": "7.md"}
