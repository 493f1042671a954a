"""A provider that fails for all, with a role to fall back on: the run ends well, and says who answered."""

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.integration.command import Launcher
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import ONE_CALL, make_project, prose
from tests.integration.provider import open_separate_simulator

from agent_pipeline.domain.document import JsonValue


@pytest.mark.parametrize(("status", "code"), [(500, "server_error"), (401, "credentials_rejected")])
def test_fallback_answers_for_a_provider_that_fails_for_all(
    launcher: Launcher, tmp_path: Path, status: int, code: str
) -> None:
    """Agents never see it; what would have ended the run (401) does not, and is asked no more."""
    broken = [{"kind": "status", "status": status, "rate": 1.0}]
    with (
        open_separate_simulator(launcher, tmp_path / "first", faults=broken) as first,
        open_separate_simulator(launcher, tmp_path / "second") as second,
    ):
        limits: dict[str, JsonValue] = {
            "documents_in_flight": 1,
            "retry": {"max_attempts": 2, "initial_delay": 0.01, "max_delay": 0.01},
        }
        project = make_project(tmp_path / "project", prose(5), stages=ONE_CALL, limits=limits)
        roles = {
            "project": "trial",
            "env": "test",
            "providers": {"main": {"base_url": first.base_url}, "spare": {"base_url": second.base_url}},
            "roles": {
                "writer": {"provider": "main", "model": "large", "params": {"max_tokens": 99}, "fallback": "stand_in"},
                "stand_in": {"provider": "spare", "model": "small", "params": {"max_tokens": 98}},
            },
        }
        project.roles.write_text(json.dumps(roles), encoding="utf-8")

        ended = launcher.run("run", "--json", cwd=project.root)
        asked_first, asked_second = first.requests(), second.requests()

    assert ended.exit_code == 0, ended.stderr
    (run,) = project.runs()
    left = Leavings(run)
    assert_complete(left)
    asked = Counter((row["role"], row["model"], row["error_code"]) for row in left.attempts)
    assert asked == {("writer", "large", code): asked_first, ("stand_in", "small", None): asked_second}
    assert asked_second == 5
    # The tenth failure in a row opens the breaker, whose three probes fail as well.
    assert asked_first == (1 if status == 401 else 10 + 3)
    lines = left.named("FALLBACK")
    assert [line.fields["doc"] for line in lines] == [f"d{n:04}" for n in range(1, 6)]
    assert {(line.fields["role"], line.fields["fallback"], line.fields["reason"]) for line in lines} == {
        ("writer", "stand_in", "unavailable")
    }
