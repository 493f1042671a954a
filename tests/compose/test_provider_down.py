"""A provider that fails for all, and a document that fails alone, through a whole run in virtual time."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import IN_THIS_PROCESS, Project, make_project, prose
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.domain.result import RunResult
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.paths import near
from agent_pipeline.simulator import FaultPlan, Simulator

DOWN: dict[str, object] = {"kind": "status", "status": 503}
DEFAULT_RETRY: dict[str, JsonValue] = {"initial_delay": 0.5, "max_delay": 60, "max_attempts": 5}


def options_with(simulator: Simulator) -> RunOptions:
    """Return options of a run in virtual time against this provider."""
    return RunOptions(offline=True, virtual=True, seed=1, make_pool=lambda: simulator_pool(simulator))


def provider_with(*faults: dict[str, object], latency: float = 0.0) -> Simulator:
    """Return a provider with these faults."""
    return Simulator(faults=FaultPlan.from_mapping({"faults": list(faults), "latency": latency}))


async def run(project: Project, provider: Simulator) -> tuple[RunResult, Leavings]:
    """Run to the end."""
    result = await Pipeline.from_config(project.config, options=options_with(provider)).run()
    return result, left_by(project)


async def resume(project: Project, provider: Simulator, *, retry_failed: bool = False) -> tuple[RunResult, Leavings]:
    """Go on with the project's run."""
    (path,) = project.runs()
    options = replace(options_with(provider), retry_failed=retry_failed)
    result = await Pipeline.from_run(path, options=options).run()
    return result, left_by(project)


def left_by(project: Project) -> Leavings:
    """Return what the project's one run left, which is whole."""
    (path,) = project.runs()
    left = Leavings(path)
    assert_complete(left)
    return left


def retrying(project_root: Path, count: int, **limits: JsonValue) -> Project:
    """Make a project of one call per document, with the default pauses between attempts."""
    retry = {**DEFAULT_RETRY, "max_attempts": limits.pop("max_attempts", 5)}
    return make_project(project_root, prose(count), stages=IN_THIS_PROCESS, limits={"retry": retry, **limits})


@pytest.mark.parametrize(
    "fault", [DOWN, {"kind": "reset_before_body"}, {"kind": "hang"}], ids=["503", "connection_lost", "timeout"]
)
async def test_a_dead_provider_ends_the_run_and_blames_no_document(
    tmp_path: Path, fault: dict[str, object], autojump_clock: MockClock
) -> None:
    """Exit 6 with a reason; what was in flight is cancelled, what was not begun is untouched; resume does all of it."""
    project = retrying(tmp_path, 60, documents_in_flight=20)
    provider = provider_with(fault, latency=0.1)

    result, left = await run(project, provider)

    assert (result.outcome, result.exit_code, result.reason) == ("failed", 6, "provider_down")
    assert {row["outcome"] for row in left.documents} == {"cancelled"}
    assert len(left.documents) == 20
    assert provider.statistics.requests == len(left.attempts) == 20 + 3
    states = [line.fields["state"] for line in left.named("BREAKER")]
    assert states == ["open", "half_open", "open", "half_open", "open", "half_open", "down"]
    assert (left.run["reason"], left.named("PIPELINE_STOPPING")[0].fields["reason"]) == ("provider_down",) * 2
    assert "resume the run" in left.named("PIPELINE_STOPPING")[0].fields["detail"]
    assert result.next[0] == f"agent-pipeline resume {near(result.run_dir)}"

    again, left = await resume(project, provider_with())

    assert (again.exit_code, again.documents.succeeded) == (0, 60)
    assert {row["outcome"] for row in left.documents} == {"succeeded"}


async def test_documents_that_failed_just_before_are_worked_on_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    """With one attempt each, nine had failed before anybody could know; it was not their fault either."""
    project = retrying(tmp_path, 30, max_attempts=1)

    result, left = await run(project, provider_with(DOWN))

    ends = Counter((row["outcome"], row["error_code"]) for row in left.documents)
    assert ends == {("failed", "server_error"): 9, ("cancelled", "provider_down"): 21}
    assert result.exit_code == 6
    again, _ = await resume(project, provider_with())
    assert (again.exit_code, again.documents.succeeded) == (0, 30)


async def test_documents_that_failed_in_a_run_that_went_on_stay_failed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Their provider was there for others: only `--retry-failed` asks again."""
    project = retrying(tmp_path, 3, max_attempts=2)
    (result, _), provider = await run(project, provider_with(DOWN)), provider_with()
    assert (result.exit_code, result.documents.failed) == (1, 3)

    result, _ = await resume(project, provider)
    assert (result.exit_code, result.documents.failed, provider.statistics.requests) == (1, 3, 0)

    result, _ = await resume(project, provider, retry_failed=True)
    assert (result.exit_code, result.documents.succeeded) == (0, 3)


async def test_an_outage_in_the_middle_loses_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Twenty-five requests in the middle of a run fail, whoever's they are; every document succeeds."""
    project = retrying(tmp_path, 100, requests_in_flight=20)
    outage = {**DOWN, "script": list(range(41, 66))}

    result, left = await run(project, provider_with(outage, latency=0.5))

    assert (result.exit_code, result.documents.succeeded) == (0, 100)
    assert {line.fields["state"] for line in left.named("BREAKER")} == {"open", "half_open", "closed"}
    assert "breaker" in {row["wait_reason"] for row in left.attempts}


async def test_one_document_that_always_fails_is_poisoned(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Fifty documents, one always 500: three requests for it, no breaker, and it stays failed on resume."""
    project = retrying(tmp_path, 50)
    bad: dict[str, object] = {"kind": "status", "status": 500, "match": {"contains": "note number 7."}}
    provider = provider_with(bad, latency=0.2)

    result, left = await run(project, provider)

    assert (result.exit_code, result.documents.succeeded, result.documents.failed) == (1, 49, 1)
    (failure,) = result.failures
    assert (failure.document_id, failure.stage, failure.code) == ("d0007", "summarise", "poisoned")
    assert "failed 3 times with server_error" in failure.error
    assert provider.statistics.requests == len(left.attempts) == 49 + 3
    assert left.named("BREAKER") == []

    again, _ = await resume(project, provider)
    assert (again.exit_code, again.session.requests) == (1, 0)


async def test_a_request_that_is_too_long_is_sent_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    """For every document of fifty: fifty requests, no retry, no breaker."""
    project = retrying(tmp_path, 50)
    too_long: dict[str, object] = {"kind": "status", "status": 400, "code": "context_length_exceeded"}
    provider = provider_with(too_long)

    result, left = await run(project, provider)

    assert (result.exit_code, result.documents.failed, provider.statistics.requests) == (1, 50, 50)
    assert {row["error_code"] for row in left.documents} == {"request_rejected"}
    assert left.named("BREAKER") == []


@pytest.mark.parametrize(
    ("fault", "reason", "hint"),
    [
        ({"status": 401}, "credentials_rejected", "check the provider's key"),
        ({"status": 402}, "quota_exhausted", "add credit or raise the account's limit"),
        ({"status": 429, "code": "insufficient_quota"}, "quota_exhausted", "add credit or raise the account's limit"),
        ({"status": 404, "code": "model_not_found"}, "model_not_found", "check the role's model"),
    ],
    ids=["401", "402", "429 quota", "model"],
)
async def test_what_every_request_would_meet_is_met_by_those_in_flight_alone(
    tmp_path: Path, fault: dict[str, object], reason: str, hint: str, autojump_clock: MockClock
) -> None:
    """Exit 5, the message says what to do, and `next` how to go on."""
    project = retrying(tmp_path, 50, requests_in_flight=4)
    provider = provider_with({"kind": "status", **fault}, latency=0.1)

    result, left = await run(project, provider)

    assert (result.exit_code, result.reason) == (5, reason)
    assert provider.statistics.requests == 4
    assert hint in left.named("PIPELINE_STOPPING")[0].fields["detail"]
    first = "doctor" if reason == "credentials_rejected" else "resume"
    assert result.next[0].startswith(f"agent-pipeline {first} ")
    again, _ = await resume(project, provider_with())
    assert (again.exit_code, again.documents.succeeded) == (0, 50)
