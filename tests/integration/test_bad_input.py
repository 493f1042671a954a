"""Configs, sources and folders that can't be used: one message, exit code 3, and nothing made."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.integration.command import Ended, Launcher, environment
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import IN_THIS_PROCESS, ONE_CALL, Project, make_project, prose
from tests.integration.provider import SeparateSimulator
from tests.unprivileged import read_only_folder, unprivileged

from agent_pipeline.cli import main

Spoil = Callable[[Project], None]


def replaced(file: str, old: str, new: str) -> Spoil:
    """Return what replaces words in one of the project's files."""

    def spoil(project: Project) -> None:
        path = project.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return spoil


def written(file: str, text: str) -> Spoil:
    """Return what writes one of the project's files anew."""

    def spoil(project: Project) -> None:
        (project.root / file).write_text(text, encoding="utf-8")

    return spoil


def removed(file: str) -> Spoil:
    """Return what removes one of the project's files."""

    def spoil(project: Project) -> None:
        (project.root / file).unlink()

    return spoil


def in_the_way(name: str) -> Spoil:
    """Return what puts a file where a folder is wanted."""

    def spoil(project: Project) -> None:
        (project.root / "out").mkdir()
        (project.root / "out" / name).write_text("a file, not a folder", encoding="utf-8")

    return spoil


KEY = "sk-proj-" + "Ab1" * 16

SPOILT: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "typo in the pipeline file": (
        replaced("pipeline.yaml", '"stages"', '"stage"'),
        ("pipeline.yaml:", "stage", "did you mean", "stages"),
    ),
    "typo deep in the pipeline file": (
        replaced("pipeline.yaml", '"max_delay"', '"max_dely"'),
        ("pipeline.yaml:", "limits.retry.max_dely", "max_delay"),
    ),
    "typo in the roles file": (
        replaced("roles.yaml", '"provider": "openai"', '"provder": "openai"'),
        ("roles.yaml:", "defaults.provder", "provider"),
    ),
    "not YAML": (written("pipeline.yaml", "name: [unclosed\n"), ("pipeline.yaml:",)),
    "no pipeline file": (removed("pipeline.yaml"), ("pipeline.yaml", "no such file")),
    "no roles file": (removed("roles.yaml"), ("roles.yaml", "no such file")),
    "unknown provider": (
        replaced("roles.yaml", '"provider": "openai"', '"provider": "opnai"'),
        ("roles.yaml:", "opnai", "openai"),
    ),
    "pasted key": (replaced("roles.yaml", "OPENAI_API_KEY", KEY), ("roles.yaml:", "key")),
    "unknown stage": (
        replaced("pipeline.yaml", "own_stages:summarise", "own_stages:summarize"),
        ("own_stages:summarize",),
    ),
    "stage with a bug": (written("own_stages.py", "import does_not_exist\n"), ("own_stages", "does_not_exist")),
    "timeouts upside down": (
        replaced("pipeline.yaml", '"retry"', '"timeouts": {"attempt": 500}, "retry"'),
        ("attempt", "stage", "pipeline.yaml:"),
    ),
    "no source": (removed("documents.json"), ("documents.json",)),
    "empty source": (written("documents.json", ""), ("documents.json", "empty")),
    "source without documents": (written("documents.json", "[]"), ("documents.json", "no documents")),
    "malformed source": (written("documents.json", '[{"id": 1,,}]'), ("documents.json:1:", "JSON")),
    "source of another shape": (written("documents.json", '{"docs": []}'), ("documents.json", "scraped_documents")),
    "two of one id": (
        written("documents.json", '[{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]'),
        ("documents.json", "'a'"),
    ),
    "artifacts are a file": (in_the_way("artifacts"), ("artifacts",)),
    "logs are a file": (in_the_way("logs"), ("logs",)),
}


def everything(project: Project) -> dict[str, bytes | None]:
    """Return all that is in the project's folder."""
    found = (path for path in project.root.rglob("*") if "__pycache__" not in path.parts)
    return {str(path): path.read_bytes() if path.is_file() else None for path in found}


def assert_one_message(ended: Ended, words: tuple[str, ...]) -> None:
    """Assert that stderr holds one error with these words, and stdout nothing but its JSON."""
    assert ended.exit_code == 3, ended.stderr
    assert ended.stderr.count("error: ") == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stdout.splitlines()) == 1
    message = ended.result["error"]
    assert isinstance(message, dict)
    assert [word for word in words if word not in message["message"]] == [], message["message"]
    assert ended.result["exit_code"] == 3


@pytest.mark.parametrize("name", SPOILT)
def test_what_can_not_be_used_is_refused_before_anything_is_made(
    launcher: Launcher, simulator: SeparateSimulator, tmp_path: Path, name: str
) -> None:
    """Whoever mistypes gets a place and a word to search for, and no half run to clean up."""
    spoil, words = SPOILT[name]
    project = make_project(tmp_path, prose(2), stages=ONE_CALL, base_url=simulator.base_url)
    spoil(project)
    before, requests = everything(project), simulator.requests()

    ended = launcher.run("run", project.config, "--json", cwd=tmp_path)

    assert_one_message(ended, words)
    assert KEY not in ended.stderr + ended.stdout
    assert simulator.requests() == requests
    made = everything(project).keys() - before.keys()
    allowed = {str(project.artifacts), str(project.artifacts.parent)} if name == "logs are a file" else set()
    assert made <= allowed


def test_a_read_only_artifacts_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Found before the first request is paid for."""
    with read_only_folder({}) as artifacts, TemporaryDirectory() as name:
        project = make_project(Path(name), prose(1), stages=IN_THIS_PROCESS)
        project.root.chmod(0o777)
        replaced("pipeline.yaml", "out/artifacts", "roles.yaml")(project)
        assert main(["run", str(project.config), "--offline"]) == 3  # nobody can import what is root's own
        capsys.readouterr()
        replaced("pipeline.yaml", '"artifacts": "roles.yaml"', f'"artifacts": "{artifacts}"')(project)
        with unprivileged():
            code = main(["run", str(project.config), "--offline", "--json"])

        assert not (project.root / "out").exists()
    written = capsys.readouterr()
    assert_one_message(Ended(code, written.out, written.err), (str(artifacts), "ermission"))


@pytest.mark.parametrize("name", ["typo in the roles file", "no roles file", "unknown stage", "malformed source"])
def test_check_finds_the_same(launcher: Launcher, tmp_path: Path, name: str) -> None:
    """What a run would refuse is known without one."""
    spoil, words = SPOILT[name]
    project = make_project(tmp_path, prose(2), stages=ONE_CALL)
    spoil(project)

    assert_one_message(launcher.run("check", project.config, "--json", cwd=tmp_path), words)


def test_malformed_documents_fail_alone(launcher: Launcher, simulator: SeparateSimulator, tmp_path: Path) -> None:
    """One bad entry is one failed document; those beside it are worked on."""
    lines = [
        '{"id": "good", "text": "Fine words."}',
        '{"id": "torn", "text": ',
        '["a list"]',
        '{"id": "number", "text": 7}',
    ]
    project = make_project(tmp_path, [], stages=ONE_CALL, base_url=simulator.base_url)
    (tmp_path / "documents.jsonl").write_text("\n".join(lines), encoding="utf-8")
    replaced("pipeline.yaml", "documents.json", "documents.jsonl")(project)

    ended = launcher.run("run", project.config, "--json", cwd=tmp_path)

    (run,) = project.runs()
    left = Leavings(run)
    assert_complete(left)
    assert ended.exit_code == 1
    assert "Traceback" not in ended.stderr
    assert [row["outcome"] for row in left.documents] == ["succeeded", "failed", "failed", "failed"]
    assert {row["error_code"] for row in left.documents[1:]} == {"document_invalid"}
    assert all("documents.jsonl:" in str(row["error"]) for row in left.documents[1:])


def test_an_empty_standard_input_is_an_invalid_source(launcher: Launcher, tmp_path: Path) -> None:
    """Known only once it was read, so the run that was begun ends in order."""
    project = make_project(tmp_path, [], stages=ONE_CALL)
    replaced("pipeline.yaml", '"documents.json"', '"-"')(project)

    ended = launcher.run("run", project.config, "--offline", "--json", cwd=tmp_path)

    assert ended.exit_code == 3
    assert "stdin" in ended.stderr
    assert "Traceback" not in ended.stderr
    (run,) = project.runs()
    assert_complete(Leavings(run))
    assert Leavings(run).run["reason"] == "input_invalid"


def test_a_missing_key_is_no_reason_to_touch_anything(launcher: Launcher, tmp_path: Path) -> None:
    """Without the key nothing can come of the run, so the artifacts that `--clean` is for stay until one can."""
    project = make_project(tmp_path, prose(1), stages=ONE_CALL)
    first = launcher.run("run", project.config, "--offline", "--json", cwd=tmp_path)
    before = everything(project)

    ended = launcher.run("run", project.config, "--clean", "--json", cwd=tmp_path)

    assert (first.exit_code, ended.exit_code) == (0, 5)
    assert "OPENAI_API_KEY" in ended.stderr
    assert "--offline" in ended.stderr
    assert everything(project) == before


def test_a_key_from_the_env_file_is_used(launcher: Launcher, simulator: SeparateSimulator, tmp_path: Path) -> None:
    """`.env` beside the config counts, and the real environment wins over it."""
    project = make_project(tmp_path, prose(1), stages=ONE_CALL, base_url=simulator.base_url)
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-the-file\n", encoding="utf-8")

    ended = launcher.run("check", project.config, "--json", cwd=tmp_path, env=environment())

    assert json.dumps(ended.result).find("from-the-file") == -1
    assert ended.result["missing_keys"] == {}


@pytest.mark.parametrize("text", ["faults: [{kind: nonsense}]\n", None])
def test_a_bad_faults_file_is_found_in_time(launcher: Launcher, tmp_path: Path, text: str | None) -> None:
    """The simulator's own config is a config."""
    project = make_project(tmp_path, prose(1), stages=ONE_CALL)
    faults = tmp_path / "faults.yaml"
    if text is not None:
        faults.write_text(text, encoding="utf-8")

    ended = launcher.run("run", project.config, "--offline", "--faults", faults, "--json", cwd=tmp_path)

    assert_one_message(ended, ("faults.yaml",))
    assert not (tmp_path / "out").exists()
