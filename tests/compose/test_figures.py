"""Figures of the shutdown: what a process holds after a hundred runs, and how fast five hundred documents stop."""

import gc
import logging
import resource
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from tests.compose.watching import Watch
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import IN_THIS_PROCESS, Project, make_project, prose

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.document import JsonValue

pytestmark = pytest.mark.slow

OPTIONS = RunOptions(offline=True, strict_shutdown=True)


def descriptors() -> int:
    """Count the open descriptors, without that of the listing itself."""
    return len(list(Path("/dev/fd").iterdir())) - 1


def counts() -> dict[str, int]:
    """Count what the process holds: descriptors, threads but for Trio's idle ones, log handlers."""
    gc.collect()
    known = logging.root.manager.loggerDict.values()
    loggers = [logging.root, *(one for one in known if isinstance(one, logging.Logger))]
    return {
        "file_descriptors": descriptors(),
        "threads": sum(not thread.name.startswith("Trio thread") for thread in threading.enumerate()),
        "handlers": sum(len(logger.handlers) for logger in loggers),
    }


def finish(project: Project, number: int) -> None:
    """Run to the end."""
    result = Pipeline.from_config(project.config, options=OPTIONS).run_sync()
    assert (result.exit_code, result.left_open) == (0, ()), number


def cancel(project: Project, number: int) -> None:
    """Run, and cancel from outside at another event each time."""

    async def main() -> None:
        with trio.CancelScope() as scope:
            watch = Watch(lambda _: scope.cancel(), after=number)
            await Pipeline.from_config(project.config, options=replace(OPTIONS, virtual=True, sinks=(watch,))).run()

    trio.run(main)


def interrupt(project: Project, number: int) -> None:
    """Run, and press Ctrl-C at another event each time."""
    watch = Watch(lambda _: signal.raise_signal(signal.SIGINT), after=number)
    try:
        Pipeline.from_config(project.config, options=replace(OPTIONS, virtual=True, sinks=(watch,))).run_sync()
    except* KeyboardInterrupt:
        pass


WAYS: dict[str, Callable[[Project, int], None]] = {"finish": finish, "cancel": cancel, "interrupt": interrupt}


# The SDK wraps a turn in a second coroutine before the task for both has begun; asyncio itself would warn as well.
@pytest.mark.filterwarnings("ignore:coroutine 'run_single_turn' was never awaited:RuntimeWarning")
@pytest.mark.parametrize("way", WAYS)
def test_a_hundred_runs_leave_the_process_as_one_does(tmp_path: Path, way: str) -> None:
    """A server that runs pipelines for a month must not run out of anything, however each of them ends."""
    project = make_project(tmp_path, prose(3), stages=IN_THIS_PROCESS)
    one_run = WAYS[way]
    one_run(project, 10_000)  # imports, caches and Trio's own pipes
    before = counts()

    seen: list[dict[str, int]] = []
    for number in range(100):
        one_run(project, number % 60 + 1)
        seen.append(counts())

    print(f"{way}: before {before}, after 1 {seen[0]}, after 100 {seen[-1]}")  # noqa: T201 - a figure
    assert len(project.runs()) == 101
    assert [one for one in seen if one != before] == []


@contextmanager
def raised_descriptor_limit() -> Generator[None]:
    """Open as many files as the machine allows, inside the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard > 0 else 8192, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_five_hundred_documents_stop_within_three_seconds(tmp_path: Path) -> None:
    """Each has a loop, a task and a request under way; all of it is given back, and each has its ending on record."""
    faults = tmp_path / "faults.yaml"
    faults.write_text("faults: [{kind: hang}]\n", encoding="utf-8")
    limits: dict[str, JsonValue] = {"documents_in_flight": 500, "requests_in_flight": 500}
    project = make_project(tmp_path / "project", prose(500), stages=IN_THIS_PROCESS, limits=limits)
    await Pipeline.from_config(project.config, options=replace(OPTIONS, limit=1)).run()
    (warm,) = project.runs()
    before = counts()
    moments: list[tuple[float, float]] = []

    with raised_descriptor_limit(), trio.CancelScope() as scope:

        async def cancel_all() -> None:
            # Two for each connection (the simulator's end is in this process too); there is no event for the last.
            while descriptors() < before["file_descriptors"] + 2 * 500:  # noqa: ASYNC110
                await trio.sleep(0.05)
            moments.append((trio.current_time(), time.process_time()))
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_all)
            await Pipeline.from_config(project.config, options=replace(OPTIONS, faults=str(faults))).run()
    took, used = trio.current_time() - moments[0][0], time.process_time() - moments[0][1]

    (run,) = set(project.runs()) - {warm}
    left = Leavings(run)
    assert_complete(left)
    resources = left.manifest["resources"]
    print(f"500 cancelled in {took:.2f} s, {used:.2f} s CPU; before {before}, after {counts()}; {resources}")  # noqa: T201 - a figure
    assert [row["outcome"] for row in left.documents] == ["cancelled"] * 500
    assert used <= 3  # on an idle machine that is the time it takes: nothing is waited for
    assert took <= 15
    assert counts() == before
    assert isinstance(resources, dict)
    assert all(pair["opened"] == pair["closed"] for pair in resources.values()), resources
    assert (resources["loops"]["opened"], resources["connections"]["opened"]) == (500, 500)
