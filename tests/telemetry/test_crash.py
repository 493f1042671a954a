"""What is on disk after the end nobody can prepare for."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from agent_pipeline.telemetry import parse_line

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
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)

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
