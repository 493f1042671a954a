"""A new user's first minutes, in processes of their own: init, check, run, test, a stage of their own, run again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from agent_pipeline.cli.commands.making import new_files
from agent_pipeline.config.pipeline import load_pipeline_config

FILES = [
    "README.md",
    "documents/budget.md",
    "documents/cancellation.md",
    "documents/nursery.md",
    ".env.example",
    ".gitignore",
    "pipeline.yaml",
    "pytest.ini",
    "roles.yaml",
    "summarise.py",
    "test_summarise.py",
]


def user(folder: Path, *command: str) -> str:
    """Run a command as a user does, with what is installed beside this Python and no key; return its stdout."""
    kept = {name: value for name, value in os.environ.items() if name in {"HOME", "LANG", "VIRTUAL_ENV"}}
    beside = Path(sys.executable).parent
    env = {**kept, "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}", "PYTHONUTF8": "1", "CI": "1"}
    ended = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_a_new_user_gets_from_nothing_to_a_stage_of_their_own(tmp_path: Path) -> None:
    """Exactly what `init` and `stage new` print to go on with."""
    made = user(tmp_path, "agent-pipeline", "init", "my notes")
    assert "next: cd 'my notes' && agent-pipeline check\n" in made
    project = tmp_path / "my notes"

    assert "documents:  3 files (3 .md)" in user(project, "agent-pipeline", "check")
    assert "3 of 3 succeeded" in user(project, "agent-pipeline", "run", "--offline")
    artifacts = sorted((project / "artifacts").iterdir())
    assert [path.name for path in artifacts] == [
        f"documents-{name}.md" for name in ("budget", "cancellation", "nursery")
    ]
    assert artifacts[2].read_text(encoding="utf-8").startswith("# Nurseries\n\n")
    assert "1 passed" in user(project, "pytest", "-q", "-p", "no:cacheprovider")

    told = user(project, "agent-pipeline", "stage", "new", "key_sentence")
    assert "add this line to `stages` in pipeline.yaml: - key_sentence:key_sentence\n" in told
    assert "key_sentence" not in (project / "pipeline.yaml").read_text(encoding="utf-8")
    assert "1 passed" in user(project, "pytest", "-q", "-p", "no:cacheprovider", "test_key_sentence.py")

    user(project, "agent-pipeline", "stage", "new", "second", "--add")
    listed = user(project, "agent-pipeline", "stage", "list")
    assert "  2. second:second: Keep the answer to one question about the document in the field `second`.\n" in listed
    assert "3 of 3 succeeded" in user(project, "agent-pipeline", "run", "--offline", "--clean")
    run = max((project / "logs").glob("my-notes-*"), key=lambda path: path.stat().st_mtime_ns)
    rows = user(project, "agent-pipeline", "export", run.name, "-").splitlines()
    assert len(rows) == 3
    assert all(json.loads(row)["outcome"] == "succeeded" for row in rows)
    assert all(len(path.read_text(encoding="utf-8").splitlines()) <= 40 for path in project.glob("*.py"))


def test_the_files_are_named_and_the_commands_to_go_on(cli: Cli, project: Path) -> None:
    ran = cli("init", "fresh", "--json")

    assert (ran.code, ran.err) == (0, "")
    assert ran.json() == {
        "project": str(project / "fresh"),
        "name": "fresh",
        "files": FILES,
        "next": ["cd fresh && agent-pipeline check", "agent-pipeline run --offline", "pytest"],
        "exit_code": 0,
    }
    assert all((project / "fresh" / name).is_file() for name in FILES)
    assert load_pipeline_config(project / "fresh" / "pipeline.yaml").name == "fresh"
    assert "OPENAI_API_KEY=\n" in (project / "fresh" / ".env.example").read_text(encoding="utf-8")
    assert {".env", "logs/"} <= set((project / "fresh" / ".gitignore").read_text(encoding="utf-8").split())


def test_this_folder_will_do_where_nothing_of_it_is_there(cli: Cli, project: Path) -> None:
    """Other files stay what they are."""
    (project / "pipeline.yaml").unlink()
    (project / "roles.yaml").unlink()

    ran = cli("init")

    assert ran.code == 0
    assert "\nnext: agent-pipeline check\n" in ran.out
    assert (project / "documents.json").is_file()


def test_nothing_is_overwritten_and_nothing_made_beside_it(cli: Cli, project: Path) -> None:
    """Whatever has the name, a link to nowhere too."""
    folder = project / "mine"
    folder.mkdir()
    (folder / "roles.yaml").write_text("kept", encoding="utf-8")
    (folder / "summarise.py").symlink_to("nowhere")

    ran = cli("init", "mine", "--json")

    assert ran.code == 3
    assert ran.error()["message"] == (
        "mine: roles.yaml, summarise.py already there, and nothing is overwritten; nothing was changed"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["roles.yaml", "summarise.py"]
    assert (folder / "roles.yaml").read_text(encoding="utf-8") == "kept"


def test_a_file_is_no_folder(cli: Cli) -> None:
    ran = cli("init", "roles.yaml")

    assert (ran.code, ran.err) == (3, "error: roles.yaml is a file; name a folder, or one that is still to be made\n")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), RuntimeError("odd")])
def test_what_fails_half_way_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    """A half-made project would be refused at the next try."""
    written: list[str] = []

    class Failing(dict[str, str]):
        def items(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
            for name, content in super().items():
                if len(written) == 3:
                    raise error
                written.append(name)
                yield name, content

    with pytest.raises(Exception if not isinstance(error, KeyboardInterrupt) else KeyboardInterrupt) as caught:
        new_files.write_new_files(tmp_path / "deep" / "er", Failing(dict.fromkeys(("a", "b/c", "b/d/e", "f"), "x")))

    assert list(tmp_path.iterdir()) == []
    if isinstance(error, OSError):
        assert "No space left on device; nothing was changed" in str(caught.value)


def test_a_folder_that_may_not_be_written_is_named(cli: Cli, project: Path) -> None:
    (project / "documents").write_text("a file where a folder has to be", encoding="utf-8")
    for name in ("pipeline.yaml", "roles.yaml"):
        (project / name).unlink()

    ran = cli("init", ".")

    assert ran.code == 3
    assert "documents/budget.md: can't be made: Not a directory; nothing was changed" in ran.err
    assert not (project / "README.md").exists()


@pytest.mark.parametrize(
    ("folder", "name"), [("Übung 2026!", "bung-2026"), ("...", "my-pipeline"), ("x" * 80, "x" * 64), ("a.b-", "a.b")]
)
def test_any_folder_makes_a_name_that_a_pipeline_may_have(cli: Cli, project: Path, folder: str, name: str) -> None:
    assert cli("init", folder, "--json").json()["name"] == name
    assert load_pipeline_config(project / folder / "pipeline.yaml").name == name


def test_a_folder_with_control_characters_moves_no_cursor(cli: Cli) -> None:
    ran = cli("init", "bad\x1b[2Jname")

    assert ran.code == 0
    assert "\x1b" not in ran.out + ran.err
