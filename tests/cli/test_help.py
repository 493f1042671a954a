"""Help of every command: quick, light, and with every flag that all commands have."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Cli
from typer.main import get_command

from agent_pipeline.cli.app import app

HEAVY = {"agents", "asyncio", "httpx2", "openai", "pydantic", "sqlite3", "trio", "trio_asyncio"}
MOST_CPU = 0.5
"""Seconds that help may take, as the contract has it; of CPU, since others may share the machine."""

PROBE = """
import json, sys
from agent_pipeline.cli import main
code = main([*sys.argv[1:], "--help"])
print(json.dumps([code, sorted(sys.modules)]))
"""


def commands(known: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - typer's own
    """Yield the words of every command, those of groups too."""
    known = get_command(app) if known is None else known
    yield path
    for name, one in getattr(known, "commands", {}).items():
        yield from commands(one, (*path, name))


def unmeasured() -> dict[str, str]:
    """Return the environment of a process that is judged by what it costs: no coverage, and bytecode is kept."""
    slowed = ("COVERAGE_", "COV_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(slowed)}


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_of_every_command_is_light(words: tuple[str, ...]) -> None:
    """The SDK alone takes seconds; nobody waits so long to read a flag."""
    run = subprocess.run(
        [sys.executable, "-c", PROBE, *words], capture_output=True, text=True, check=True, env=unmeasured()
    )

    code, modules = json.loads(run.stdout.splitlines()[-1])
    assert code == 0
    assert not HEAVY & set(modules)
    assert run.stderr == ""


@pytest.mark.parametrize("words", [words for words in commands() if words not in {(), ("roles",)}], ids=" ".join)
def test_every_command_speaks_to_programs_and_tells_its_bugs(words: tuple[str, ...]) -> None:
    """`--json` and `--debug` are on all of them."""
    known: Any = get_command(app)
    for word in words:
        known = known.commands[word]

    flags = {flag for param in known.params for flag in param.opts}

    if not hasattr(known, "commands"):
        assert {"--json", "--debug"} <= flags
        assert known.help


@pytest.mark.slow
def test_help_is_quick() -> None:
    """Measured as CPU of the whole process, the least of several: what else the machine does is not its doing."""
    took = {words: min(_cpu([*words, "--help"]) for _ in range(5)) for words in commands()}

    assert {words: seconds for words, seconds in took.items() if seconds > MOST_CPU} == {}


def _cpu(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "agent_pipeline", *arguments]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=unmeasured())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["shwo"], "show"),
        (["wy"], "why"),
        (["trase"], "trace"),
        (["docter"], "doctor"),
        (["roles", "lst"], "list"),
        (["runs", "--limt", "3"], "--limit"),
        (["trace", "x", "--htpp"], "--http"),
        (["why", "x", "y", "--jsn"], "--json"),
    ],
)
def test_what_is_misspelt_is_guessed(cli: Cli, typed: list[str], meant: str) -> None:
    """With exit code 2, since nothing was done."""
    ran = cli(*typed)

    assert ran.code == 2
    assert meant in ran.err.splitlines()[-1]


@pytest.mark.parametrize("typed", [["why"], ["why", "run"], ["show"], ["roles", "test"]])
def test_what_is_missing_is_named(cli: Cli, typed: list[str]) -> None:
    """In the word that help has for it."""
    ran = cli(*typed)

    assert ran.code == 2
    assert "Missing argument" in ran.err


COMPLETE = "_AGENT_PIPELINE_COMPLETE"


def complete(cwd: Path, *words: str) -> list[str]:
    """Return what bash would offer for the last word."""
    environment = {"COMP_WORDS": " ".join(["agent-pipeline", *words]), "COMP_CWORD": str(len(words))}
    run = subprocess.run(
        [sys.executable, "-m", "agent_pipeline"],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", COMPLETE: "complete_bash", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_a_shell_completes_commands_flags_runs_and_files(cli: Cli, project: Path) -> None:
    """Runs by name, the newest first; files that may be a pipeline, and folders."""
    for name in ("tiny-2030-01-01_00h00m00s-aaaaaa", "tiny-2031-01-01_00h00m00s-bbbbbb"):
        (project / "logs" / name).mkdir(parents=True)
    del cli

    assert complete(project, "wh") == ["why"]
    assert complete(project, "trace", "--ht") == ["--http"]
    newest, oldest = "tiny-2031-01-01_00h00m00s-bbbbbb", "tiny-2030-01-01_00h00m00s-aaaaaa"
    assert complete(project, "show", "ti") == [newest, oldest]
    assert complete(project, "resume", "logs/tiny-2030") == [f"logs/{oldest}"]
    assert complete(project, "verify", "nope") == []
    assert complete(project, "check", "p") == ["pipeline.yaml"]
    assert complete(project, "check", "l") == ["logs/"]


def test_a_shell_gets_a_script(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """To be written where it is read at the shell's start."""
    run = subprocess.run(
        [sys.executable, "-m", "agent_pipeline", "--show-completion", "bash"],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    del monkeypatch

    assert COMPLETE in run.stdout + run.stderr or "shell" in run.stderr.lower()
