"""Writers killed at any step: what is on record is there and whole, and after recovery nothing else is."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.documents.writing import TAG, artifacts_in, document, publish_only, run_to_its_end, sizes_in

from agent_pipeline.documents import ArtifactWriter, Recovered


def recover(folder: Path, *recorded: str) -> Recovered:
    """Begin a further session of the run."""
    return ArtifactWriter(folder, run_tag=TAG).recover(iter(recorded))


KILLED_AT = """
import os, signal, sys, trio
from pathlib import Path
from agent_pipeline import failpoints
from agent_pipeline.documents import ArtifactWriter
from agent_pipeline.domain.document import Document

async def main(folder, tag, point):
    writer = ArtifactWriter(Path(folder), run_tag=tag)
    recorded = await writer.write(Document("recorded", "text"))
    sys.stdout.write(recorded.path)
    sys.stdout.flush()
    if point == "confirmed":
        writer.confirm(recorded)
        await writer.aclose()
        os.kill(os.getpid(), signal.SIGKILL)
    failpoints.arm(point, lambda: os.kill(os.getpid(), signal.SIGKILL))
    await writer.write(Document("lost", "text"))

trio.run(main, *sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("point", "left", "removed"),
    [
        ("artifact.filled", ["recorded.md"], Recovered(temporary=2, unrecorded=0)),
        ("artifact.linked", ["lost.md", "recorded.md"], Recovered(temporary=2, unrecorded=1)),
        ("artifact.synced", ["lost.md", "recorded.md"], Recovered(temporary=2, unrecorded=1)),
        ("confirmed", ["recorded.md"], Recovered(temporary=0, unrecorded=0)),
    ],
)
def test_killed_at_any_step_only_what_is_on_record_stays(
    tmp_path: Path, point: str, left: list[str], removed: Recovered
) -> None:
    """The row of `recorded` is on disk, its confirmation never came; `lost` has none."""
    killed = run_to_its_end(KILLED_AT, tmp_path, TAG, point)
    found = list(artifacts_in(tmp_path))
    ArtifactWriter(tmp_path).prepare()

    recovered = recover(tmp_path, killed.stdout)

    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")
    assert killed.stdout == str(tmp_path / "recorded.md")
    assert (found, recovered) == (left, removed)
    assert sizes_in(tmp_path) == {"recorded.md": 4}


KILLED_WHILE_RECOVERING = """
import os, signal, sys
from pathlib import Path
from agent_pipeline.documents import ArtifactWriter

removals = int(sys.argv[3])

def watch(event, arguments):
    global removals
    if event == "os.remove":
        removals -= 1
        if removals < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
ArtifactWriter(Path(sys.argv[1]), run_tag=sys.argv[2]).recover([])
"""


def test_a_recovery_that_is_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    """After each removal there is enough left to know what else has to go."""
    for removals in range(4):
        for name in "ab":
            publish_only(tmp_path, document(document_id=name))
        killed = run_to_its_end(KILLED_WHILE_RECOVERING, tmp_path, TAG, str(removals))
        assert killed.returncode == -signal.SIGKILL

        recover(tmp_path)

        assert sizes_in(tmp_path) == {}


KILLED_AT_WORK = """
import os, sys, trio
from pathlib import Path
from agent_pipeline.documents import ArtifactWriter
from agent_pipeline.domain.document import Document

async def main(folder, ledger, tag):
    writer = ArtifactWriter(Path(folder), run_tag=tag)
    rows = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async def lane(lane):
        number = 0
        while True:
            number += 1
            artifact = await writer.write(Document(f"{lane}.{number}", "x" * 100_000))
            os.write(rows, f"{artifact.path}\\n".encode())
            writer.confirm(artifact)
            sys.stdout.write(".")
            sys.stdout.flush()
    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(lane, number)

trio.run(main, *sys.argv[1:])
"""


@pytest.mark.parametrize(
    "rows",
    [3, 40, *(pytest.param(rows, marks=pytest.mark.slow) for rows in random.Random(7).choices(range(200), k=30))],
)
def test_killed_at_work_what_is_on_record_is_there_and_whole_and_nothing_else(tmp_path: Path, rows: int) -> None:
    """At whatever moment: between any two steps of any of eight documents at once."""
    folder, ledger = tmp_path / "out", tmp_path / "ledger"
    command = [sys.executable, "-c", KILLED_AT_WORK, str(folder), str(ledger), TAG]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(rows)
        process.kill()
    recorded = ledger.read_text().splitlines() if ledger.exists() else []

    recover(folder, *recorded)

    assert len(recorded) >= rows
    assert sizes_in(folder) == {Path(path).name: 100_000 for path in recorded}
