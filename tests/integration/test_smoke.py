"""The shipped configs and the smoke script, on the project's own documents."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.command import ROOT, Ended, Launcher, environment
from tests.integration.leavings import Leavings, assert_complete

from agent_pipeline.simulator import DEFECT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a folder with the scripts and configs of the project, as in a fresh clone."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "smoke.py", tmp_path / "scripts")
    return tmp_path


def left_by(clone: Path) -> Leavings:
    """Return what the one run left."""
    (run,) = (clone / "logs").glob("smoke_pipeline-*")
    left = Leavings(run)
    assert_complete(left)
    return left


def test_the_gpt5_nano_config_is_valid_as_it_is(launcher: Launcher, tmp_path: Path) -> None:
    """It needs a key to run, and nothing else."""
    ended = launcher.run("check", ROOT / "configs" / "smoke_gpt5_nano.json", "--json", cwd=tmp_path)

    assert ended.exit_code == 0, ended.stderr
    assert ended.result["valid"] is True
    assert ended.result["missing_keys"] == {"openai": "OPENAI_API_KEY"}
    roles = ended.result["roles"]
    assert isinstance(roles, dict)
    assert {role["model"] for role in roles.values()} == {"gpt-5-nano"}


def test_the_gpt5_nano_config_runs_offline(launcher: Launcher, clone: Path) -> None:
    """The simulator stands in for the provider, and every place where it does says so."""
    config = clone / "configs" / "smoke_gpt5_nano.json"

    ended = launcher.run("run", config, "--offline", "--limit", "3", "--json", cwd=clone)

    assert ended.exit_code == 0, ended.stderr
    left = left_by(clone)
    assert "simulator" in ended.stderr
    assert ended.result["simulator"] is left.manifest["simulator"] is True
    assert {row["model"] for row in left.attempts} == {"gpt-5-nano"}
    assert left.named("OPENAI_CLIENT skip")[0].fields["reason"] == "no_api_key"
    assert left.named("OPENAI_CLIENT")[0].fields["simulator"] == "true"


def test_a_second_run_cleans_what_the_first_wrote_and_nothing_else(launcher: Launcher, clone: Path) -> None:
    """`--clean` is safe to type: what somebody changed or put there stays."""
    smoke = clone / "scripts" / "smoke.py"
    first = launcher.run("--limit", "3", "--json", cwd=clone, script=smoke)
    artifacts = clone / "artifacts" / "smoke_output"
    written = sorted(artifacts.iterdir())
    written[0].write_text("edited by hand", encoding="utf-8")
    (artifacts / "mine.md").write_text("somebody's own", encoding="utf-8")

    second = launcher.run("--limit", "3", "--clean", "--quiet", cwd=clone, script=smoke)

    assert (first.exit_code, second.exit_code) == (0, 0), second.stderr
    assert len(written) == 3
    assert written[0].read_text(encoding="utf-8") == "edited by hand"
    assert (artifacts / "mine.md").exists()
    assert len(list(artifacts.iterdir())) == 5
    assert len(second.stdout.splitlines()) == 1
    assert "3 of 3 documents succeeded" in second.stdout


def test_no_document_of_the_project_is_marked_as_a_defect() -> None:
    """The simulator rejects marked ones, and the smoke run would fail for the texts that explain the mark."""
    assert DEFECT not in (ROOT / "configs" / "smoke_documents.json").read_text(encoding="utf-8")


@pytest.mark.slow
def test_all_documents_of_the_project_become_artifacts(launcher: Launcher, clone: Path) -> None:
    """Markdown, code, notebooks, long, tiny and non-ASCII texts."""
    ended = launcher.run("--limit", "24", "--expect", "24", "--json", cwd=clone, script=clone / "scripts" / "smoke.py")

    assert ended.exit_code == 0, ended.stderr
    assert len(list((clone / "artifacts" / "smoke_output").iterdir())) == 24
    assert len(left_by(clone).documents) == 24


@pytest.mark.slow
def test_the_readme_command_works_as_a_process_of_its_own(clone: Path) -> None:
    """Nothing imported before it: five artifacts, exit 0, no warning on stderr."""
    done = subprocess.run(
        [sys.executable, "scripts/smoke.py", "--limit", "5"],
        cwd=clone,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    ended = Ended(done.returncode, done.stdout, done.stderr)

    assert ended.exit_code == 0, ended.stderr
    assert "Warning" not in ended.stderr
    assert len(list((clone / "artifacts" / "smoke_output").iterdir())) == 5
    left_by(clone)
