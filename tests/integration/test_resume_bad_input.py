"""A run directory that can't be gone on with: a clear error, exit code 3, and nothing changed."""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from tests.integration.command import Launcher
from tests.integration.project import ONE_CALL, Project, make_project, prose


@pytest.fixture(scope="module")
def finished(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run that ended well."""
    project = make_project(tmp_path_factory.mktemp("finished"), prose(2), stages=ONE_CALL)
    assert launcher.run("run", "--offline", cwd=project.root).exit_code == 0
    return project


def copied(finished: Project, root: Path) -> tuple[Project, Path]:
    """Return a project of its own, and its one run."""
    shutil.copytree(finished.root, root)
    project = Project(root)
    (run,) = project.runs()
    with closing(sqlite3.connect(run / "ledger.sqlite3")) as ledger, ledger:
        ledger.execute("UPDATE run SET config_path = ?", (str(project.config),))
    return project, run


def contents(folder: Path) -> Mapping[str, str]:
    """Return a hash of everything in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def in_ledger(statement: str) -> Callable[[Project, Path], None]:
    """Return what runs a statement on a run's ledger."""

    def damage(_project: Project, run: Path) -> None:
        with closing(sqlite3.connect(run / "ledger.sqlite3")) as ledger, ledger:
            ledger.execute(statement)

    return damage


def overwrite(content: bytes) -> Callable[[Project, Path], None]:
    """Return what puts other bytes in the place of a run's ledger."""

    def damage(_project: Project, run: Path) -> None:
        (run / "ledger.sqlite3").write_bytes(content)

    return damage


def break_config(project: Project, _run: Path) -> None:
    project.config.write_text("name: [", encoding="utf-8")


def cut_ledger(_project: Project, run: Path) -> None:
    whole = (run / "ledger.sqlite3").read_bytes()
    (run / "ledger.sqlite3").write_bytes(whole[: len(whole) // 2])


def garble_ledger(_project: Project, run: Path) -> None:
    whole = bytearray((run / "ledger.sqlite3").read_bytes())
    whole[4096:] = bytes(len(whole) - 4096)
    (run / "ledger.sqlite3").write_bytes(bytes(whole))


DAMAGES: Mapping[str, tuple[Callable[[Project, Path], None], str]] = {
    "no ledger": (lambda _project, run: (run / "ledger.sqlite3").unlink(), "ledger.sqlite3 is missing"),
    "an empty ledger": (overwrite(b""), "ledger"),
    "not a database": (overwrite(b"something else " * 1000), "ledger"),
    "half a ledger": (cut_ledger, "ledger"),
    "zeros in the ledger": (garble_ledger, "ledger"),
    "a newer version": (in_ledger("PRAGMA user_version = 99"), "newer version"),
    "another program's database": (in_ledger("DROP TABLE attempts"), "ledger"),
    "another run's ledger": (in_ledger("UPDATE run SET run_id = 'other'"), "another run"),
    "no pipeline file": (lambda project, _run: project.config.unlink(), "is gone"),
    "a pipeline file with a mistake": (break_config, "pipeline.yaml"),
    "no roles file": (lambda project, _run: project.roles.unlink(), "roles.yaml"),
    "no source": (lambda project, _run: project.documents.unlink(), "documents.json"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_can_not_be_gone_on_with_is_left_alone(
    launcher: Launcher, tmp_path: Path, finished: Project, name: str
) -> None:
    """Whoever has half a run left may still save it, as long as nobody touches it."""
    damage, told = DAMAGES[name]
    project, run = copied(finished, tmp_path / "p")
    damage(project, run)
    before = contents(project.root)

    ended = launcher.run("resume", run, cwd=project.root)

    assert (ended.exit_code, "Traceback" in ended.stderr) == (3, False), ended.stderr
    assert told in ended.stderr
    assert contents(project.root) == before


@pytest.mark.parametrize("text", ["nothing", "trial-1999", ".", "/", "out", "pipeline.yaml", ""])
def test_a_name_of_no_run_is_told(launcher: Launcher, tmp_path: Path, finished: Project, text: str) -> None:
    """With the runs there are."""
    project, _run = copied(finished, tmp_path / "p")
    before = contents(project.root)

    ended = launcher.run("resume", text, cwd=project.root)

    assert (ended.exit_code, "Traceback" in ended.stderr) == (3, False), ended.stderr
    assert contents(project.root) == before


def test_a_run_without_its_logs_goes_on(launcher: Launcher, tmp_path: Path, finished: Project) -> None:
    """The ledger is the truth; the rest can be made again."""
    project, run = copied(finished, tmp_path / "p")
    for file in [*run.iterdir(), *(project.logs / "openai_sdk").rglob("*.*")]:
        if file.name != "ledger.sqlite3":
            file.unlink()

    ended = launcher.run("resume", run, "--json", cwd=project.root)

    assert ended.exit_code == 0, ended.stderr
    assert ended.result["artifacts"]
