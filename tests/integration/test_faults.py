"""What providers do wrong, through the whole pipeline: what heals, what ends the run, and what the records say."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from socket import create_server

import pytest
from tests.integration.command import Ended, Launcher
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import ONE_CALL, Project, make_project, prose
from tests.integration.provider import SeparateSimulator, open_separate_simulator

from agent_pipeline.domain.document import JsonValue

TIMEOUTS: dict[str, JsonValue] = {"run": None, "document": 30, "stage": 20, "attempt": 5, "read": 4, "connect": 2}
RETRY: dict[str, JsonValue] = {"initial_delay": 0.01, "max_delay": 0.02}


def run(launcher: Launcher, project: Project, *arguments: str) -> tuple[Ended, Leavings]:
    """Run to the end; return it, and what it left."""
    ended = launcher.run("run", project.config, "--json", *arguments, cwd=project.root)
    assert "Traceback" not in ended.stderr
    (path,) = project.runs()
    left = Leavings(path)
    assert_complete(left)
    assert ended.result["exit_code"] == ended.exit_code
    return ended, left


def project_at(root: Path, base_url: str, count: int, limits: Mapping[str, JsonValue] | None = None) -> Project:
    """Make a project of one agent call per document."""
    return make_project(
        root,
        prose(count),
        stages=ONE_CALL,
        base_url=base_url,
        limits={"timeouts": TIMEOUTS, "retry": RETRY, **(limits or {})},
    )


def failures(left: Leavings) -> dict[str, tuple[str, str]]:
    """Return stage and error code of each PIPELINE_FAILURE line by document."""
    return {
        line.fields["doc"]: (line.fields["stage"], line.fields["error_code"]) for line in left.named("PIPELINE_FAILURE")
    }


@dataclass(frozen=True)
class Healed:
    """A fault that strikes a document's first request and no other.

    Attributes:
        code: of the attempt that met it.
        status: of that attempt.
        free: whether the provider says that it did not work on the request.
    """

    fault: dict[str, JsonValue]
    code: str
    status: int | None
    free: bool = False


WHOLE = {
    "rate_limit": Healed({"kind": "status", "status": 429, "retry_after": 0.15}, "rate_limited", 429, free=True),
    "unavailable": Healed({"kind": "status", "status": 503}, "server_error", 503, free=True),
    "reset": Healed({"kind": "reset_before_body"}, "connection_lost", None),
    "reset_midway": Healed({"kind": "reset_mid_body"}, "connection_lost", 200),
    "malformed": Healed({"kind": "malformed_json"}, "bad_answer", 200),
    "html": Healed({"kind": "html_200"}, "bad_answer", 200),
    "empty": Healed({"kind": "empty_object"}, "bad_answer", 200),
    "hang": Healed({"kind": "hang"}, "attempt_timeout", None),
    "drip": Healed({"kind": "slow_drip", "bytes": 4, "delay": 0.05}, "attempt_timeout", 200),
}
STREAMED = {
    "truncated": Healed({"kind": "truncate_stream"}, "stream_truncated", 200),
    "reset_midway": WHOLE["reset_midway"],
    "html": WHOLE["html"],
    "hang_midway": Healed({"kind": "hang_mid_body"}, "attempt_timeout", 200),
}


@pytest.fixture(scope="module", params=[pytest.param(WHOLE, id="whole"), pytest.param(STREAMED, id="streamed")])
def healed(
    request: pytest.FixtureRequest, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Healed], Ended, Leavings, int]:
    """Run one document per fault, at once; return also how many requests the server counted."""
    faults: dict[str, Healed] = request.param
    root = tmp_path_factory.mktemp("healed")
    plan = [{**one.fault, "script": [1], "match": {"contains": f"({name})"}} for name, one in faults.items()]
    timeouts: dict[str, JsonValue] = {**TIMEOUTS, "attempt": 1.5, "read": 1.4, "connect": 1.4}
    with open_separate_simulator(launcher, root / "server", faults=plan) as simulator:
        project = make_project(
            root / "project",
            [{"id": name, "text": f"# Fault ({name})\n\nThis text meets it.\n"} for name in faults],
            stages=ONE_CALL,
            base_url=simulator.base_url,
            params={"stream": faults is STREAMED},
            limits={"timeouts": timeouts, "retry": RETRY},
        )
        ended, left = run(launcher, project)
        return faults, ended, left, simulator.requests()


def test_passing_faults_cost_an_attempt_and_no_document(
    healed: tuple[dict[str, Healed], Ended, Leavings, int],
) -> None:
    """Every document succeeds in the end, and the records say what happened to its first request."""
    faults, ended, left, requests = healed

    assert ended.exit_code == 0, ended.stderr
    assert requests == len(left.attempts) == 2 * len(faults)
    for name, expected in faults.items():
        failed, again = (row for row in left.attempts if row["document_id"] == name)
        assert (failed["outcome"], again["outcome"]) == ("failed", "succeeded"), name
        assert (failed["error_code"], failed["status_code"]) == (expected.code, expected.status), name
        line = next(line for line in left.named("ATTEMPT") if line.fields["attempt_id"] == failed["attempt_id"])
        assert (line.level, line.fields["error_code"]) == ("WARNING", expected.code)


def test_records_tell_what_was_waited_for(healed: tuple[dict[str, Healed], Ended, Leavings, int]) -> None:
    """A 429 uses up no attempt and is waited out as asked; all else counts, and backs off."""
    faults, _, left, _ = healed

    for name in faults:
        first, again = (row for row in left.attempts if row["document_id"] == name)
        if name == "rate_limit":
            assert (again["number"], again["wait_reason"]) == (1, "cooldown")
            begun = [datetime.fromisoformat(str(row["started_at"])) for row in (first, again)]
            assert (begun[1] - begun[0]).total_seconds() >= 0.15  # what of it is left when it is asked again, is waited
        else:
            assert again["number"] == 2, name
    assert "backoff" in {row["wait_reason"] for row in left.attempts}


def test_charges_add_up_whatever_went_wrong(healed: tuple[dict[str, Healed], Ended, Leavings, int]) -> None:
    """What the provider may bill is charged in full and called unknown; what it refused costs nothing."""
    faults, ended, left, _ = healed
    usage = ended.result["usage"]
    assert isinstance(usage, dict)

    unknown = 0
    for name, expected in faults.items():
        failed = next(row for row in left.attempts if row["document_id"] == name)
        if expected.free:
            assert failed["charged_tokens"] == 0, name
        elif failed["input_tokens"] is None:
            assert failed["charged_tokens"] == failed["reserved_tokens"], name
            unknown += int(str(failed["charged_tokens"]))
    assert unknown == usage["unknown_tokens"] > 0
    assert sum(int(str(row["charged_tokens"])) for row in left.attempts) == usage["charged_tokens"]


def test_a_document_that_fails_does_not_stop_the_others(launcher: Launcher, tmp_path: Path) -> None:
    """The stage that failed is named, in the order of the source."""
    fault = {"kind": "status", "status": 400, "match": {"contains": "note number 2."}}
    with open_separate_simulator(launcher, tmp_path / "server", faults=[fault]) as simulator:
        ended, left = run(launcher, project_at(tmp_path / "project", simulator.base_url, 3))

        assert simulator.requests() == len(left.attempts) == 3
    assert (ended.exit_code, ended.result["reason"]) == (1, "documents_failed")
    assert failures(left) == {"d0002": ("summarise", "request_rejected")}
    assert [row["failed_stage"] for row in left.documents] == [None, "summarise", None]


@pytest.mark.parametrize(
    ("fault", "reason", "hint"),
    [
        ({"status": 401}, "credentials_rejected", "key"),
        pytest.param({"status": 402}, "quota_exhausted", "credit", marks=pytest.mark.slow),
        pytest.param(
            {"status": 429, "code": "insufficient_quota"}, "quota_exhausted", "credit", marks=pytest.mark.slow
        ),
        pytest.param({"status": 404, "code": "model_not_found"}, "model_not_found", "model", marks=pytest.mark.slow),
    ],
)
def test_where_all_requests_are_in_vain_those_in_flight_are_the_last(
    launcher: Launcher, tmp_path: Path, fault: dict[str, JsonValue], reason: str, hint: str
) -> None:
    """With a wrong key every further request is in vain: of fifty documents at most two ask."""
    faults = [{"kind": "status", **fault}]
    with open_separate_simulator(launcher, tmp_path / "server", faults=faults, latency=0.05) as simulator:
        project = project_at(tmp_path / "project", simulator.base_url, 50, {"requests_in_flight": 2})

        ended, left = run(launcher, project)

        assert 1 <= simulator.requests() == len(left.attempts) <= 2
    assert (ended.exit_code, left.run["reason"]) == (5, reason)
    assert {row["outcome"] for row in left.documents} == {"cancelled"}
    assert hint in ended.stderr
    assert hint in str(ended.result["detail"])
    first = "doctor" if reason == "credentials_rejected" else "resume"
    assert str(ended.result["next"]).startswith(f"['agent-pipeline {first} ")


def test_a_budget_that_is_used_up_lets_what_is_in_flight_end(
    launcher: Launcher, simulator: SeparateSimulator, tmp_path: Path
) -> None:
    """No more is admitted, nothing is cancelled, and the cap holds."""
    project = project_at(tmp_path, simulator.base_url, 60, {"documents_in_flight": 4})

    ended, left = run(launcher, project, "--budget-tokens", "6000")

    result, usage = ended.result, ended.result["usage"]
    assert isinstance(usage, dict)
    assert (ended.exit_code, result["reason"], result["outcome"]) == (4, "budget:tokens", "incomplete")
    assert usage["charged_tokens"] <= 6_000
    assert all(row["outcome"] == "succeeded" for row in left.attempts)
    ends = [row["outcome"] for row in left.documents]
    assert ends.count("succeeded") > 4
    assert set(ends) == {"succeeded", "cancelled"}
    assert len(ends) < 60
    assert {row["error_code"] for row in left.documents if row["outcome"] == "cancelled"} == {"budget_exceeded"}


def test_a_provider_that_two_documents_do_not_reach_is_said_to_be_unreachable(
    launcher: Launcher, tmp_path: Path
) -> None:
    """Nothing was sent, so nothing is a row, and the address that was tried is named."""
    port = free_port()

    ended, left = run(launcher, project_at(tmp_path, f"http://127.0.0.1:{port}/v1", 2))

    assert (ended.exit_code, ended.result["reason"]) == (6, "provider_unreachable")
    assert left.attempts == []
    assert failures(left) == {f"d000{n}": ("summarise", "provider_unreachable") for n in (1, 2)}
    assert f"127.0.0.1:{port}" in str(left.documents[0]["error"])
    assert len(left.named("ATTEMPT")) == 2 * 5


def test_a_dead_provider_blames_no_document_and_the_run_goes_on_when_it_is_back(
    launcher: Launcher, tmp_path: Path
) -> None:
    """Exit 6 after three probes, whatever the number of documents; resume finishes all of them."""
    port = free_port()
    project = project_at(tmp_path / "p", f"http://127.0.0.1:{port}/v1", 30, {"documents_in_flight": 10})

    ended, left = run(launcher, project)

    assert (ended.exit_code, ended.result["reason"]) == (6, "provider_down")
    assert [row["outcome"] for row in left.documents] == ["cancelled"] * 10
    assert f"127.0.0.1:{port}" in str(ended.result["detail"])
    assert [line.fields["state"] for line in left.named("BREAKER")][-2:] == ["half_open", "down"]
    assert len(left.named("ATTEMPT")) <= 10 + 10 + 3
    (tmp_path / "server").mkdir()
    simulator = SeparateSimulator(launcher, tmp_path / "server", "--port", str(port))
    try:
        again = launcher.run("resume", left.path.name, "--json", cwd=project.root)
        assert simulator.requests() == 30
    finally:
        simulator.close()
    assert again.exit_code == 0, again.stderr
    assert {row["outcome"] for row in Leavings(left.path).documents} == {"succeeded"}


def test_a_document_that_always_fails_is_poisoned_and_the_others_succeed(launcher: Launcher, tmp_path: Path) -> None:
    """It is not asked for as often as there are attempts, once others have shown that it is the document."""
    fault = {"kind": "status", "status": 500, "match": {"contains": "note number 2."}}
    retry: dict[str, JsonValue] = {**RETRY, "max_attempts": 20}
    with open_separate_simulator(launcher, tmp_path / "server", faults=[fault], latency=0.1) as simulator:
        ended, left = run(launcher, project_at(tmp_path / "project", simulator.base_url, 50, {"retry": retry}))

        assert 49 + 3 <= simulator.requests() == len(left.attempts) <= 49 + 6
    assert (ended.exit_code, failures(left)) == (1, {"d0002": ("summarise", "poisoned")})
    assert [row["outcome"] for row in left.documents].count("succeeded") == 49
    assert left.named("BREAKER") == []


def free_port() -> int:
    """Return a port nobody listens on."""
    with closing(create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_the_timeout_of_a_run_cancels_what_is_in_flight(launcher: Launcher, tmp_path: Path) -> None:
    """The rung that fired is named; what was cut off is cancelled, not failed."""
    with open_separate_simulator(launcher, tmp_path / "server", latency=4) as simulator:
        ended, left = run(launcher, project_at(tmp_path / "project", simulator.base_url, 5), "--timeout", "0.5")

    assert (ended.exit_code, ended.result["reason"]) == (1, "deadline:run")
    assert {(row["outcome"], row["error_code"]) for row in left.documents} == {("cancelled", "deadline_exceeded")}
    assert {row["error"] for row in left.documents} == {"the 0.5 s run timeout ran out"}
    assert float(str(ended.result["duration_seconds"])) < 3
    assert failures(left) == {}


@pytest.mark.parametrize("rung", ["document", pytest.param("stage", marks=pytest.mark.slow)])
def test_inner_timeouts_fail_the_document_alone(launcher: Launcher, tmp_path: Path, rung: str) -> None:
    """The error names the rung of the ladder that ran out."""
    timeouts: dict[str, JsonValue] = {"document": 2, "stage": None} if rung == "document" else {"stage": 2}
    fault = {"kind": "hang", "match": {"contains": "note number 1."}}
    with open_separate_simulator(launcher, tmp_path / "server", faults=[fault]) as simulator:
        limits: dict[str, JsonValue] = {
            "timeouts": {**TIMEOUTS, "attempt": None, "read": None, "connect": 1.5, **timeouts}
        }
        ended, left = run(launcher, project_at(tmp_path / "project", simulator.base_url, 3, limits))

    assert ended.exit_code == 1
    assert failures(left) == {"d0001": ("summarise", "deadline_exceeded")}
    assert f"the 2 s {rung} timeout" in str(left.documents[0]["error"])
    assert [row["outcome"] for row in left.documents] == ["failed", "succeeded", "succeeded"]
