"""A replay is the run again: the same artifacts, usage and events, with nobody asked."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.recording.world import (
    EVERYTHING,
    ONE_AFTER_THE_OTHER,
    TROUBLES,
    Ran,
    documents,
    lines_of,
    record,
    replay,
    write_project,
)

_LEFT = re.compile(r" \([0-9.]+ s of the .* left\)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recording is, and the project that was recorded."""
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture(scope="module")
def recorded(folder: Path) -> Ran:
    """A run with retries, rework, tools and two calls at once, recorded."""
    project = write_project(folder / "first", documents(6), params={"stream": True}, documents_in_flight=4)
    return record(project, folder / "recording", faults=TROUBLES)


def test_the_recorded_run_met_what_a_replay_has_to_bring_back(recorded: Ran, folder: Path) -> None:
    """Else the tests below would hold for a run in which nothing happens."""
    exchanges = [one for lane in lines_of(folder / "recording").values() for one in lane]
    steps = {event.get("step") for event in recorded.events()}

    assert {one["status"] for one in exchanges} >= {200, 429, 503}
    assert any(one["broken"] for one in exchanges)
    assert any("text/event-stream" in one["headers"].get("content-type", "") for one in exchanges)
    assert "REWORK" in {event["event"] for event in recorded.events()}
    assert "tool_end" in steps
    assert len(exchanges) == recorded.result.usage.attempts


def test_artifacts_usage_and_whole_order_of_events_come_again(recorded: Ran, folder: Path, tmp_path: Path) -> None:
    """In virtual time answers take as long as they took, so that even waits and latencies are the same."""
    project = write_project(tmp_path, documents(6), params={"stream": True}, documents_in_flight=4)

    again = replay(project, folder / "recording")

    assert again.artifacts() == recorded.artifacts()
    assert again.result.usage == recorded.result.usage
    assert again.result.cost_usd == recorded.result.cost_usd
    assert again.events() == recorded.events()
    columns = "document_id, stage, number, outcome, status_code, error_code, error, charged_tokens, provider_request_id"
    assert again.rows(columns) == recorded.rows(columns)
    totals = again.result.recording
    assert totals is not None
    assert (totals.exchanges, totals.missed, totals.unused) == (recorded.result.usage.attempts, 0, 0)


def test_documents_have_the_same_events_however_many_are_worked_on_at_once(tmp_path: Path) -> None:
    """A lane of their own: what others ask, and when, is in no document's way."""
    stages = ONE_AFTER_THE_OTHER
    first = write_project(tmp_path / "first", documents(6), stages=stages, documents_in_flight=6)
    second = write_project(
        tmp_path / "second", documents(6), stages=stages, documents_in_flight=2, requests_in_flight=1
    )

    before = record(first, tmp_path / "recording", faults=TROUBLES)
    after = replay(second, tmp_path / "recording")

    assert after.artifacts() == before.artifacts()
    assert after.result.usage == before.result.usage
    assert _timeless(after) == _timeless(before)
    assert after.events() != before.events()


@pytest.mark.slow
def test_twenty_documents_of_a_bad_day_come_again(tmp_path: Path) -> None:
    """The same at the size of a real run: hundreds of attempts, of which every fourth fails."""
    projects = [
        write_project(tmp_path / name, documents(20), params={"stream": True}, documents_in_flight=in_flight)
        for name, in_flight in (("first", 8), ("second", 8), ("third", 3))
    ]

    before = record(projects[0], tmp_path / "recording", faults=TROUBLES)
    after = [replay(project, tmp_path / "recording") for project in projects[1:]]

    assert before.result.usage.attempts > 200
    assert {json.dumps(one.artifacts()) for one in (before, *after)} == {json.dumps(before.artifacts())}
    assert [one.result.usage for one in after] == [before.result.usage] * 2
    assert after[0].events() == before.events()


def test_recording_changes_nothing_of_a_run(recorded: Ran, tmp_path: Path) -> None:
    """Recorded or not, the same seed gives the same run."""
    project = write_project(tmp_path, documents(6), params={"stream": True}, documents_in_flight=4)

    plain = record(project, None, faults=TROUBLES)

    assert plain.result.recording is None
    assert plain.events() == recorded.events()


def test_a_replay_has_no_connections(recorded: Ran, folder: Path, tmp_path: Path) -> None:
    """The manifest counts sockets where they are made."""
    project = write_project(tmp_path, documents(1), stages=EVERYTHING, params={"stream": True})

    again = replay(project, folder / "recording")

    manifest = json.loads((again.run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["resources"]["connections"] == {"opened": 0, "closed": 0}
    assert manifest["replayed"] is True
    assert again.result.recording is not None
    assert again.result.recording.unused == recorded.result.usage.attempts - again.result.usage.attempts


def _timeless(ran: Ran) -> dict[str, list[dict[str, Any]]]:
    """Return each document's events, without what a timeout's report says was left of others."""
    told: dict[str, list[dict[str, Any]]] = json.loads(_LEFT.sub("", json.dumps(ran.events_by_document())))
    return told
