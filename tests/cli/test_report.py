"""`report` on the command line: what it prints, how it exits, what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

PROBE = """
import sys
touched = []
sys.addaudithook(lambda event, arguments: touched.append(event) if event.startswith("socket.") else None)
from agent_pipeline.cli import main
code = main(["report", "tiny"])
heavy = {"agents", "openai", "httpx2", "trio_asyncio"} & sys.modules.keys()
print(code, sorted(heavy), touched)
"""


@pytest.fixture
def run_dir(cli: Cli, project: Path) -> Path:
    """A finished run."""
    assert cli("run", "--offline", "--display", "none").code == 0
    (path,) = (project / "logs").glob("tiny-*")
    return path


def test_the_page_is_where_it_says(cli: Cli, run_dir: Path) -> None:
    """The path alone on stdout, so that a script can open it."""
    for named in (run_dir.name, "tiny-", str(run_dir)):
        ran = cli("report", named)

        assert (ran.code, ran.out) == (0, f"{run_dir / 'report.html'}\n")
        assert "3 documents; " in ran.err
    assert (run_dir / "report.html").read_text(encoding="utf-8").lstrip().startswith("<!doctype html>")


def test_a_program_gets_an_object(cli: Cli, run_dir: Path, project: Path) -> None:
    """Its keys are a promise."""
    ran = cli("report", run_dir.name, "--output", "page.html", "--json").json()

    page = project / "page.html"
    assert ran == {
        "path": str(page),
        "size_bytes": page.stat().st_size,
        "state": "completed",
        "documents": 3,
        "rows": 3,
        "detailed": 3,
        "run_id": run_dir.name,
        "exit_code": 0,
    }


def test_two_runs_are_compared(cli: Cli, run_dir: Path, project: Path) -> None:
    """The second is looked for as the first is."""
    assert cli("run", "--offline", "--display", "none", "--limit", "2").code == 0
    (other,) = set((project / "logs").glob("tiny-*")) - {run_dir}

    ran = cli("report", run_dir.name, other.name)

    assert ran.code == 0
    assert "Documents that differ" in (run_dir / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tinny"], "no run 'tinny' in "),
        (["tiny", "nothing"], "no run 'nothing' in "),
        (["logs"], "not a run directory: its name is no run's"),
        (["tiny", "tiny"], "can't be compared with itself; name another run"),
        (["tiny", "--output", "logs"], "logs is a directory; --output names the file to write, "),
        (["tiny", "--output", "none/page.html"], "there is no directory "),
        (["tiny", "--output", "pipeline.yaml"], "pipeline.yaml is there already and no HTML page, so it is left alone"),
    ],
)
def test_what_a_person_gets_wrong_is_said_in_one_sentence(
    cli: Cli, run_dir: Path, project: Path, arguments: list[str], message: str
) -> None:
    """With what to do next; nothing is written."""
    before = (project / "pipeline.yaml").read_bytes()

    ran = cli("report", *arguments, "--json")

    assert ran.code == 3
    assert message in ran.error()["message"]
    assert ran.err.count("\n") == 1
    assert not (run_dir / "report.html").exists()
    assert (project / "pipeline.yaml").read_bytes() == before


def test_keys_of_the_runs_env_file_are_known(
    cli: Cli, run_dir: Path, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also where the report is made from somewhere else; and the environment stays as it was."""
    (project / ".env").write_text("OPENAI_API_KEY=perfectly-plain-words-77\n", encoding="utf-8")
    config = run_dir / "config.yaml"
    config.write_text(f"# perfectly-plain-words-77\n{config.read_text(encoding='utf-8')}", encoding="utf-8")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))

    ran = cli("report", str(run_dir))

    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert ran.code == 0
    assert "perfectly-plain-words-77" not in page
    assert "# [redacted]" in page
    assert "OPENAI_API_KEY" not in os.environ


def test_a_killed_run_is_announced(cli: Cli, run_dir: Path) -> None:
    """The page alone might be taken for the whole."""
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute(sys.argv[2])"
    statement = "UPDATE run SET ended_at = NULL, outcome = NULL"
    subprocess.run([sys.executable, "-c", code, run_dir / "ledger.sqlite3", statement], check=True)

    ran = cli("report", run_dir.name)

    assert ran.code == 0
    assert "the run was killed: the page tells what it had on record" in ran.err


def test_it_needs_no_client_and_no_network(run_dir: Path, project: Path) -> None:
    """It is for looking, on any machine."""
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=project, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "0 [] []"
    assert json.loads((run_dir / "manifest.json").read_bytes())["run_id"] == run_dir.name
