"""The disk is full under a log: documents go on, and whoever asks how the run went is told what is missing."""

from pathlib import Path

import pytest
from tests.integration.command import Ended, Launcher, environment
from tests.integration.leavings import Leavings, rows
from tests.integration.project import Project, make_project, prose

SCRIPT = '''"""The command line on a machine where some files are on a full disk."""

import os
import sys

from agent_pipeline.cli import main

FULL = tuple(os.environ["FULL"].split())
real = os.open


def opened(path, flags, *rest, **named):
    full = flags & os.O_CREAT and any(name in str(path) for name in FULL)
    return real("/dev/full", os.O_WRONLY) if full else real(path, flags, *rest, **named)


os.open = opened
sys.exit(main(sys.argv[1:]))
'''


def run_on_full_disk(launcher: Launcher, root: Path, full: str, *arguments: str) -> tuple[Ended, Project]:
    """Run two documents through the built-in stages."""
    project = make_project(root / "project", prose(2))
    script = root / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = ("run", project.config, "--offline", *arguments)
    return launcher.run(*command, cwd=root, env=environment(FULL=full), script=script), project


@pytest.mark.parametrize(
    ("full", "hit"),
    [
        ("trial.log", {"run_log"}),
        ("events.jsonl", {"events"}),
        ("reviews.jsonl", {"reviews"}),
        ("trace_dump- openai_agents-", {"sdk_trace", "sdk_log"}),
        (".jsonl .log", {"run_log", "events", "reviews", "sdk_trace", "sdk_log"}),
    ],
)
def test_run_goes_on_and_reports_what_its_logs_lack(
    launcher: Launcher, tmp_path: Path, full: str, hit: set[str]
) -> None:
    """Nothing of a document is lost; exit code, result, manifest and ledger tell the same."""
    ended, project = run_on_full_disk(launcher, tmp_path, full, "--json")
    (run,) = project.runs()
    left = Leavings(run)

    result = ended.result
    assert (ended.exit_code, result["exit_code"], result["reason"]) == (1, 1, "telemetry_dropped")
    assert result["documents"] == {"total": 2, "succeeded": 2, "failed": 0, "skipped": 0, "cancelled": 0}
    dropped = result["dropped"]
    assert isinstance(dropped, dict)
    assert dropped.keys() == hit
    assert all(count > 0 for count in dropped.values())
    assert left.manifest["dropped"] == dropped
    assert [row["outcome"] for row in left.documents] == ["succeeded", "succeeded"]
    assert rows(run / "ledger.sqlite3", "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert len(list(project.artifacts.iterdir())) == 2
    if "run_log" not in hit:
        assert left.named("PIPELINE_FINISHED")


def test_summary_for_people_names_it_too(launcher: Launcher, tmp_path: Path) -> None:
    """Without --json nobody reads a list of counts."""
    ended, _ = run_on_full_disk(launcher, tmp_path, "trial.log", "--display", "none")

    assert ended.exit_code == 1
    assert "logs are incomplete" in ended.stdout
    assert "run_log" in ended.stdout
    assert "Traceback" not in ended.stderr
