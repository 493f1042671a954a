"""A disk that is really full, under a run over workers: it ends as one in one process, and is gone on with."""

import json
import subprocess
import sys
import tempfile
from typing import Any

import pytest
from tests.integration.command import ROOT, environment
from tests.integration.on_a_small_disk import DOCUMENTS

pytestmark = pytest.mark.slow

NAMESPACE = ("unshare", "--map-root-user", "--mount")
MAY_MOUNT = (*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt")


@pytest.fixture(autouse=True)
def own_mounts() -> None:
    """Nobody else sees what is mounted."""
    if subprocess.run(MAY_MOUNT, capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a file system of his own")


def told(place: str, engine: str) -> Any:  # noqa: ANN401 - what a program printed
    """Run on a small disk there, twice; return what it tells of that."""
    program = [sys.executable, "-m", "tests.integration.on_a_small_disk", engine, place]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*NAMESPACE, *program, folder],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("place", "first"),
    [
        ("artifacts", ["incomplete", 1, "disk_full"]),
        ("logs", ["LedgerError", "ledger_failed", "the manifest can't be written: [Errno 28] No space left on device"]),
    ],
)
def test_a_run_on_a_full_disk_loses_nothing(place: str, first: list[object]) -> None:
    """What is called done is there, no more and no less; with room again the rest follows."""
    over, alone = (told(place, engine) for engine in ("ray", "local"))

    assert over["first"] == alone["first"] == first
    files, done = over["first_left"]
    assert files == done < DOCUMENTS
    assert (over["second"], over["second_left"]) == (["completed", 0, None], [DOCUMENTS, DOCUMENTS])
    assert over["problems"] == []
    assert (over["ends"], over["artifacts"]) == (alone["ends"], alone["artifacts"])
