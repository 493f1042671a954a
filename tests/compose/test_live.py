"""Values that change while a run goes on: checked whole, applied at once, told of, and nobody in flight is harmed."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from tests.compose.test_watch import Notes
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import Project, make_project, prose
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.compose.live import LOOK_PERIOD, LiveTarget, LiveValuesControl
from agent_pipeline.config.pipeline import load_pipeline_config
from agent_pipeline.config.role_models import RuntimeConfig
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.domain.events import DocumentFinished, DocumentStarted, Event
from agent_pipeline.domain.limit_events import LiveEditRefused, LiveValueChanged
from agent_pipeline.domain.result import RunResult
from agent_pipeline.errors import ConfigError
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.simulator import FaultPlan, Simulator

STAGES = '''
from agent_pipeline import stage


@stage(role="writer")
async def first(document, context):
    """Let an agent answer."""
    return document.with_fields(first=await context.run_agent("writer", document.text))


@stage(role="writer")
async def second(document, context):
    """Ask plainly."""
    return document.with_fields(second=await context.ask(document.text))
'''


def live_project(
    root: Path, count: int, module: str, limits: dict[str, JsonValue] | None = None
) -> tuple[Project, Path]:
    """Make a project of two stages with one role, whose live file is not there yet."""
    names = (f"{module}:first", f"{module}:second")
    project = make_project(root, prose(count), stages=names, limits=limits)
    (root / f"{module}.py").write_text(STAGES, encoding="utf-8")
    pipeline = json.loads(project.config.read_text())
    project.config.write_text(json.dumps({**pipeline, "live": "live.json"}), encoding="utf-8")
    roles = json.loads(project.roles.read_text())
    writer = {"provider": "openai", "model": "small", "params": {"max_tokens": 100}}
    project.roles.write_text(json.dumps({**roles, "roles": {"writer": writer}}), encoding="utf-8")
    return project, root / "live.json"


# --- one edit ----------------------------------------------------------------------------------------------------


@dataclass
class FakeTarget:
    """Keeps what it is told."""

    calls: list[tuple[str, object]] = field(default_factory=list)

    def set_documents_in_flight(self, count: int) -> None:
        self.calls.append(("documents", count))

    def set_limits(
        self, *, requests_in_flight: tuple[int, int], requests_per_minute: int | None, tokens_per_minute: int | None
    ) -> None:
        self.calls.append(("limits", (requests_in_flight, requests_per_minute, tokens_per_minute)))

    def set_attempt_timeout(self, seconds: float | None) -> None:
        self.calls.append(("timeout", seconds))

    def set_budget(self, *, tokens: int | None, micro_usd: int | None) -> None:
        self.calls.append(("budget", (tokens, micro_usd)))

    def set_roles(self, runtime: RuntimeConfig) -> None:
        self.calls.append(("roles", runtime.roles["writer"].model))


@dataclass
class Desk:
    """A control over a fake run."""

    path: Path
    control: LiveValuesControl
    target: FakeTarget
    events: list[Event]

    def edit(self, values: object) -> None:
        """Write the file."""
        self.path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")

    def edited(self, values: object) -> tuple[list[tuple[str, object]], list[Event]]:
        """Write the file and let it be taken; return what the run was told, and what was told of it."""
        self.edit(values)
        self.control.take()
        told, events = list(self.target.calls), list(self.events)
        self.target.calls.clear()
        self.events.clear()
        return told, events


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A control that has taken nothing yet."""
    project, path = live_project(tmp_path, 1, "live_desk")
    events: list[Event] = []
    target: FakeTarget = FakeTarget()
    as_port: LiveTarget = target
    control = LiveValuesControl(path, load_pipeline_config(project.config), as_port, events.append)
    return Desk(path, control, target, events)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"documents_in_flight": 3}, ("documents", 3)),
        ({"requests_in_flight": 5}, ("limits", ((1, 5), None, None))),
        ({"requests_per_minute": 60}, ("limits", ((1, 200), 60, None))),
        ({"tokens_per_minute": 61}, ("limits", ((1, 200), None, 61))),
        ({"attempt_timeout": 100}, ("timeout", 100.0)),
        ({"budget_tokens": 1000}, ("budget", (1000, None))),
        ({"roles": {"writer": {"model": "large"}}}, ("roles", "large")),
    ],
)
def test_only_what_changed_is_handed_over(desk: Desk, values: object, told: tuple[str, object]) -> None:
    """Setting a limit anew might start it anew."""
    calls, events = desk.edited(values)

    assert calls == [told]
    assert [type(event) for event in events] == [LiveValueChanged]
    assert desk.edited(values) == ([], [])


def test_money_is_handed_over_in_micro_dollars(desk: Desk) -> None:
    """With the tokens beside it, since the two are one budget."""
    project_roles = desk.path.parent / "roles.yaml"
    project_roles.write_text(project_roles.read_text().replace("small", "gpt-5-nano").replace("gpt-5-mini", "gpt-5"))
    config = load_pipeline_config(desk.path.parent / "pipeline.yaml")
    desk.control = LiveValuesControl(desk.path, config, desk.target, desk.events.append)

    calls, _ = desk.edited({"budget_usd": 2.5, "budget_tokens": 9})

    assert calls == [("budget", (9, 2_500_000))]


def test_every_value_of_an_edit_is_an_event_with_old_and_new(desk: Desk) -> None:
    """All of one revision; and back again when the keys are gone."""
    _, events = desk.edited({"documents_in_flight": 3, "requests_in_flight": {"max": 5}, "attempt_timeout": None})
    assert events == [
        LiveValueChanged("documents_in_flight", 100, 3, 1),
        LiveValueChanged("requests_in_flight", {"min": 1, "max": 200}, {"min": 1, "max": 5}, 1),
        LiveValueChanged("attempt_timeout", 120, None, 1),
    ]

    calls, events = desk.edited({"documents_in_flight": 3})
    assert calls == [("limits", ((1, 200), None, None)), ("timeout", 120.0)]
    assert events == [
        LiveValueChanged("requests_in_flight", {"min": 1, "max": 5}, {"min": 1, "max": 200}, 2),
        LiveValueChanged("attempt_timeout", None, 120, 2),
    ]

    desk.path.unlink()
    desk.control.take()
    assert desk.events == [LiveValueChanged("documents_in_flight", 3, 100, 3)]
    assert desk.control.revision == 3


@pytest.mark.parametrize(
    "broken",
    [
        '{"documents_in_flight": 3, "attempt_timeout": 400}',
        '{"documents_in_flight": 3, "roles": {"nobody": {"model": "m"}}}',
        '{"documents_in_flight": 3',
        "",
    ],
)
def test_a_broken_edit_changes_nothing_and_is_told_once(desk: Desk, broken: str) -> None:
    """Not even what is right in it counts."""
    desk.edited({"documents_in_flight": 7})

    calls, events = desk.edited(broken)
    assert calls == []
    assert [type(event) for event in events] == [LiveEditRefused]
    assert str(desk.path) in str(events[0])
    assert desk.control.settings.documents_in_flight == 7

    assert desk.edited(broken) == ([], [])
    assert desk.edited({"documents_in_flight": 7}) == ([], [])
    assert [type(event) for event in desk.edited(broken)[1]] == [LiveEditRefused]
    assert desk.edited({"documents_in_flight": 8})[0] == [("documents", 8)]
    assert desk.control.revision == 2


# --- watching ----------------------------------------------------------------------------------------------------


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}


async def _until(holds: Callable[[], object]) -> None:
    for _ in range(2000):
        if holds():
            return
        await trio.to_thread.run_sync(time.sleep, 0.005)  # real time: a thread looks
    raise AssertionError


async def test_edits_are_seen_and_nothing_is_left_behind(desk: Desk) -> None:
    """A file that comes, one that takes its place, and one that goes; then the thread that looks has ended."""
    before = _threads()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.control.watch)
        await _until(lambda: _threads() - before)
        await trio.sleep(0.05)
        (desk.path.parent / "other.json").write_text("{")
        desk.edit({"documents_in_flight": 3})
        await _until(lambda: desk.target.calls == [("documents", 3)])
        new = desk.path.with_name("new.json")
        new.write_text('{"documents_in_flight": 4}')
        new.replace(desk.path)
        await _until(lambda: desk.target.calls[1:] == [("documents", 4)])
        desk.path.unlink()
        await _until(lambda: desk.target.calls[2:] == [("documents", 100)])
        begun = trio.current_time()
        nursery.cancel_scope.cancel()

    assert trio.current_time() - begun < 1
    assert _threads() == before
    assert not any(isinstance(event, LiveEditRefused) for event in desk.events)


async def test_a_folder_that_cant_be_watched_is_looked_at(autojump_clock: MockClock, desk: Desk) -> None:
    """It is not there yet, say; the run goes on all the same."""
    folder = desk.path.parent / "later"
    desk.path = desk.control._path = folder / "live.json"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.control.watch)
        await trio.sleep(2 * LOOK_PERIOD)
        folder.mkdir()
        desk.edit({"documents_in_flight": 3})
        await _until(lambda: desk.target.calls)
        nursery.cancel_scope.cancel()

    assert desk.target.calls == [("documents", 3)]


# --- whole runs, in virtual time ---------------------------------------------------------------------------------


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
    edits: tuple[tuple[float, object, Path], ...] = ((1, swap, live), (11, "{ broken", live), (21, {}, live))
    result = await run_edited(project, notes, *edits, simulator=slow_simulator(6.0))

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
