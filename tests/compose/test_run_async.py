"""A run awaited from asyncio: in its own thread, to its end, also where its task is cancelled."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import IN_THIS_PROCESS, Project, make_project, prose

from agent_pipeline import DocumentInvalidError, InputError, Pipeline
from agent_pipeline.bridge import run_in_own_thread
from agent_pipeline.compose import RunOptions

SLOW = "latency: 0.1\n"


def pipeline_of(project: Project, *, faults: str | None = None) -> Pipeline:
    return Pipeline.from_config(project.config, options=RunOptions(offline=True, clean=True, faults=faults))


def test_a_run_from_asyncio_returns_its_result_and_the_loop_goes_on(tmp_path: Path) -> None:
    """Two runs, in two loops: importing what agents need must not spoil the second."""
    project = make_project(tmp_path, prose(3), stages=IN_THIS_PROCESS)
    pipeline = pipeline_of(project)

    async def main() -> tuple[str, int, bool]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.create_task(count())
        result = await pipeline.run_async(limit=2)
        counting.cancel()
        return result.outcome, result.documents.total, turns > 5

    assert asyncio.run(main()) == ("completed", 2, True)
    assert asyncio.run(main()) == ("completed", 2, True)
    for path in project.runs():
        assert_complete(Leavings(path))
    assert "agent-pipeline" not in {thread.name for thread in threading.enumerate() if thread.is_alive()}


def test_cancelled_at_any_time_it_goes_on_when_all_files_are_complete(tmp_path: Path) -> None:
    """A cell that was stopped must not leave a run behind that goes on spending."""
    project = make_project(tmp_path, prose(4), stages=IN_THIS_PROCESS, limits={"documents_in_flight": 2})
    (tmp_path / "faults.yaml").write_text(SLOW, encoding="utf-8")
    pipeline = pipeline_of(project, faults=str(tmp_path / "faults.yaml"))

    async def main(delay: float | None) -> set[str]:
        task = asyncio.create_task(pipeline.run_async())
        if delay is None:
            while not list(project.artifacts.glob("*.md")):  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.001)
        else:
            await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        outcomes = set()
        for path in set(project.runs()) - seen:  # at this very moment, not later
            seen.add(path)
            left = Leavings(path)
            assert_complete(left)
            assert (left.run["outcome"], left.run["reason"]) == ("incomplete", "cancelled")
            outcomes |= {str(document["outcome"]) for document in left.documents}
        return outcomes

    seen: set[Path] = set()
    met = [asyncio.run(main(step / 50)) for step in range(12)]
    for earlier in project.artifacts.glob("*.md"):
        earlier.unlink()
    last = asyncio.run(main(None))

    assert seen
    assert {"cancelled"} in [*met, last] or {"cancelled", "succeeded"} == last
    assert "succeeded" in last


def test_cancelled_twice_it_still_waits(tmp_path: Path) -> None:
    """An impatient user presses stop again."""
    project = make_project(tmp_path, prose(2), stages=IN_THIS_PROCESS)
    (tmp_path / "faults.yaml").write_text(SLOW, encoding="utf-8")
    pipeline = pipeline_of(project, faults=str(tmp_path / "faults.yaml"))

    async def main() -> None:
        task = asyncio.create_task(pipeline.run_async())
        while not project.runs():  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.01)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    left = Leavings(project.runs()[-1])
    assert_complete(left)
    assert (left.run["outcome"], left.run["reason"]) == ("incomplete", "cancelled")


def test_what_a_run_raises_comes_to_the_caller(tmp_path: Path) -> None:
    """As it is, in no group."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS)
    pipeline = pipeline_of(project)
    project.documents.unlink()

    with pytest.raises(InputError, match="does not exist"):
        asyncio.run(pipeline.run_async())

    assert not project.logs.exists()


def test_an_error_of_the_call_is_not_lost() -> None:
    """Of whatever kind."""

    async def fail() -> None:
        raise DocumentInvalidError("no")

    with pytest.raises(DocumentInvalidError, match="no"):
        asyncio.run(run_in_own_thread(fail))


def test_each_flavour_is_told_its_method(tmp_path: Path) -> None:
    """What happens otherwise is a loop that hangs, or a message of a library's."""
    pipeline = pipeline_of(make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS))

    async def in_asyncio() -> None:
        with pytest.raises(RuntimeError, match=r"await pipeline\.run_async\(\)$"):
            pipeline.run_sync()

    async def in_trio() -> None:
        with pytest.raises(RuntimeError, match=r"await pipeline\.run\(\)$"):
            pipeline.run_sync()
        with pytest.raises(RuntimeError, match=r"await pipeline\.run\(\)$"):
            await pipeline.run_async()
        with pytest.raises(RuntimeError, match="for asyncio"):
            await run_in_own_thread(trio.lowlevel.checkpoint)

    asyncio.run(in_asyncio())
    trio.run(in_trio)


PROGRAM = """
import asyncio, sys
from agent_pipeline import Pipeline
from agent_pipeline.compose import RunOptions

async def main():
    options = RunOptions(offline=True, faults=sys.argv[2])
    await Pipeline.from_config(sys.argv[1], options=options).run_async()

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_in_an_asyncio_program_ends_the_run_first(tmp_path: Path) -> None:
    """Asyncio cancels the main task, and that is all the run needs."""
    project = make_project(tmp_path, prose(2))
    (tmp_path / "faults.yaml").write_text("latency: 30\n", encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(project.config), str(tmp_path / "faults.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    while not (
        project.runs() and "STAGE_STARTED" in next(project.runs()[0].glob("*.log"), Path(os.devnull)).read_text()
    ):
        assert process.poll() is None

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (out, err, process.returncode) == ("interrupted\n", "", 0)
    left = Leavings(project.runs()[0])
    assert_complete(left)
    assert (left.run["outcome"], left.run["reason"]) == ("incomplete", "cancelled")
