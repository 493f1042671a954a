"""Limits that are found out or kept, over real sockets: the provider's own counts, and what the records say."""

from collections import Counter
from datetime import datetime
from pathlib import Path

from tests.integration.command import Launcher
from tests.integration.project import make_project, prose
from tests.integration.provider import capacity, open_separate_simulator, rate_limit
from tests.integration.test_faults import project_at, run

from agent_pipeline.domain.document import JsonValue


def test_the_limit_on_requests_is_found_out(launcher: Launcher, tmp_path: Path) -> None:
    """It doubles until the provider refuses; no document pays for that, and each change is told with its reason."""
    faults = [capacity(in_flight=12, retry_after=0.1)]
    with open_separate_simulator(launcher, tmp_path / "server", faults=faults, latency=0.5) as simulator:
        project = project_at(
            tmp_path / "project",
            simulator.base_url,
            150,
            {"documents_in_flight": 100, "requests_in_flight": {"start": 4, "min": 2, "max": 64}},
        )
        ended, left = run(launcher, project)
        seen = simulator.of_model("gpt-5-mini")

    told = [line.fields for line in left.named("LIMIT_CHANGED")]
    changes = [(fields["reason"], int(fields["old"]), int(fields["new"])) for fields in told]
    assert ended.exit_code == 0
    assert changes[:2] == [("doubled", 4, 8), ("doubled", 8, 16)]
    assert next(new for reason, _, new in changes if reason == "rate_limited") < 16
    assert changes[-1][2] <= 12
    assert seen["requests"] == len(left.attempts) == 150 + seen["refused"]
    assert 0 < seen["refused"] <= 40
    assert max(int(str(row["number"])) for row in left.attempts) == 1  # a 429 uses up no attempt


def test_a_429_is_everybodys_pause_and_one_request_probes(launcher: Launcher, tmp_path: Path) -> None:
    """Fifty documents wait, nobody asks before the time, and the first to ask is alone."""
    pause = 1.0
    fault = {"kind": "status", "status": 429, "retry_after": pause, "script": [1, 2]}
    with open_separate_simulator(launcher, tmp_path / "server", faults=[fault], latency=0.2) as simulator:
        limits: dict[str, JsonValue] = {"requests_in_flight": {"start": 1, "min": 1, "max": 64}}
        project = project_at(tmp_path / "project", simulator.base_url, 50, limits)
        ended, left = run(launcher, project)
        requests = simulator.requests()

    rows = sorted(left.attempts, key=lambda row: str(row["started_at"]))
    refused = [row for row in rows if row["status_code"] == 429]
    assert (ended.exit_code, requests, len(refused)) == (0, 52, 2)
    assert rows[:2] == refused  # the second one was the probe
    begun = [_seconds(row["started_at"]) for row in rows]
    assert begun[1] >= begun[0] + pause
    assert begun[2] >= begun[1] + pause
    assert begun[3] >= begun[2] + 0.2  # the next probe is answered before anybody follows
    assert {row["wait_reason"] for row in rows[2:]} <= {"cooldown", "admission"}


def _seconds(moment: object) -> float:
    return datetime.fromisoformat(str(moment)).timestamp()


def test_no_minute_holds_more_requests_than_configured(launcher: Launcher, tmp_path: Path) -> None:
    """The provider counts no more; who would have to wait longer than a stage may take is told so at once."""
    with open_separate_simulator(launcher, tmp_path / "server", faults=[rate_limit(requests=15)]) as simulator:
        project = project_at(tmp_path / "project", simulator.base_url, 40, {"requests_per_minute": 15})
        ended, left = run(launcher, project)
        seen = simulator.of_model("gpt-5-mini")

    assert ended.exit_code == 1
    assert Counter(row["error_code"] for row in left.documents) == {None: 15, "wait_beyond_deadline": 25}
    assert (seen["requests"], seen["refused"], seen["most_requests_per_minute"]) == (15, 0, 15)
    assert len(left.attempts) == 15


def test_limits_that_a_provider_announces_are_kept(launcher: Launcher, tmp_path: Path) -> None:
    """Its headers say how many are left; nobody has to run into the limit to know it."""
    with open_separate_simulator(launcher, tmp_path / "server", faults=[rate_limit(requests=15)]) as simulator:
        limits: dict[str, JsonValue] = {"requests_in_flight": {"start": 2, "min": 1, "max": 2}}
        project = project_at(tmp_path / "project", simulator.base_url, 40, limits)
        _, left = run(launcher, project)
        seen = simulator.of_model("gpt-5-mini")

    assert {row["error_code"] for row in left.documents} == {None, "wait_beyond_deadline"}
    assert seen["requests"] == len(left.attempts) <= 15 + 1
    assert seen["refused"] <= 1


WIDE = """
import trio
from agent_pipeline import stage

@stage(role="writer")
async def ask(document, context):
    wide = "note number 1." in document.text
    async with trio.open_nursery() as nursery:
        for number in range(200 if wide else 1):
            nursery.start_soon(context.ask, f"{number} {document.text}")
    return document
"""


def test_a_wide_document_does_not_starve_the_others(launcher: Launcher, tmp_path: Path) -> None:
    """Two hundred requests of one document and one of each other share four places, turn by turn."""
    with open_separate_simulator(launcher, tmp_path / "server", latency=0.02) as simulator:
        project = make_project(
            tmp_path / "project",
            prose(11),
            stages=("own_stages:ask",),
            own_stages=WIDE,
            base_url=simulator.base_url,
            limits={"requests_in_flight": 4},
        )
        ended, left = run(launcher, project)

    ends = sorted(left.documents, key=lambda row: str(row["ended_at"]))
    assert ended.exit_code == 0
    assert ends[-1]["document_id"] == "d0001"
    wide = sorted(str(row["started_at"]) for row in left.attempts if row["document_id"] == "d0001")
    assert str(ends[-2]["ended_at"]) < wide[len(wide) // 2]
