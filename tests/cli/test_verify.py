"""`verify` on the command line: what it prints, how it exits, and what it leaves alone."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Cli
from tests.compose import leaking

PROBE = """
import sys
touched = []
sys.addaudithook(lambda event, arguments: touched.append(event) if event.startswith("socket.") else None)
from agent_pipeline.cli import main
code = main(["verify", "tiny"])
heavy = {"agents", "openai", "httpx2", "trio_asyncio"} & sys.modules.keys()
print(code, sorted(heavy), touched)
"""


@pytest.fixture
def run_dir(cli: Cli, project: Path) -> Path:
    """A finished run."""
    assert cli("run", "--offline", "--display", "none").code == 0
    (path,) = (project / "logs").glob("tiny-*")
    return path


def test_a_whole_run_is_verified(cli: Cli, run_dir: Path) -> None:
    """By its name, the beginning of it, or its path."""
    for named in (run_dir.name, "tiny-", str(run_dir), f"logs/{run_dir.name}"):
        ran = cli("verify", named)

        assert (ran.code, ran.err) == (0, "")
        first, second, last = ran.out.splitlines()
        assert first == f"{run_dir.name}: nothing differs"
        assert second.startswith("looked at:  1 session, 3 documents, 3 artifacts, 3 attempts, 3 stage results, ")
        assert last == f"run:        {run_dir}"


def test_each_difference_is_a_line(cli: Cli, project: Path, run_dir: Path) -> None:
    """With the file it concerns, what was expected and what was found."""
    changed = next((project / "out").iterdir())
    changed.write_text("mine\x1b[31m now", encoding="utf-8")

    ran = cli("verify", run_dir.name)

    assert ran.code == 1
    assert ran.out.splitlines()[0] == f"{run_dir.name}: 1 difference"
    (line,) = (line for line in ran.out.splitlines() if line.startswith("difference: "))
    assert line.startswith("difference: artifact_changed: document ")
    assert str(changed) in line
    assert "(expected ['" in line


def test_notes_are_told_and_do_no_harm(cli: Cli, run_dir: Path) -> None:
    """A missing manifest is what a kill may leave."""
    (run_dir / "manifest.json").unlink()

    ran = cli("verify", run_dir.name)

    assert ran.code == 0
    assert "note:       manifest_missing: there is no manifest" in ran.out


def test_a_program_gets_an_object(cli: Cli, run_dir: Path) -> None:
    """Its keys are a promise."""
    whole = cli("verify", run_dir.name, "--json").json()
    (run_dir / "reviews.jsonl").write_text("{}\n", encoding="utf-8")
    damaged = cli("verify", run_dir.name, "--json").json()

    assert (whole["verified"], whole["exit_code"], whole["differences"], whole["notes"]) == (True, 0, [], [])
    assert (whole["run_id"], whole["run_dir"]) == (run_dir.name, str(run_dir))
    assert isinstance(whole["counts"], dict)
    assert whole["counts"]["documents"] == 3
    assert (damaged["verified"], damaged["exit_code"]) == (False, 1)
    differences = damaged["differences"]
    assert isinstance(differences, list)
    assert {one["code"] for one in differences} == {"line_unreadable", "file_changed"}
    assert all(one.keys() == {"code", "what", "where", "expected", "found"} for one in differences)


@pytest.mark.parametrize("named", ["nope", "", "/", "logs"])
def test_what_is_no_run_is_said_to_be_none(cli: Cli, run_dir: Path, named: str) -> None:
    """With the runs there are."""
    ran = cli("verify", named, "--json")

    assert ran.code == 3
    assert ran.error()["code"] == "run_invalid"


def test_it_is_light_and_stays_at_home(run_dir: Path) -> None:
    """A check that takes seconds to import, or asks a provider, is run by nobody."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "0 [] []"
    assert done.stderr == ""


def test_a_strict_run_names_what_it_left_open(cli: Cli, project: Path) -> None:
    """In the summary, for people."""
    config = project / "pipeline.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("[name]", "[tests.compose.leaking:leak, name]"))
    try:
        ran = cli("run", "--offline", "--strict-shutdown", "--display", "none", "--limit", "1")
        lenient = cli("run", "--offline", "--display", "none", "--limit", "1", "--json")
    finally:
        leaking.clean_up()

    assert ran.code == 1
    assert "reason:     the run left something open" in ran.out
    assert "left open:  thread 'forgotten'\n            handler NullHandler of the logger" in ran.out
    assert "            file descriptor " in ran.out
    left_open = lenient.json()["left_open"]
    assert isinstance(left_open, list)
    assert (lenient.code, len(left_open)) == (0, 3)
