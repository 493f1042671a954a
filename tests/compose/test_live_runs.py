"""Whole runs in virtual time whose live file somebody edits: nobody in flight is harmed, and resume knows what was."""

import json
from collections import Counter
from pathlib import Path

import pytest
import trio
from tests.compose.live_project import live_project
from tests.compose.test_watch import Notes
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import Project
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.config.watched_file import LOOK_PERIOD
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.domain.events import DocumentFinished, DocumentStarted
from agent_pipeline.domain.limit_events import LiveEditRefused, LiveValueChanged
from agent_pipeline.domain.result import RunResult
from agent_pipeline.errors import ConfigError
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.simulator import FaultPlan, Simulator


def slow_simulator(latency: float = 4.0) -> Simulator:
    """Return one that takes so many seconds per request."""
    return Simulator(faults=FaultPlan.from_mapping({"latency": latency}))


async def run_edited(
    project: Project, notes: Notes, *edits: tuple[float, object, Path], simulator: Simulator | None = None
) -> RunResult:
    """Run with four seconds per request, while somebody edits the live file at these times."""
    simulator = simulator or slow_simulator()
    options = RunOptions(
        offline=True, virtual=True, make_pool=lambda: simulator_pool(simulator), sinks=(notes,), seed=1
    )

    async def edit() -> None:
        for at, values, path in edits:
            await trio.sleep_until(at)
            path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(edit)
        result = await Pipeline.from_config(project.config, options=options).run()
        nursery.cancel_scope.cancel()
    return result


def at_once(notes: Notes) -> list[tuple[float, int]]:
    """Return documents in flight after each start or end, with its moment."""
    count, course = 0, []
    for moment, event in notes.seen:
        if isinstance(event, DocumentStarted | DocumentFinished):
            count += 1 if isinstance(event, DocumentStarted) else -1
            course.append((moment, count))
    return course


async def test_shrinking_from_twenty_to_three_cancels_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Those in flight go on to their end; after that there are never more than three."""
    limits: dict[str, JsonValue] = {"documents_in_flight": 20, "requests_in_flight": 100}
    project, live = live_project(tmp_path, 50, "live_shrinks", limits)
    notes = Notes()

    result = await run_edited(project, notes, (1, {"documents_in_flight": 3}, live))

    assert result.exit_code == 0
    assert result.documents.succeeded == 50
    ((changed_at, change),) = notes.of(LiveValueChanged)
    assert (changed_at, change) == (LOOK_PERIOD, LiveValueChanged("documents_in_flight", 20, 3, 1))
    course = at_once(notes)
    assert max(count for moment, count in course if moment < changed_at) == 20
    assert not [moment for moment, event in notes.of(DocumentStarted) if changed_at < moment < 8]
    assert max(count for moment, count in course if moment > 8) == 3
    (run,) = project.runs()
    assert_complete(Leavings(run))


async def test_growing_admits_more_at_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Whoever waits for a place gets it when there is one more."""
    project, live = live_project(tmp_path, 12, "live_grows", {"documents_in_flight": 1})
    notes = Notes()

    await run_edited(project, notes, (1, {"documents_in_flight": 6}, live))

    assert [moment for moment, _ in notes.of(DocumentStarted)][:6] == [0] + [LOOK_PERIOD] * 5


async def test_fewer_requests_at_once_cancel_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Those in flight are answered; then there are never more than three."""
    project, live = live_project(tmp_path, 40, "live_requests", {"requests_in_flight": 20})
    simulator, notes = slow_simulator(), Notes()
    seen: dict[float, int] = {}

    async def sample() -> None:
        await trio.sleep(0.5)
        while True:
            seen[trio.current_time()] = simulator.statistics.requests_in_flight
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sample)
        result = await run_edited(project, notes, (1, {"requests_in_flight": 3}, live), simulator=simulator)
        nursery.cancel_scope.cancel()

    assert (result.exit_code, result.usage.attempts) == (0, 80)
    assert seen[3.5] == seen[5.5] == 20
    assert {count for moment, count in seen.items() if 8 < moment < max(seen) - 4} == {3}


async def test_an_attempt_keeps_the_timeout_it_began_with(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Each takes four seconds; three are allowed from five seconds on."""
    timeouts: dict[str, JsonValue] = {"attempt": 100, "read": None, "connect": 1}
    limits: dict[str, JsonValue] = {"timeouts": timeouts, "retry": {"max_attempts": 1}}
    project, live = live_project(tmp_path, 1, "live_timeout", limits)

    result = await run_edited(project, Notes(), (1, {"attempt_timeout": 3}, live))
    assert result.exit_code == 0, "both attempts had begun by then"

    live.unlink()
    project, live = live_project(tmp_path / "more", 3, "live_timeout", {**limits, "documents_in_flight": 1})
    result = await run_edited(project, Notes(), (1, {"attempt_timeout": 3}, live))
    assert [failure.code for failure in result.failures] == ["attempt_timeout"] * 2


async def test_a_budget_changes_while_it_is_spent(autojump_clock: MockClock, tmp_path: Path) -> None:
    """One that was lifted stops nothing, one that was set too low does."""
    limits: dict[str, JsonValue] = {"documents_in_flight": 1, "budget": {"tokens": 400}}
    project, live = live_project(tmp_path / "lifted", 6, "live_budget", limits)
    lifted = await run_edited(project, Notes(), (1, {"budget_tokens": None}, live))
    assert (lifted.exit_code, lifted.documents.succeeded) == (0, 6)

    project, live = live_project(tmp_path / "set", 6, "live_budget", {"documents_in_flight": 1})
    lowered = await run_edited(project, Notes(), (1, {"budget_tokens": 10}, live))
    assert (lowered.exit_code, lowered.reason) == (4, "budget:tokens")
    assert lowered.documents.succeeded == 1


async def test_a_swapped_model_is_asked_by_documents_that_start_later(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A document asks one model from its first stage to its last, plainly and by its agents."""
    project, live = live_project(tmp_path, 12, "live_swaps", {"documents_in_flight": 3})
    notes = Notes()

    swap = {"roles": {"writer": {"model": "large"}}}
    result = await run_edited(
        project,
        notes,
        (1, swap, live),
        (11, "{ broken", live),
        (21, {}, live),
        simulator=slow_simulator(6.0),
    )

    assert result.exit_code == 0
    assert [(moment, event) for moment, event in notes.of(LiveValueChanged)] == [
        (5, LiveValueChanged("roles.writer.model", "small", "large", 1)),
        (25, LiveValueChanged("roles.writer.model", "large", "small", 2)),
    ]
    ((refused_at, _),) = notes.of(LiveEditRefused)
    assert refused_at == 15
    (run,) = project.runs()
    left = Leavings(run)
    assert_complete(left)
    models: dict[object, set[object]] = {}
    for row in left.attempts:
        models.setdefault(row["document_id"], set()).add(row["model"])
    started = {event.document_id: moment for moment, event in notes.seen if isinstance(event, DocumentStarted)}
    assert Counter(started.values()) == {0: 3, 12: 3, 24: 3, 36: 3}
    for document, moment in started.items():
        assert models[document] == {"small" if moment < 5 or moment > 25 else "large"}, document


async def _resume(project: Project, notes: Notes) -> RunResult:
    (run,) = project.runs()
    simulator = Simulator()
    options = RunOptions(
        offline=True, virtual=True, make_pool=lambda: simulator_pool(simulator), sinks=(notes,), seed=1
    )
    return await Pipeline.from_run(run, options=options).run()


async def test_a_finished_document_is_not_worked_on_again_for_a_live_model(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It was pinned to what it began with; the live file is read again, for those that are left."""
    project, live = live_project(tmp_path, 6, "live_resumed", {"documents_in_flight": 2})
    notes = Notes()
    live.write_text(json.dumps({"roles": {"writer": {"model": "large"}}, "budget_tokens": 400}))
    first = await run_edited(project, notes)
    assert first.exit_code == 4, first.usage
    done = first.documents.succeeded
    assert 0 < done < 6

    live.write_text(json.dumps({"roles": {"writer": {"model": "larger"}}}))
    again = Notes()
    second = await _resume(project, again)

    assert (second.exit_code, second.documents.succeeded) == (0, 6)
    assert len(again.of(DocumentStarted)) == 6 - done
    (run,) = project.runs()
    left = Leavings(run)
    assert_complete(left)
    later = Counter((row["document_id"], row["model"]) for row in left.attempts if row["session"] == 2)
    assert set(later.values()) == {2}, "what a stage made by the other model is not used again"
    assert {model for _, model in later} == {"larger"}


async def test_a_live_file_that_is_wrong_at_the_start_is_refused(tmp_path: Path) -> None:
    """Nothing is created: later a bad edit changes nothing, now it would surprise."""
    project, live = live_project(tmp_path, 1, "live_wrong")
    live.write_text('{"documents_in_flight": 0}')

    with pytest.raises(ConfigError, match="documents_in_flight"):
        await Pipeline.from_config(project.config, options=RunOptions(offline=True)).run()

    assert not project.logs.exists()
