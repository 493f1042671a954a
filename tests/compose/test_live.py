"""An edit of a live file: seen, checked whole, applied at once, told of; the run itself is a fake here."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from tests.compose.live_project import live_project
from trio.testing import MockClock

from agent_pipeline.compose.live import LiveTarget, LiveValuesControl
from agent_pipeline.config.pipeline import load_pipeline_config
from agent_pipeline.config.role_models import RuntimeConfig
from agent_pipeline.config.watched_file import LOOK_PERIOD
from agent_pipeline.domain.events import Event
from agent_pipeline.domain.limit_events import LiveEditRefused, LiveValueChanged

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


def test_a_cap_in_dollars_is_refused_while_documents_may_ask_a_model_without_price(desk: Desk) -> None:
    """They keep the model they began with, and nobody knows what it costs: the cap would not hold."""
    desk.edited({})
    priced: dict[str, object] = {"roles": {"writer": {"model": "gpt-5-nano"}}}

    for first in (priced, priced | {"budget_tokens": 1_000}):
        desk.edited(first)
        calls, events = desk.edited(priced | {"budget_usd": 2.5})
        assert calls == []
        assert [type(event) for event in events] == [LiveEditRefused]
        assert "none is known for 'small' of 'openai'" in str(events[0])


def test_what_holds_from_the_start_needs_no_price_for_a_model_nobody_asked(desk: Desk) -> None:
    """The file is there before the first document."""
    roles = desk.path.parent / "roles.yaml"
    roles.write_text(roles.read_text().replace("gpt-5-mini", "gpt-5"))

    calls, _ = desk.edited({"roles": {"writer": {"model": "gpt-5-nano"}}, "budget_usd": 2.5})

    assert calls == [("budget", (None, 2_500_000)), ("roles", "gpt-5-nano")]


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
