"""Runs inside somebody's own program: what was theirs before is theirs afterwards."""

import gc
import logging
import os
import resource
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import IN_THIS_PROCESS, Project, make_project, prose

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.errors import AgentPipelineError, ConfigError, EnvVarMissingError

LOGGERS = (None, "openai", "openai.agents", "openai.agents.tracing", "openai.agents.http", "httpx2", "asyncio")


def settings() -> Mapping[str, object]:
    """Return what a process has that a library must not change."""
    return {
        "signals": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)},
        # How many objects are frozen sinks as they are freed; only somebody else's freeze or unfreeze would show.
        "collector": (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count() > 0),
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE),
        "records": (logging.logThreads, logging.logProcesses, logging.logMultiprocessing, logging.raiseExceptions),
        "folder": os.getcwd(),  # noqa: PTH109 - compared, not used
        "mask": _umask(),
        "environment": dict(os.environ),
        "loggers": {name: _logger(logging.getLogger(name)) for name in LOGGERS},
    }


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _logger(logger: logging.Logger) -> tuple[object, ...]:
    return logger.level, logger.propagate, logger.disabled, tuple(logger.handlers), tuple(logger.filters)


def open_things() -> Mapping[str, object]:
    """Return what a run may open: descriptors, and threads but for Trio's idle ones."""
    gc.collect()
    entries = list(Path("/proc/self/fd").iterdir())  # with the descriptor of the listing itself, gone by now
    descriptors = {entry.name: str(entry.readlink()) for entry in entries if entry.is_symlink()}
    threads = {thread.name for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}
    return {"descriptors": descriptors, "threads": threads}


async def run(project: Project) -> Leavings:
    """Run offline over real sockets and with real threads; return what it left."""
    before = set(project.runs())
    result = await Pipeline.from_config(project.config, options=RunOptions(offline=True)).run()
    assert result.exit_code == 0
    (path,) = set(project.runs()) - before
    left = Leavings(path)
    assert_complete(left)
    return left


async def test_two_runs_in_one_program_leave_it_as_it_was(tmp_path: Path) -> None:
    """A notebook or a server runs a pipeline again and again; nothing may pile up, no setting may change."""
    project = make_project(tmp_path, prose(3), stages=IN_THIS_PROCESS)
    await run(project)  # imports, caches and Trio's own pipes
    kept, opened = settings(), open_things()

    first = await run(project)
    second = await run(project)

    assert settings() == kept
    assert open_things() == opened
    assert first.name != second.name
    assert len(first.sdk_log) == len(second.sdk_log)
    assert len(first.traces) == len(second.traces)


async def test_a_run_that_could_not_begin_leaves_the_program_as_it_was(tmp_path: Path) -> None:
    """Failing half-way through opening closes what was opened."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS)
    await run(project)
    kept, opened = settings(), open_things()
    (tmp_path / "out" / "logs").rename(tmp_path / "out" / "old")
    (tmp_path / "out" / "logs").write_text("a file, not a folder", encoding="utf-8")

    with pytest.raises(AgentPipelineError, match="logs"):
        await Pipeline.from_config(project.config, options=RunOptions(offline=True)).run()

    assert settings() == kept
    assert open_things() == opened


async def test_two_runs_at_once_keep_apart(tmp_path: Path) -> None:
    """Each run has its own ledger, log and traces, also where both are in one program."""
    projects = [make_project(tmp_path / name, prose(4), stages=IN_THIS_PROCESS) for name in ("one", "two")]
    kept = settings()

    async with trio.open_nursery() as nursery:
        for project in projects:
            nursery.start_soon(run, project)

    assert settings() == kept
    for project in projects:
        (path,) = project.runs()
        left = Leavings(path)
        groups = sorted(str(item["group_id"]) for item in left.traces if item["object"] == "trace")
        assert len(left.attempts) == 4
        assert groups == [f"doc-d000{n}" for n in (1, 2, 3, 4)]


def test_a_run_from_ordinary_code_returns_its_result(tmp_path: Path) -> None:
    """The two lines of the README, without Trio in sight."""
    project = make_project(tmp_path, prose(3), stages=IN_THIS_PROCESS)
    kept = settings()

    result = Pipeline.from_config(project.config, options=RunOptions(offline=True)).run_sync(limit=2)

    assert (result.outcome, result.documents.total, len(result.artifacts)) == ("completed", 2, 2)
    assert settings() == kept


async def test_what_a_run_lacks_is_said_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours as it is, in no group, with nothing to clean up."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS)

    with pytest.raises(EnvVarMissingError, match="OPENAI_API_KEY"):
        await Pipeline.from_config(project.config).run()
    with pytest.raises(ConfigError, match="faults"):
        await Pipeline.from_config(
            project.config, options=RunOptions(offline=True, faults=str(tmp_path / "faults.yaml"))
        ).run()

    assert not (tmp_path / "out").exists()
