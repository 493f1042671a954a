"""Real commands in processes of their own."""

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.conftest import Cli, start

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ("-m", "agent_pipeline")
KEYS = {
    "run_id": str,
    "run_dir": str,
    "outcome": str,
    "exit_code": int,
    "documents": dict,
    "usage": dict,
    "cost_usd": float,
    "duration_seconds": float,
    "artifacts": list,
    "next": list,
}


def test_the_smoke_script_makes_artifacts_without_a_key(project: Path) -> None:
    """The README's first command: it says that it simulates, and the result is complete."""
    script = str(ROOT / "scripts" / "smoke.py")

    process = start([script, "--config", "pipeline.yaml", "--limit", "2", "--expect", "3", "--json"], cwd=project)
    out, err = process.communicate(timeout=60)

    result = json.loads(out.splitlines()[-1])
    assert {name: type(result[name]) for name in KEYS} == KEYS
    assert result["documents"] == {"total": 2, "succeeded": 2, "failed": 0, "skipped": 0, "cancelled": 0}
    assert [Path(path).is_file() for path in result["artifacts"]] == [True, True]
    assert sorted(map(str, (project / "out").iterdir())) == sorted(result["artifacts"])
    assert result["outcome"] == "completed"
    assert result["usage"]["attempts"] == 2
    assert result["simulator"] is True
    assert "OPENAI_API_KEY is not set" in err
    assert "simulator" in err
    assert "2/2 document" in err
    # Two documents are there, three were wanted.
    assert "Smoke test failed: expected at least 3 documents but found 2" in err
    assert process.returncode == result["exit_code"] == 1
    assert "Traceback" not in err


def _hanging(project: Path, terminal_side: int, *, grace: str) -> subprocess.Popen[str]:
    """Start a run on a terminal whose provider never answers."""
    (project / "faults.yaml").write_text("faults: [{kind: hang, rate: 1.0}]\n", encoding="utf-8")
    with (project / "pipeline.yaml").open("a", encoding="utf-8") as config:
        config.write(f"limits: {{timeouts: {{grace: {grace}}}}}\n")
    process = start(
        [*COMMAND, "run", "--offline", "--faults", "faults.yaml", "--json"],
        cwd=project,
        env={"TERM": "xterm", "CI": ""},
        stderr=terminal_side,
    )
    os.close(terminal_side)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_with_its_summary_and_gives_the_terminal_back(
    project: Path, number: signal.Signals, code: int
) -> None:
    """What was done is told, the live view is gone, and nothing is drawn after it."""
    terminal, side = pty.openpty()
    process = _hanging(project, side, grace="0.1")

    seen = _read_until(terminal, b"3 in flight")
    process.send_signal(number)
    rest = _read_until(terminal, None)
    out, _ = process.communicate(timeout=30)
    os.close(terminal)

    result = json.loads(out.splitlines()[-1])
    assert process.returncode == result["exit_code"] == code
    assert result["outcome"] == "incomplete"
    assert result["reason"] == f"signal:{number.name}"
    assert result["documents"]["cancelled"] == 3
    assert (Path(result["run_dir"]) / "manifest.json").is_file()
    assert b"Traceback" not in seen + rest
    assert (seen + rest).count(b"\x1b[?25l") == (seen + rest).count(b"\x1b[?25h") == 1
    assert (seen + rest).rstrip().endswith(b"\x1b[?25h")


def test_a_third_signal_gives_the_terminal_back(project: Path) -> None:
    """The live view hid the cursor, and nobody unwinds it any more."""
    terminal, side = pty.openpty()
    process = _hanging(project, side, grace="null")

    seen = _read_until(terminal, b"3 in flight")
    process.send_signal(signal.SIGINT)
    seen += _read_until(terminal, b"Ctrl-C again")
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    rest = _read_until(terminal, None)
    process.communicate(timeout=30)
    os.close(terminal)

    assert time.monotonic() - begun < 5
    assert process.returncode == 130
    assert b"Traceback" not in seen + rest
    assert (seen + rest).rfind(b"\x1b[?25h") > (seen + rest).rfind(b"\x1b[?25l")


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(6))
def test_ctrl_c_during_imports_ends_at_once(project: Path, trial: int) -> None:
    """Nothing is open yet, and nothing can hang."""
    process = start([*COMMAND, "run", "--offline", "--quiet"], cwd=project)
    time.sleep(0.3 + 0.3 * trial)

    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    process.communicate(timeout=5)

    assert process.returncode in {130, -signal.SIGINT}


@pytest.mark.parametrize(("closed", "code"), [("<&- >&-", 0), ("<&- >&- 2>&-", 0), (">&- 2>&- nope", 2)])
def test_a_process_may_be_started_without_its_streams(project: Path, closed: str, code: int) -> None:
    """As cron or `>&-` have it: what would be told goes nowhere."""
    shell = subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} -m agent_pipeline runs {closed}"], cwd=project, check=False
    )

    assert shell.returncode == code


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("command", [("export", "tiny", "-"), ("metrics", "tiny")])
def test_results_that_did_not_fit_are_no_success(project: Path, cli: Cli, command: tuple[str, ...]) -> None:
    """`export RUN - > file` on a full disk: half a table must not pass for one."""
    assert cli("run", "--offline", "--quiet").code == 0

    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = subprocess.run(
            [sys.executable, *COMMAND, *command],
            cwd=project,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert process.returncode == 1
    assert process.stderr == "error: the results can't be written on standard output: No space left on device\n"


@pytest.mark.parametrize("asked", [["--help"], ["stage", "new", "--help"], ["--version"]])
def test_a_reader_of_help_may_leave(project: Path, asked: list[str]) -> None:
    """`--help | head`: typer writes that, not we."""
    reading, writing = os.pipe()
    os.close(reading)

    process = subprocess.run(
        [sys.executable, *COMMAND, *asked], cwd=project, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)

    assert (process.returncode, process.stderr) == (0, "")


def test_a_broken_pipe_of_something_else_is_a_bug(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    """Only the reader of what we say may leave."""
    monkeypatch.setattr("agent_pipeline.cli.commands.list_runs", _break_a_pipe)

    assert (ran := cli("runs")).code == 70
    assert "BrokenPipeError" in ran.err


def _break_a_pipe(**_: object) -> int:
    raise BrokenPipeError("of a child")


@pytest.mark.parametrize("failing", [False, True])
def test_a_reader_that_leaves_costs_neither_the_run_nor_its_exit_code(project: Path, failing: bool) -> None:  # noqa: FBT001
    """`run | head -1`: Python gets no SIGPIPE, and what nobody reads is not written."""
    if failing:
        (project / "faults.yaml").write_text("faults: [{kind: status, status: 400}]\n", encoding="utf-8")
    faults = ["--faults", "faults.yaml"] if failing else []
    process = start([*COMMAND, "run", "--offline", *faults], cwd=project)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.readline()  # it has begun to tell
    process.stderr.close()

    code = process.wait(60)

    assert code == (1 if failing else 0)
    (run,) = (project / "logs").glob("tiny-*")
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["result"]["exit_code"] == code
    assert manifest["result"]["documents"]["total"] == 3


def test_the_simulator_is_a_process_of_its_own_and_stops_on_a_signal(project: Path) -> None:
    """Other clients find it by the address on stdout; it says what it is."""
    process = start([*COMMAND, "simulate", "--json"], cwd=project)
    assert process.stdout is not None
    announced = json.loads(process.stdout.readline())

    second = start([*COMMAND, "simulate", "--port", str(announced["port"])], cwd=project)
    _, refused = second.communicate(timeout=30)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert announced["base_url"] == f"http://127.0.0.1:{announced['port']}/v1"
    assert second.returncode == 3
    assert f"port {announced['port']} can't be used" in refused
    assert "Traceback" not in refused + err
    assert process.returncode == 130
    assert "simulator" in err


def _read_until(descriptor: int, wanted: bytes | None) -> bytes:
    """Read what a terminal shows, up to some words, or until its last writer has gone."""
    seen = b""
    while wanted is None or wanted not in seen:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # Linux: EIO when the other side is closed
            part = b""
        if not part:
            assert wanted is None, seen.decode(errors="replace")
            return seen
        seen += part
    return seen


def test_the_module_and_the_command_are_one() -> None:
    """`python -m agent_pipeline` is for places without the script on PATH."""
    process = start([*COMMAND, "--version"], cwd=ROOT)
    out, _ = process.communicate(timeout=30)

    assert out.startswith("agent-pipeline ")
    assert process.returncode == 0


@pytest.mark.parametrize(("closed", "prints"), [("2>&-", True), (">&-", False), ("0<&- >&- 2>&-", False)])
def test_a_stream_that_is_closed_costs_neither_the_run_nor_its_files(
    project: Path, closed: str, *, prints: bool
) -> None:
    """Some supervisors start programs so; and what is opened next must not become their stderr."""
    command = shlex.join([sys.executable, *COMMAND, "run", "--offline", "--display", "log"])

    process = subprocess.run(
        ["/bin/sh", "-c", f"{command} {closed}"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert process.returncode == 0, process.stderr
    manifest = json.loads(next((project / "logs").glob("*/manifest.json")).read_text(encoding="utf-8"))
    assert manifest["result"]["outcome"] == "completed"
    assert manifest["result"]["left_open"] == []
    assert manifest["dropped"] == {}
    assert ("run completed" in process.stdout) is prints
