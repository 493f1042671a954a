"""A run inside somebody's Trio program, cancelled at every moment: files are whole and the cancellation goes on."""

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import trio
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import IN_THIS_PROCESS, Project, make_project, prose
from trio.testing import wait_all_tasks_blocked

from agent_pipeline import failpoints
from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.events import Event, PipelineFinished
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.simulator import Simulator

STRIDE = 12
"""Of the sweep: this many tests share its moments."""


class CancelAt:
    """A sink that cancels the program at its n-th event, or at the first of a kind; at events, something happens."""

    name = "cancel"

    def __init__(self, moment: int | type[Event], scope: trio.CancelScope) -> None:
        self._moment = moment
        self._scope = scope
        self.seen: list[Event] = []

    def handle(self, event: Event, at: datetime) -> None:
        """Count, and cancel."""
        del at
        self.seen.append(event)
        if self._moment in {len(self.seen), type(event)}:
            self._scope.cancel()

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing is held."""


def in_memory(sink: CancelAt) -> RunOptions:
    """Return options for a run without sockets and threads."""
    return RunOptions(offline=True, virtual=True, make_pool=lambda: simulator_pool(Simulator()), sinks=(sink,), seed=1)


async def run_until(project: Project, number: int) -> tuple[bool, list[Event]]:
    """Run in memory, and cancel at the n-th event; return whether that cut the run off, and the events."""
    with trio.CancelScope() as scope:
        sink = CancelAt(number, scope)
        await Pipeline.from_config(project.config, options=in_memory(sink)).run()
    return scope.cancelled_caught, sink.seen


# The SDK wraps a turn in a second coroutine before the task for both has begun; asyncio itself would warn as well.
@pytest.mark.filterwarnings("ignore:coroutine 'run_single_turn' was never awaited:RuntimeWarning")
@pytest.mark.parametrize("offset", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, STRIDE))])
async def test_a_run_cancelled_at_any_event_leaves_whole_files(tmp_path: Path, offset: int) -> None:
    """Whoever embeds a run may cancel it whenever they like; nothing may be half-written or end twice."""
    _, events = await run_until(make_project(tmp_path / "whole", prose(2), stages=IN_THIS_PROCESS), 10_000)
    assert len(events) > 40

    for number in range(1 + offset, len(events) + 1, STRIDE):
        project = make_project(tmp_path / str(number), prose(2), stages=IN_THIS_PROCESS)
        caught, _ = await run_until(project, number)

        (run,) = project.runs()
        left = Leavings(run)
        assert_complete(left)
        outcomes = [row["outcome"] for row in left.documents]
        assert len(list(project.artifacts.iterdir())) == outcomes.count("succeeded")
        assert left.manifest["result"] is not None
        if outcomes != ["succeeded", "succeeded"]:
            assert caught, number
            assert (left.run["outcome"], left.run["reason"]) == ("incomplete", "cancelled"), number
    gc.collect()  # so that the warning falls into this test


async def test_cancelled_while_it_closes_a_run_is_still_recorded_as_what_it_was(tmp_path: Path) -> None:
    """All documents had ended: that somebody lost interest afterwards changes no fact."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS)
    with trio.CancelScope() as scope:
        sink = CancelAt(PipelineFinished, scope)
        await Pipeline.from_config(project.config, options=in_memory(sink)).run()

    (run,) = project.runs()
    left = Leavings(run)
    assert_complete(left)
    assert (left.run["outcome"], left.run["reason"]) == ("completed", None)


async def test_cancelled_while_its_session_begins_a_run_has_an_end(tmp_path: Path) -> None:
    """The row of its beginning is written whatever happens to who waits for it; without an end it would look killed."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS)
    with trio.CancelScope() as scope:
        failpoints.arm("ledger.before_commit", scope.cancel)
        try:
            await Pipeline.from_config(project.config, options=in_memory(CancelAt(0, scope))).run()
        finally:
            failpoints.disarm_all()

    assert scope.cancelled_caught
    (run,) = project.runs()
    left = Leavings(run)
    assert_complete(left)
    assert (left.run["outcome"], left.run["reason"], left.documents) == ("incomplete", "cancelled", [])


_at_links: list[Callable[[], None]] = []


def _watch_links(event: str, _arguments: tuple[object, ...]) -> None:
    if event == "os.link":
        for callback in _at_links:
            callback()


async def test_an_artifact_that_is_in_place_makes_its_document_a_success(tmp_path: Path) -> None:
    """Cancelled while the artifact gets its name, the work is done and paid for: nothing may do it again."""
    project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS)
    options = replace(in_memory(CancelAt(0, trio.CancelScope())), virtual=False)
    sys.addaudithook(_watch_links)

    async def cancel(scope: trio.CancelScope) -> None:
        scope.cancel()
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()  # all that can be cancelled has noticed

    with trio.CancelScope() as scope:
        _at_links.append(lambda: trio.from_thread.run(cancel, scope))
        try:
            await Pipeline.from_config(project.config, options=options).run()
        finally:
            _at_links.clear()

    assert scope.cancelled_caught
    (run,) = project.runs()
    left = Leavings(run)
    assert_complete(left)
    assert [row["outcome"] for row in left.documents] == ["succeeded"]
    assert len(list(project.artifacts.iterdir())) == 1
