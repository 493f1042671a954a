"""What is printed to be typed can be typed as it is, however this process was started."""

import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from agent_pipeline.cli.typeable import typeable


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A uv project with its environment, in which this process seems to run; nothing of it is on the path."""
    project = tmp_path / "the clone"
    (project / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "agent-pipeline", "pytest"):
        (project / ".venv" / "bin" / name).touch(mode=0o755)
    (project / "pyproject.toml").touch()
    monkeypatch.setattr(sys, "prefix", str(project / ".venv"))
    monkeypatch.setattr(sys, "executable", str(project / ".venv" / "bin" / "python"))
    for name in ("UV_RUN_RECURSION_DEPTH", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(project)
    return project / ".venv"


@pytest.fixture
def under_uv(venv: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That project, once `uv run` has started this process."""
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    return venv.parent


def test_what_uv_run_started_is_typed_with_uv_run(under_uv: Path) -> None:
    """In the clone the command alone is not found."""
    (under_uv / "notes").mkdir()

    assert typeable("agent-pipeline show logs/x") == "uv run agent-pipeline show logs/x"
    assert typeable("pytest") == "uv run pytest"
    assert typeable("pytest", under_uv / "notes") == "uv run pytest"


def test_outside_of_the_project_uv_is_told_which_one(under_uv: Path, tmp_path: Path) -> None:
    """From there uv would find no project, or another one."""
    (under_uv / "inner").mkdir()
    (under_uv / "inner" / "pyproject.toml").touch()

    expected = f"uv run --project '{under_uv}' agent-pipeline check"
    assert typeable("agent-pipeline check", tmp_path) == expected
    assert typeable("agent-pipeline check", under_uv / "inner") == expected


def test_a_project_that_the_environment_names_is_found_from_everywhere(
    under_uv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_PROJECT", str(under_uv))

    assert typeable("agent-pipeline check", tmp_path) == "uv run agent-pipeline check"


def test_an_activated_environment_needs_nothing(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(venv / "bin"))

    assert typeable("agent-pipeline check") == "agent-pipeline check"


def test_an_environment_that_is_not_activated_is_named(venv: Path, tmp_path: Path) -> None:
    """Another program of that name on the path is not this one."""
    assert typeable("agent-pipeline check") == f"'{venv}/bin/agent-pipeline' check"
    assert typeable("pytest") == f"'{venv}/bin/pytest'"

    (tmp_path / "agent-pipeline").touch(mode=0o755)

    assert typeable("agent-pipeline check") == f"'{venv}/bin/agent-pipeline' check"


def test_python_without_an_environment_has_its_scripts_where_the_user_finds_them(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the shims of a version manager, say."""
    monkeypatch.setattr(sys, "base_prefix", str(venv))

    assert typeable("agent-pipeline check") == "agent-pipeline check"


@pytest.mark.parametrize("command", ["ls out", "less agent-pipeline.md", "agent-pipeline-show x"])
def test_other_commands_stay_as_they_are(under_uv: Path, command: str) -> None:
    del under_uv

    assert typeable(command) == command


def test_programs_read_the_bare_command(cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--json` says what to run, not how this shell comes to it; people read what they can type."""
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    monkeypatch.setenv("UV_PROJECT", str(project))

    told, shown = cli("init", "one"), cli("init", "two", "--json")

    assert told.out.endswith(
        "next: cd one && uv run agent-pipeline check\n      uv run agent-pipeline run --offline\n      uv run pytest\n"
    )
    assert shown.json()["next"] == ["cd two && agent-pipeline check", "agent-pipeline run --offline", "pytest"]
