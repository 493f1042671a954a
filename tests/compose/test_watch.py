"""A run inside somebody's own program: who does not end is told, and nobody's process is left."""

import signal
from datetime import datetime
from pathlib import Path

import pytest
import trio
from tests.integration.project import IN_THIS_PROCESS, make_project, prose
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.domain.events import Event, RunAbandoned, RunCancelling, Stall, TaskTreeWritten
from agent_pipeline.domain.result import RunResult
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.simulator import FaultPlan, Simulator

STUBBORN = '''
import trio
from agent_pipeline import stage


@stage(role="writer")
async def stay(document, context):
    """Don't end when cancelled."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep({stay})
    return document
'''


class Notes:
    """A sink that keeps every event with its moment on Trio's clock."""

    name = "notes"

    def __init__(self) -> None:
        self.seen: list[tuple[float, Event]] = []

    def handle(self, event: Event, at: datetime) -> None:
        """Keep it."""
        del at
        self.seen.append((trio.current_time(), event))

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""

    def of(self, kind: type[Event]) -> list[tuple[float, Event]]:
        """Return those of a kind."""
        return [(moment, event) for moment, event in self.seen if isinstance(event, kind)]


async def run_stubborn(root: Path, notes: Notes, *, module: str, stay: float, run: float | None = None) -> RunResult:
    """Run two documents that stay so long after they were cancelled; `run` is the run's timeout."""
    unset: dict[str, JsonValue] = dict.fromkeys(("document", "stage", "attempt", "read", "connect"))
    project = make_project(
        root,
        prose(2),
        stages=(f"{module}:stay",),
        limits={"timeouts": {**unset, "run": run, "abandon": 20}},
        own_stages=STUBBORN,
    )
    (root / f"{module}.py").write_text(STUBBORN.format(stay=stay), encoding="utf-8")
    options = RunOptions(
        offline=True, virtual=True, make_pool=lambda: simulator_pool(Simulator()), sinks=(notes,), seed=1
    )
    return await Pipeline.from_config(project.config, options=options).run()


def trees(root: Path) -> list[Path]:
    """Return the trees a run wrote."""
    return sorted(root.glob("out/logs/trial-*/tasks/*"))


async def test_documents_that_stay_are_named_with_a_tree(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The host program decides what becomes of its process; the run ends when they do."""
    notes = Notes()

    result = await run_stubborn(tmp_path, notes, module="stays_long", stay=100, run=5)

    assert (result.reason, result.documents.cancelled) == ("deadline:run", 2)
    (cancelling,), (abandoned,) = notes.of(RunCancelling), notes.of(RunAbandoned)
    assert abandoned[0] - cancelling[0] == 20
    assert isinstance(abandoned[1], RunAbandoned)
    assert [word.partition(" at ")[0] for word in abandoned[1].culprits] == [
        "d0001 (stage stay)",
        "d0002 (stage stay)",
    ]
    assert all("stays_long.py:13 stay" in word for word in abandoned[1].culprits)
    (tree,) = trees(tmp_path)
    assert tree.read_text().startswith("tasks did not end after cancellation\n")
    assert [event for _, event in notes.of(TaskTreeWritten)] == [
        TaskTreeWritten("tasks did not end after cancellation", str(tree))
    ]


async def test_documents_that_end_in_time_are_not_told(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Nor does the end of the run wait for anybody to look."""
    notes = Notes()

    result = await run_stubborn(tmp_path, notes, module="stays_short", stay=10, run=5)

    assert result.duration_seconds == 15
    assert notes.of(RunAbandoned) == []
    assert trees(tmp_path) == []


async def test_documents_that_stay_are_named_when_the_host_cancels(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It waits for us, and wants to know for whom."""
    notes = Notes()

    with trio.move_on_after(5) as scope:
        await run_stubborn(tmp_path, notes, module="stays_on", stay=100)

    assert scope.cancelled_caught
    ((moment, abandoned),) = notes.of(RunAbandoned)
    assert isinstance(abandoned, RunAbandoned)
    assert len(abandoned.culprits) == 2
    assert moment == 25
    assert trio.current_time() == 105


async def test_the_host_program_keeps_its_signals(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A library does not take what is not its own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    seen: list[object] = []

    class Look(Notes):
        def handle(self, event: Event, at: datetime) -> None:
            super().handle(event, at)
            seen.append({number: signal.getsignal(number) for number in before})

    await run_stubborn(tmp_path, Look(), module="looks", stay=0, run=1)

    assert seen
    assert all(one == before for one in seen)


@pytest.mark.parametrize("fails", ["artifacts", "logs"])
async def test_run_that_can_not_be_opened_ends_at_once(autojump_clock: MockClock, tmp_path: Path, fails: str) -> None:
    """Nobody waits for documents that were never begun."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / fails).touch()

    with pytest.raises(Exception, match=fails):
        await run_stubborn(tmp_path, Notes(), module=f"no_{fails}", stay=0)

    assert trio.current_time() == 0


async def test_attempts_that_stand_still_are_told_with_one_tree_a_minute(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Where a provider hangs they all do; one tree says as much as a hundred."""
    notes = Notes()
    timeouts: dict[str, JsonValue] = {"attempt": 10, "read": None, "connect": None, "abandon": 20}
    limits: dict[str, JsonValue] = {"timeouts": timeouts, "retry": {"max_attempts": 7, "initial_delay": 0.01}}
    project = make_project(tmp_path, prose(2), stages=IN_THIS_PROCESS, limits=limits)
    simulator = Simulator(faults=FaultPlan.from_mapping({"faults": [{"kind": "hang"}]}))
    options = RunOptions(
        offline=True, virtual=True, make_pool=lambda: simulator_pool(simulator), sinks=(notes,), seed=1
    )

    await Pipeline.from_config(project.config, options=options).run()

    stalls = [event for _, event in notes.of(Stall) if isinstance(event, Stall)]
    assert {(stall.kind, stall.document_id, stall.seconds) for stall in stalls} == {
        ("attempt", "d0001", 10),
        ("attempt", "d0002", 10),
    }
    assert len(stalls) == 14
    first, second = (path.read_text() for path in trees(tmp_path))
    assert first.startswith("attempt 1 of role writer at openai gpt-5-mini stands still for 10 s\n")
    assert second.startswith("attempt 7 of ")
