"""Runs that are cut short while they are recorded, and recordings of thousands of exchanges."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import trio
from tests.recording.world import ONE_AFTER_THE_OTHER, ONE_CALL, documents, lines_of, record, replay, run, write_project
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.compose.runtime import load_libraries
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.gateway.recording import open_recording
from agent_pipeline.gateway.recording.asked import AskedRequest
from agent_pipeline.gateway.recording.exchanges import Exchange, to_line
from agent_pipeline.gateway.recording.lanes import load_lane
from agent_pipeline.runs.directory import find_run
from agent_pipeline.simulator import FaultPlan, Simulator


def test_a_cancelled_run_leaves_a_whole_recording(tmp_path: Path) -> None:
    """All that was answered is there, the index counts it, and the run that goes on is recorded behind it."""
    project = write_project(tmp_path / "project", documents(4), stages=ONE_AFTER_THE_OTHER)
    simulator = Simulator(faults=FaultPlan.from_mapping({"latency": 1.0}))
    options = RunOptions(
        offline=True,
        virtual=True,
        seed=1,
        make_pool=lambda: simulator_pool(simulator),
        record=str(tmp_path / "recording"),
    )
    load_libraries()

    async def cut_off() -> None:
        with trio.move_on_after(4.5):
            await Pipeline.from_config(project.config, options=options).run()

    trio.run(cut_off, clock=MockClock(autojump_threshold=0), strict_exception_groups=True)

    held = sum(len(lane) for lane in lines_of(tmp_path / "recording").values())
    assert held == open_recording(tmp_path / "recording").index.exchanges == 4 * 4
    [directory] = project.runs()
    resumed = Pipeline.from_run(
        directory,
        options=RunOptions(
            offline=True,
            virtual=True,
            seed=1,
            make_pool=lambda: simulator_pool(simulator),
            record=str(tmp_path / "recording"),
        ),
    )
    result = trio.run(resumed.run, clock=MockClock(autojump_threshold=0), strict_exception_groups=True)
    assert result.outcome == "completed"

    again = replay(write_project(tmp_path / "again", documents(4), stages=ONE_AFTER_THE_OTHER), tmp_path / "recording")

    assert again.result.documents.succeeded == 4
    assert again.artifacts() == {
        path.name: digest
        for path, digest in zip(sorted(project.artifacts.iterdir()), again.artifacts().values(), strict=True)
    }


def test_the_line_that_a_kill_tore_is_left_out_and_taken_away(tmp_path: Path) -> None:
    """What is there is replayed, what is not is a miss; a run that goes on writes behind the last whole line."""
    project = write_project(tmp_path / "project", documents(2), stages=ONE_AFTER_THE_OTHER)
    ran = record(project, tmp_path / "recording")
    path = tmp_path / "recording" / "documents" / "d01.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    index = tmp_path / "recording" / "recording.json"
    index.write_text(json.dumps(json.loads(index.read_text(encoding="utf-8")) | {"exchanges": None}), encoding="utf-8")

    again = replay(write_project(tmp_path / "again", documents(2), stages=ONE_AFTER_THE_OTHER), tmp_path / "recording")

    assert (again.result.documents.succeeded, again.result.documents.failed) == (1, 1)
    [failure] = again.result.failures
    assert (failure.document_id, failure.code) == ("d01", "replay_miss")
    totals = again.result.recording
    assert totals is not None
    assert (totals.missed, totals.unused) == (1, None)
    assert totals.exchanges == ran.result.usage.attempts - 1
    assert path.read_bytes() == whole[:-20]


def test_what_a_resumed_run_asked_again_is_replayed_first(tmp_path: Path) -> None:
    """The session before was cut off, so that its answers lead to no request that was recorded."""
    asked = AskedRequest("p", "POST", "/v1/responses", {"input": 1})
    made: dict[str, Any] = {
        "document_id": "d",
        "stage": "s",
        "cycle": 1,
        "role": "r",
        "attempt": 1,
        "at": "",
        "latency": 0.0,
    }
    path = tmp_path / "d.jsonl"
    told = [(1, "first"), (1, "second"), (2, "third"), (2, "fourth"), (3, "fifth")]
    lines = [to_line(Exchange(**made, session=at, request=asked, sent=True, status=200, body=it)) for at, it in told]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    lane = load_lane(path, "d")
    offsets = [lane.take(asked.digest()) for _ in told]

    assert [lane.read(one).body for one in offsets if one is not None] == [
        "fifth",
        "third",
        "fourth",
        "first",
        "second",
    ]
    assert lane.offsets == sorted(lane.offsets)
    assert lane.recorded(asked.digest()) == 5


def test_a_replay_that_was_cut_short_goes_on_as_a_replay(tmp_path: Path) -> None:
    """Resumed by its name alone, it must not turn to a provider, for money."""
    record(write_project(tmp_path / "project", documents(2), stages=ONE_CALL), tmp_path / "recording")
    project = write_project(tmp_path / "again", documents(2), stages=ONE_CALL)
    first = run(project, RunOptions(virtual=True, seed=1, replay=str(tmp_path / "recording"), limit=1))

    resumed = Pipeline.from_run(first.run)

    assert resumed.options.replay == str(tmp_path / "recording")
    assert resumed.options.record is None
    assert resumed.options.run == find_run(str(first.run), project.logs)


def test_ten_thousand_exchanges_are_known_by_their_places(tmp_path: Path) -> None:
    """A replay holds where each one is, and never their bodies: here 60 MB of them."""
    path = tmp_path / "lane.jsonl"
    text = "word " * 1000
    with path.open("w", encoding="utf-8") as file:
        for number in range(10_000):
            exchange = Exchange(
                document_id="d",
                stage="s",
                cycle=1,
                role="r",
                session=1,
                attempt=1,
                at="now",
                request=AskedRequest("p", "POST", "/v1/responses", {"input": number}),
                latency=0.1,
                sent=True,
                status=200,
                body=text + str(number),
            )
            file.write(to_line(exchange) + "\n")

    tracemalloc.start()
    lane = load_lane(path, "d")
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(lane.offsets) == 10_000
    assert path.stat().st_size > 50_000_000
    assert held < 10_000_000
    assert peak < 12_000_000
    digest = AskedRequest("p", "POST", "/v1/responses", {"input": 9_999}).digest()
    offset = lane.take(digest)
    assert offset is not None
    assert lane.read(offset).body == text + "9999"
    assert lane.take(digest) is None
