"""A small project on disk, and ways to run commands on it: in this process, or in one of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.runs.sample import Sample, copy_sample, make_sample

from agent_pipeline.cli import main

ROLES = """\
project: tiny
env: test
providers:
  openai: {env_key: OPENAI_API_KEY}
roles:
  namer: {provider: openai, model: gpt-5-mini, params: {max_tokens: 200}}
"""
PIPELINE = """\
name: tiny
roles: roles.yaml
source: {path: documents.json}
artifacts: out
logs: logs
stages: [name]
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, object]:
        """Return the last line of stdout as an object."""
        value = json.loads(self.out.splitlines()[-1])
        assert isinstance(value, dict)
        return value

    def error(self) -> dict[str, str]:
        """Return what that object says went wrong."""
        error = self.json()["error"]
        assert isinstance(error, dict)
        return error


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of three documents in the working directory; the environment is put back, whatever `.env` sets."""
    (tmp_path / "roles.yaml").write_text(ROLES, encoding="utf-8")
    (tmp_path / "pipeline.yaml").write_text(PIPELINE, encoding="utf-8")
    entries = [
        {"url": f"file:{name}", "markdown": f"# {name}\n\nWords about {name}.\n"} for name in ("ants", "bees", "cod")
    ]
    (tmp_path / "documents.json").write_text(json.dumps({"scraped_documents": entries}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    os.environ.pop("OPENAI_API_KEY", None)
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


Cli = Callable[..., Ran]


@pytest.fixture
def cli(project: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line in this process."""
    del project
    return _runner(capsys)


@pytest.fixture(scope="session")
def pristine_run(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A run with documents of every outcome; only to be copied."""
    return make_sample(tmp_path_factory.mktemp("pristine") / "project")


@pytest.fixture
def past(pristine_run: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """That run, to be looked at or damaged, with its project as the working directory."""
    copied = copy_sample(pristine_run, tmp_path / "project")
    monkeypatch.chdir(copied.project.root)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return copied


@pytest.fixture
def look(past: Sample, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line in this process, where that run is."""
    del past
    return _runner(capsys)


def _runner(capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


def start(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None, stderr: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Start Python with these arguments, without a key."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"} | dict(env or {})
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
