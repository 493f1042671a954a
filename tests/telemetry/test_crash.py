"""What is on disk after the end nobody can prepare for."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.documents.writing import unmeasured

from agent_pipeline.telemetry import (
    EventsSink,
    RunLogSink,
    Sink,
    continue_file,
    open_telemetry,
    parse_json_object,
    parse_line,
    read_lines,
)

ENDLESS = """
import sys
from pathlib import Path
import trio
from agent_pipeline.domain.events import PipelineFailure
from agent_pipeline.telemetry import EventsSink, RunLogSink, open_telemetry

async def main():
    folder = Path(sys.argv[1])
    sinks = [RunLogSink(folder / "run.log"), EventsSink(folder / "events.jsonl")]
    async with open_telemetry(sinks, capacity=5000) as t:
        position = 0
        while True:
            t.emit(PipelineFailure(str(position), "s", None, "code", 'a "long" text\\n' * (position % 50)))
            position += 1
            if position % 100 == 0:
                await trio.sleep(0.001)

trio.run(main)
"""


def test_sigkill_tears_at_most_the_last_line(tmp_path: Path) -> None:
    """Whatever was written before can be read."""
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)])
    files = [tmp_path / "run.log", tmp_path / "events.jsonl"]
    deadline = time.monotonic() + 30

    while time.monotonic() < deadline and not all(path.exists() and path.stat().st_size > 500_000 for path in files):
        time.sleep(0.02)
    process.kill()

    assert process.wait() == -signal.SIGKILL
    log, events = (path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1] for path in files)
    documents = [parse_line(line).fields["doc"] for line in log]
    assert len(documents) > 100
    assert documents == sorted(set(documents), key=int)
    assert all(json.loads(line)["event"] == "PIPELINE_FAILURE" for line in events)


SESSION = """
import os, sys
from pathlib import Path
import trio
from agent_pipeline.domain.events import PipelineFailure
from agent_pipeline.telemetry import EventsSink, RunLogSink, continue_file, open_telemetry

# The kernel may stop anywhere in a write that it is killed in; in small pieces it does so often enough to be seen.
write = os.write
os.write = lambda descriptor, data: write(descriptor, bytes(data[:101]))

async def main():
    folder, session = Path(sys.argv[1]), sys.argv[2]
    sinks = [
        RunLogSink(folder / "run.log", open_with=continue_file),
        EventsSink(folder / "events.jsonl", open_with=continue_file),
    ]
    async with open_telemetry(sinks, capacity=10**9) as telemetry:
        for position in range(10**9):
            telemetry.emit(PipelineFailure(f"{session} {position}", "s", None, "code", "a text " * (position % 50)))
            if position % 100 == 0:
                await trio.sleep(0.001)

trio.run(main)
"""


def _torn_bytes(folder: Path) -> dict[str, int]:
    """Return the size of the torn end of each file that has one."""
    sizes: dict[str, int] = {}
    for name, parse in (("run.log", parse_line), ("events.jsonl", parse_json_object)):
        lines = list(read_lines(folder / name, parse))
        assert [line.problem for line in lines[:-1] if line.problem is not None] == []
        if lines[-1].torn:
            sizes[str(folder / name)] = (folder / name).stat().st_size - lines[-1].offset
    return sizes


def _kill_sessions(files: list[Path], count: int) -> Counter[tuple[str, int]]:
    """Kill sessions one after the other; return what they tore: paths and sizes of torn ends."""
    moments = random.Random(count)
    torn: Counter[tuple[str, int]] = Counter()
    folder = files[0].parent
    for session in range(count):
        enough = [50_000 + (file.stat().st_size if file.exists() else 0) for file in files]
        process = subprocess.Popen([sys.executable, "-c", SESSION, str(folder), str(session)])
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not all(
            file.exists() and file.stat().st_size > size for file, size in zip(files, enough, strict=True)
        ):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        torn.update(_torn_bytes(folder).items())
    return torn


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
async def test_killed_sessions_leave_files_that_can_be_gone_on_with(tmp_path: Path, kills: int) -> None:
    """Each line can be read, at most one per file and kill is lost, and that is told."""
    files = [tmp_path / "run.log", tmp_path / "events.jsonl"]
    torn = _kill_sessions(files, kills)
    sinks: list[Sink] = [RunLogSink(files[0], open_with=continue_file), EventsSink(files[1], open_with=continue_file)]

    async with open_telemetry(sinks):
        pass

    log = [line.value for line in read_lines(files[0], parse_line)]
    events = [line.value for line in read_lines(files[1], parse_json_object)]
    assert None not in log
    assert None not in events
    known = [(line.event, line.fields) for line in log if line is not None]
    told = Counter((fields["path"], int(fields["removed_bytes"])) for name, fields in known if name == "FILE_REPAIRED")
    assert told == torn
    assert torn or kills < 30, "no kill tore anything, so that nothing was tried"
    for written in (
        [fields["doc"] for name, fields in known if name == "PIPELINE_FAILURE"],
        [str(event["document_id"]) for event in events if event is not None and event["event"] == "PIPELINE_FAILURE"],
    ):
        counts = Counter(int(document.split(" ")[0]) for document in written)
        assert written == [f"{session} {number}" for session in range(kills) for number in range(counts[session])]


FULL_DISK = """
import resource, sys
from pathlib import Path
import trio
from agent_pipeline.domain.events import Review
from agent_pipeline.telemetry import EventsSink, ReviewsSink, RunLogSink, open_telemetry

async def main():
    folder = Path(sys.argv[1])
    sinks = [RunLogSink(folder / "run.log"), EventsSink(folder / "events.jsonl"), ReviewsSink(folder / "reviews.jsonl")]
    async with open_telemetry(sinks) as telemetry:
        for cycle in range(1000):
            telemetry.emit(Review("1", "review", cycle, True, "x" * 50, ""))
    print(telemetry.dropped, telemetry.statistics().written)
    print(telemetry.statistics().errors["run_log"])

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
trio.run(main)
"""


def test_full_disk_is_counted_and_the_run_goes_on(tmp_path: Path) -> None:
    """Each line is either whole in the file or counted as dropped."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=unmeasured())

    files = {"run_log": "run.log", "events": "events.jsonl", "reviews": "reviews.jsonl"}
    lines = {name: (tmp_path / file).read_text().split("\n")[:-1] for name, file in files.items()}
    assert done.stdout.splitlines()[0] == (
        f"{ ({name: 1000 - len(found) for name, found in lines.items()}) } "
        f"{ ({name: len(found) for name, found in lines.items()}) }"
    )
    assert 0 < len(lines["run_log"]) < 1000
    assert [parse_line(line).fields["cycle"] for line in lines["run_log"]] == [
        str(number) for number in range(len(lines["run_log"]))
    ]
    assert all(json.loads(line)["document_id"] == "1" for name in ("events", "reviews") for line in lines[name])
    assert "File too large" in done.stdout
    assert done.stderr == ""
