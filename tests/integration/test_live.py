"""A live file edited by somebody else while a run goes on, over real sockets."""

import json
import time
from pathlib import Path

from tests.integration.command import Launcher, Process, wait_until
from tests.integration.leavings import Leavings, assert_complete, json_lines
from tests.integration.project import ONE_CALL, Project, make_project, prose
from tests.integration.provider import open_separate_simulator

from agent_pipeline.domain.document import JsonValue


def live_project(root: Path, base_url: str, count: int, limits: dict[str, JsonValue]) -> tuple[Project, Path]:
    project = make_project(root, prose(count), stages=ONE_CALL, base_url=base_url, limits=limits)
    pipeline = json.loads(project.config.read_text())
    project.config.write_text(json.dumps({**pipeline, "live": "live.json"}), encoding="utf-8")
    roles = json.loads(project.roles.read_text())
    writer = {"provider": "openai", "model": "small", "params": {"max_tokens": 100}}
    project.roles.write_text(json.dumps({**roles, "roles": {"writer": writer}}), encoding="utf-8")
    return project, root / "live.json"


def wait_for(process: Process, project: Project, *words: str) -> None:
    """Wait until the run log has this line."""

    def is_there() -> bool:
        logs = [path for path in (Leavings(run).log_path for run in project.runs()) if path.exists()]
        lines = [line for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
        return any(all(word in line for word in words) for line in lines)

    wait_until(is_there, 20, lambda: f"no {words} in the log\n{process.stderr}")


def test_a_run_follows_its_live_file(launcher: Launcher, tmp_path: Path) -> None:
    """Shrunk from 20 to 3, then broken, then another model: nothing is cancelled, lost, or left open."""
    with open_separate_simulator(launcher, tmp_path / "server", latency=0.1) as simulator:
        limits: dict[str, JsonValue] = {"documents_in_flight": 20, "requests_in_flight": 50}
        project, live = live_project(tmp_path / "project", simulator.base_url, 120, limits)
        process = launcher.start("run", "--json", "--strict-shutdown", cwd=project.root)
        wait_for(process, project, "DOCUMENT_FINISHED")
        live.write_text('{"documents_in_flight": 3}', encoding="utf-8")
        wait_for(process, project, "LIVE_CHANGED", "key=documents_in_flight", "old=20", "new=3", "revision=1")
        live.write_text('{"documents_in_flight": 3, "requests_in_flight": 0}', encoding="utf-8")
        wait_for(process, project, "LIVE_REFUSED", "requests_in_flight")
        new = live.with_name("new.json")
        new.write_text('{"documents_in_flight": 3, "roles": {"writer": {"model": "large"}}}', encoding="utf-8")
        new.replace(live)
        wait_for(process, project, "LIVE_CHANGED", "key=roles.writer.model", "old=small", "new=large", "revision=2")
        ended = process.wait()

    assert ended.exit_code == 0, ended.stderr
    (run,) = project.runs()
    left = Leavings(run)
    assert_complete(left)
    assert ended.result["left_open"] == []
    assert {row["outcome"] for row in left.documents} == {"succeeded"}
    assert_shrunk(left)
    assert_pinned(left)


def assert_shrunk(left: Leavings) -> None:
    """Nobody was let in until three were left (but for those who had their place already); then never a fourth."""
    count, most, admitted, phase = 0, 0, 0, "wide"
    for event in json_lines(left.path / "events.jsonl"):
        starts = event["event"] == "DOCUMENT_STARTED"
        count += starts - (event["event"] == "DOCUMENT_FINISHED")
        if event["event"] == "LIVE_CHANGED" and event["key"] == "documents_in_flight":
            assert (event["old"], event["new"], phase) == (20, 3, "wide")
            phase, admitted = "shrinking", 20 - count
        elif phase == "shrinking":
            admitted -= starts
            assert admitted >= 0
            phase = "narrow" if count <= 3 else phase
        assert count <= (3 if phase == "narrow" else 20)
        most = max(most, count)
    assert (most, phase) == (20, "narrow")


def assert_pinned(left: Leavings) -> None:
    """Who started before the swap asked the old model, who started after it the new one."""
    swapped, begun = False, dict[object, str]()
    for event in json_lines(left.path / "events.jsonl"):
        swapped |= event["event"] == "LIVE_CHANGED" and event["key"] == "roles.writer.model"
        if event["event"] == "DOCUMENT_STARTED":
            begun[event["document_id"]] = "large" if swapped else "small"
    assert {row["document_id"]: row["model"] for row in left.attempts} == begun
    assert set(begun.values()) == {"small", "large"}


def test_a_live_file_costs_a_run_nothing_to_end(launcher: Launcher, tmp_path: Path) -> None:
    """The thread that looks ends at once, time and again, and leaves no descriptor."""
    with open_separate_simulator(launcher, tmp_path / "server") as simulator:
        project, live = live_project(tmp_path / "project", simulator.base_url, 1, {})
        live.write_text("{}", encoding="utf-8")
        for _ in range(5):
            begun = time.monotonic()
            ended = launcher.run("run", "--json", "--strict-shutdown", cwd=project.root)
            assert (ended.exit_code, ended.result["left_open"]) == (0, [])
            assert time.monotonic() - begun < 5
