"""Tools and stages that misbehave: the process ends all the same, and says who it was."""

import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.integration.command import Ended, Launcher, Process, wait_until
from tests.integration.leavings import Leavings, assert_complete, rows
from tests.integration.project import Project, make_project, prose
from tests.integration.test_signals import assert_readable, ended_after, logged

from agent_pipeline.domain.document import JsonValue

STAGES = '''
import asyncio
import sys
import threading
import time

import trio
from pydantic import BaseModel

from agent_pipeline import stage


class Summary(BaseModel):
    summary: str


async def swallow(topic: str) -> str:
    """Look the topic up."""
    while True:
        try:
            await trio.sleep(3600)
        except trio.Cancelled:
            continue  # whoever writes this has not read Trio's manual


async def nap(topic: str) -> str:
    """Look the topic up."""
    time.sleep(NAP)
    return "found"


def nap_in_thread(topic: str) -> str:
    """Look the topic up."""
    time.sleep(NAP)
    return "found"


async def wait_for_thread(topic: str) -> str:
    """Look the topic up."""
    return await trio.to_thread.run_sync(nap_in_thread, topic)


async def leave(topic: str) -> str:
    """Look the topic up."""
    sys.exit(3)


async def spin(topic: str) -> str:
    """Look the topic up."""
    while True:
        pass


@stage(role="writer")
async def ask(document, context):
    answer = await context.run_agent("writer", "Look the topic up.", Summary, tools=[TOOL])
    return document.with_fields(summary=answer.summary)
'''

QUICK: Mapping[str, JsonValue] = {"timeouts": {"grace": 0.1, "abandon": 0.5}}

WATCHED = """
import sys

from agent_pipeline.compose import Pipeline, RunOptions

options = RunOptions(offline=True, own_process=True, stall_after=0.8)
sys.exit(Pipeline.from_config(sys.argv[1], options=options).run_sync().exit_code)
"""


def misbehaving(root: Path, tool: str, *, nap: float = 3600, documents: int = 1) -> Project:
    """Make a project whose agent has one of these tools."""
    text = STAGES.replace("TOOL", tool).replace("NAP", str(nap))
    return make_project(root, prose(documents), stages=("own_stages:ask",), own_stages=text, limits=QUICK)


def start(launcher: Launcher, project: Project) -> Process:
    """Start a run, and wait until its tool is called."""
    process = launcher.start("run", project.config, "--offline", cwd=project.root)
    wait_until(lambda: logged(project, "AGENT_EVENT event=tool_start") >= 1, 30, lambda: process.stderr)
    return process


def left_by(project: Project) -> Leavings:
    """Return what the one run left."""
    (run,) = project.runs()
    return Leavings(run)


def trees(project: Project) -> list[str]:
    """Return the trees of the one run."""
    (run,) = project.runs()
    return [path.read_text(encoding="utf-8") for path in sorted(run.glob("tasks/tree-*.txt"))]


def line_of(project: Project, text: str) -> int:
    """Return the line of the project's stages that holds a text."""
    lines = (project.root / "own_stages.py").read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def assert_abandoned(ended: Ended, project: Project, where: str, *, code: int) -> None:
    """Assert that the process left by itself, named the culprit, and that its files can be read."""
    assert ended.exit_code == code
    assert re.search(rf"^left without waiting for d0001 \(stage ask\) at .*{where}; ", ended.stderr, re.MULTILINE)
    left = left_by(project)
    assert_readable(left)
    tree = trees(project)[-1]
    assert tree.startswith("tasks did not end after cancellation\n")
    assert re.search(where, tree)
    (abandoned,) = left.named("PIPELINE_ABANDONED")
    assert re.search(where, abandoned.fields["culprits"])


@pytest.mark.slow
def test_tool_that_swallows_cancellation_is_left_behind(launcher: Launcher, tmp_path: Path) -> None:
    """One signal is enough, and whoever sent it learns which document it was."""
    project = misbehaving(tmp_path, "swallow")
    process = start(launcher, project)

    ended = ended_after(process, signal.SIGTERM)

    assert_abandoned(ended, project, rf"own_stages\.py:{line_of(project, 'trio.sleep(3600)')} swallow", code=143)


@pytest.mark.slow
@pytest.mark.parametrize(("tool", "text"), [("nap", "time.sleep(3600)"), ("spin", "pass")])
def test_tool_that_holds_the_loop_is_left_behind(launcher: Launcher, tmp_path: Path, tool: str, text: str) -> None:
    """Trio never learns of the signal; the watchdog's thread does."""
    project = misbehaving(tmp_path, tool)
    process = start(launcher, project)

    ended = ended_after(process, signal.SIGINT)

    assert_abandoned(ended, project, rf"own_stages\.py:({line_of(project, text)}|\d+) {tool}", code=130)


@pytest.mark.slow
def test_three_signals_leave_a_held_loop_at_once(launcher: Launcher, tmp_path: Path) -> None:
    """Without waiting for anything that is configured."""
    project = misbehaving(tmp_path, "nap")
    process = start(launcher, project)
    begun = time.monotonic()

    ended = ended_after(process, signal.SIGINT, signal.SIGINT, signal.SIGINT)

    assert time.monotonic() - begun < 3
    assert ended.exit_code == 130
    assert_readable(left_by(project))


def test_sync_tool_in_a_thread_holds_nobody(launcher: Launcher, tmp_path: Path) -> None:
    """No thread can be cancelled, but its document can; the process does not wait for it either."""
    project = misbehaving(tmp_path, "nap_in_thread")
    process = start(launcher, project)

    ended = ended_after(process, signal.SIGTERM)

    assert ended.exit_code == 143
    left = left_by(project)
    assert_complete(left)
    assert [row["outcome"] for row in left.documents] == ["cancelled"]


@pytest.mark.slow
def test_tool_that_insists_on_its_thread_is_left_behind(launcher: Launcher, tmp_path: Path) -> None:
    """Trio waits for such a thread; the farewell says where it is, for the task only waits for it."""
    project = misbehaving(tmp_path, "wait_for_thread")
    process = start(launcher, project)

    ended = ended_after(process, signal.SIGTERM)

    assert ended.exit_code == 143
    task = rf"own_stages\.py:{line_of(project, 'to_thread')} wait_for_thread"
    thread = r"thread nap_in_thread from \S+ at \S+/own_stages\.py:\d+ nap_in_thread"
    assert re.search(rf"left without waiting for d0001 \(stage ask\) at \S+{task}, {thread}; ", ended.stderr)
    assert re.search(r"own_stages\.py:\d+ nap_in_thread", trees(project)[-1].partition("other threads:")[2])
    assert_readable(left_by(project))


@pytest.mark.slow
def test_abandoned_run_timeout_has_its_own_exit_code(launcher: Launcher, tmp_path: Path) -> None:
    """It is the run's reason that counts, however it was left."""
    project = misbehaving(tmp_path, "swallow")

    process = launcher.start("run", project.config, "--offline", "--timeout", "2", cwd=project.root)
    ended = process.wait(10)

    assert_abandoned(ended, project, r"own_stages\.py:\d+ swallow", code=1)


def test_tool_that_exits_fails_its_document_alone(launcher: Launcher, tmp_path: Path) -> None:
    """It was meant for a program of its own."""
    project = misbehaving(tmp_path, "leave", documents=2)

    ended = launcher.run("run", project.config, "--offline", "--json", cwd=project.root)

    assert ended.exit_code == 1
    left = left_by(project)
    assert_complete(left)
    assert {row["error_code"] for row in left.documents} == {"agent_failed"}
    assert all("sys.exit(3)" in str(row["error"]) for row in left.documents)


@pytest.mark.slow
def test_held_loop_is_told_with_its_document_and_line(launcher: Launcher, tmp_path: Path) -> None:
    """Once, while it lasts; then the run goes on."""
    project = misbehaving(tmp_path, "nap", nap=2.5, documents=1)
    script = tmp_path / "watched.py"
    script.write_text(WATCHED, encoding="utf-8")

    ended = launcher.run(project.config, cwd=tmp_path, script=script)

    assert ended.exit_code == 0
    left = left_by(project)
    (stall,) = (one for one in left.named("STALL") if "own_stages" in one.fields["culprit"])
    line = line_of(project, "time.sleep(2.5)")
    assert (stall.fields["kind"], stall.fields["doc"]) == ("loop", "d0001")
    assert re.fullmatch(rf"{project.root}/own_stages\.py:{line} nap, in \S+", stall.fields["culprit"])
    assert 0.8 < float(stall.fields["seconds"]) < 2.5
    assert any(
        tree.startswith("the loop stands still for ") and stall.fields["culprit"] in tree for tree in trees(project)
    )
    assert [row["outcome"] for row in left.documents] == ["succeeded"]


def test_sigusr1_writes_a_tree_and_the_run_goes_on(launcher: Launcher, tmp_path: Path) -> None:
    """Somebody wonders what it waits for; asking must not cost the run."""
    project = misbehaving(tmp_path, "nap_in_thread", nap=1.0, documents=3)
    process = start(launcher, project)

    process.signal(signal.SIGUSR1)
    wait_until(lambda: logged(project, "TASK_TREE") == 1, 5, lambda: process.stderr)
    ended = process.wait(10)

    assert ended.exit_code == 0
    left = left_by(project)
    assert_complete(left)
    (tree,) = trees(project)
    assert tree.startswith("SIGUSR1\n")
    for document in ("d0001", "d0002", "d0003"):
        assert re.search(rf"document {document}  for \d s  \S+own_stages\.py:\d+ ask > ", tree)
    assert re.search(r"asyncio Task-\d+ DocumentSession\._run  ", tree)
    assert "tree-001.txt" in ended.stderr
    files = left.manifest["files"]
    assert isinstance(files, dict)
    assert "tasks/tree-001.txt" in files


@pytest.mark.slow
def test_sigusr1_writes_a_tree_of_a_held_loop(launcher: Launcher, tmp_path: Path) -> None:
    """Trio is asked first; a second later the watchdog does it."""
    project = misbehaving(tmp_path, "nap")
    process = start(launcher, project)

    process.signal(signal.SIGUSR1)
    wait_until(lambda: logged(project, "TASK_TREE") == 1, 5, lambda: process.stderr)
    process.kill()

    assert f"own_stages.py:{line_of(project, 'time.sleep(3600)')} nap" in trees(project)[0]
    (run,) = project.runs()
    assert rows(run / "ledger.sqlite3", "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
