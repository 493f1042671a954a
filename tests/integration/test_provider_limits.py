"""Limits that a provider keeps, over real sockets: what it saw is what the run was told to send."""

from pathlib import Path

from tests.integration.command import Launcher
from tests.integration.leavings import Leavings
from tests.integration.project import ONE_CALL, make_project, prose
from tests.integration.provider import capacity, failing_for, open_separate_simulator, rate_limit


def test_a_run_that_keeps_to_the_capacity_is_never_refused(launcher: Launcher, tmp_path: Path) -> None:
    """The provider's own count says so; the one document that fails, fails for another reason."""
    faults = [capacity(in_flight=2), rate_limit(requests=12), failing_for("note number 3.", 400)]
    with open_separate_simulator(launcher, tmp_path / "server", faults=faults, latency=0.02) as simulator:
        project = make_project(
            tmp_path / "project",
            prose(12),
            stages=ONE_CALL,
            base_url=simulator.base_url,
            limits={"requests_in_flight": 2},
        )
        ended = launcher.run("run", project.config, "--json", cwd=project.root)
        seen = simulator.of_model("gpt-5-mini")

    (run,) = project.runs()
    left = Leavings(run)
    assert (ended.exit_code, ended.result["reason"]) == (1, "documents_failed")
    assert [row["document_id"] for row in left.documents if row["outcome"] != "succeeded"] == ["d0003"]
    assert (seen["requests"], seen["refused"]) == (len(left.attempts), 0) == (12, 0)
    assert seen["most_requests_per_minute"] == 12
