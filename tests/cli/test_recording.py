"""`run --record` and `run --replay`: what they say, what they refuse, and that a replay needs nobody."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Cli, start

from agent_pipeline.testing import SimulatorThread

NO_SOCKETS = """
import sys


def refuse(event, arguments):
    if event in {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"}:
        print(f"a socket was used: {event} {arguments}", flush=True)
        import os
        os._exit(99)

sys.addaudithook(refuse)
from agent_pipeline.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_run_is_recorded_and_replayed_without_a_key(cli: Cli, project: Path) -> None:
    """The second run says what it is, costs nothing, and makes the same artifacts."""
    first = cli("run", "--offline", "--record", "tape", "--display", "none")
    artifacts = {path.name: path.read_bytes() for path in (project / "out").iterdir()}
    second = cli("run", "--replay", "tape", "--clean", "--display", "none")

    assert (first.code, second.code) == (0, 0)
    assert "recording into tape: prompts and answers are written there as they are, but for keys" in first.err
    assert "recording:  3 exchanges written to tape\n" in first.out
    assert "replay: every answer comes from the recording tape; no model is asked, nothing is spent" in second.err
    assert "simulator" not in second.err
    assert "requests:   3, in 3 HTTP attempts, replayed: no model was asked\n" in second.out
    assert "cost:       nothing (replayed; the same tokens would have cost $" in second.out
    assert "recording:  3 exchanges replayed from tape\n" in second.out
    assert {path.name: path.read_bytes() for path in (project / "out").iterdir()} == artifacts


def test_programs_are_told_as_well(cli: Cli, project: Path) -> None:
    """The same figures as of the recorded run, and that they were replayed."""
    first = cli("run", "--offline", "--record", "tape", "--json", "--quiet").json()
    second = cli("run", "--replay", "tape", "--json", "--quiet").json()

    assert (first["replayed"], second["replayed"], first["simulator"], second["simulator"]) == (
        False,
        True,
        True,
        False,
    )
    assert second["usage"] == first["usage"]
    assert second["cost_usd"] == first["cost_usd"]
    assert second["recording"] == {
        "mode": "replay",
        "directory": str(project / "tape"),
        "exchanges": 3,
        "missed": 0,
        "unused": 0,
        "redacted": 0,
    }


def test_a_changed_prompt_is_told_with_its_difference(cli: Cli, project: Path) -> None:
    """The error that a person sees first when a test of theirs is replayed after an edit."""
    cli("run", "--offline", "--record", "tape", "--quiet")
    roles = project / "roles.yaml"
    roles.write_text(roles.read_text(encoding="utf-8").replace("max_tokens: 200", "max_tokens: 300"), encoding="utf-8")

    second = cli("run", "--replay", "tape", "--display", "none")

    assert second.code == 1
    assert "replay_miss: document " in second.out
    assert "body.max_output_tokens differs: recorded 200, asked 300" in second.out
    assert "0 exchanges replayed from tape, 3 requests not found in it, 3 of its exchanges not asked for" in second.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--record", "a", "--replay", "b"), "a run is recorded or replayed, not both"),
        (("--replay", "b", "--offline"), "leave out --offline"),
        (("--replay", "b", "--faults", "f.yaml"), "leave out --faults"),
    ],
)
def test_flags_that_contradict_each_other_are_a_usage_error(flags: tuple[str, ...], words: str, cli: Cli) -> None:
    """Before anything is read or made."""
    ran = cli("run", *flags)

    assert ran.code == 2
    assert words in " ".join(ran.err.replace("│", " ").split())


def test_a_recording_that_is_not_there_is_told_in_one_sentence(cli: Cli, project: Path) -> None:
    """And no run begins."""
    ran = cli("run", "--replay", "tape", "--json")

    assert ran.code == 3
    assert ran.error()["code"] == "recording_invalid"
    assert ran.error()["message"] == f"there is no recording {project / 'tape'}; a run with --record makes one"
    assert not (project / "logs").exists()


def test_a_resumed_run_stays_what_it_was(cli: Cli, project: Path) -> None:
    """A run that was recorded goes on being recorded, and a replay asks nobody later either."""
    cli("run", "--offline", "--record", "tape", "--limit", "1", "--quiet")
    [run] = sorted(path.name for path in (project / "logs").iterdir() if path.name.startswith("tiny-"))
    resumed = cli("resume", run, "--limit", "3", "--display", "none")
    replayed = cli("run", "--replay", "tape", "--limit", "2", "--quiet", "--json").json()
    again = cli("resume", Path(str(replayed["run_dir"])).name, "--limit", "3", "--display", "none")

    assert "recording:  2 exchanges written to tape\n" in resumed.out
    assert (again.code, "replay: every answer comes from the recording" in again.err) == (0, True)
    assert "recording:  1 exchanges replayed from tape, 2 of its exchanges not asked for\n" in again.out


def test_a_server_that_was_recorded_is_not_needed_any_more(cli: Cli, project: Path) -> None:
    """Recorded over a socket, replayed with nothing that listens."""
    with SimulatorThread(faults=[{"kind": "status", "status": 503, "script": [2]}]) as server:
        first = cli("run", "--record", "tape", "--base-url", f"openai={server.base_url}", "--quiet", "--json").json()
    second = cli("run", "--replay", "tape", "--quiet", "--json").json()

    assert (first["exit_code"], second["exit_code"]) == (0, 0)
    assert second["usage"] == first["usage"]
    usage = second["usage"]
    assert isinstance(usage, dict)
    assert usage["attempts"] == 4
    manifest = json.loads((Path(str(second["run_dir"])) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["resources"]["connections"] == {"opened": 0, "closed": 0}
    assert cli("verify", str(second["run_dir"])).code == 0
    del project


@pytest.mark.slow
def test_a_replay_uses_no_socket(cli: Cli, project: Path) -> None:
    """The process ends at the first one, whoever opens it."""
    cli("run", "--offline", "--record", "tape", "--quiet")

    process = start(["-c", NO_SOCKETS, "run", "--replay", "tape", "--quiet"], cwd=project)
    out, err = process.communicate(timeout=100)

    assert (process.returncode, "completed: 3 of 3 documents succeeded, replayed" in out) == (0, True), out + err


@pytest.mark.slow
def test_what_a_killed_run_recorded_is_replayed_and_gone_on_with(cli: Cli, project: Path) -> None:
    """Killed at any moment: what was answered is there, the rest is a miss, and a resumed run records it."""
    (project / "slow.yaml").write_text("latency: {min: 0.2, max: 3.0}\n", encoding="utf-8")
    process = start(
        ["-m", "agent_pipeline", "run", "--offline", "--record", "tape", "--faults", "slow.yaml"], cwd=project
    )
    _wait_for(lambda: list((project / "tape").glob("documents/*.jsonl")), process)
    process.kill()
    process.communicate(timeout=60)
    held = len(list((project / "tape").glob("documents/*.jsonl")))

    first = cli("run", "--replay", "tape", "--quiet", "--json").json()
    [killed] = [
        path.name for path in (project / "logs").glob("tiny-*") if path.name != Path(str(first["run_dir"])).name
    ]
    resumed = cli("resume", killed, "--quiet")
    second = cli("run", "--replay", "tape", "--quiet", "--json").json()

    assert 1 <= held < 3
    counts = first["documents"]
    assert isinstance(counts, dict)
    assert (counts["succeeded"], counts["failed"]) == (held, 3 - held)
    failures = first["failures"]
    assert isinstance(failures, list)
    assert {failure["code"] for failure in failures} == {"replay_miss"}
    assert (resumed.code, second["exit_code"]) == (0, 0)


def _wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
