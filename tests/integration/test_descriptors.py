"""Many documents at once under a small limit on open files."""

from pathlib import Path

import pytest
from tests.integration.command import Launcher
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import ONE_CALL, make_project, prose
from tests.integration.provider import open_separate_simulator

from agent_pipeline.domain.document import JsonValue


@pytest.mark.slow
@pytest.mark.parametrize(
    ("soft", "hard", "in_flight"),
    [(1024, 8192, 1000), (1024, 1024, 888), (256, 256, 120)],
    ids=["soft", "hard", "tiny"],
)
def test_a_thousand_documents_fit_under_the_limit_on_open_files(
    launcher: Launcher, tmp_path: Path, soft: int, hard: int, in_flight: int
) -> None:
    """The soft limit is raised as far as the hard one allows; beyond it fewer documents go at once, and none fails."""
    count = 1000 if hard > 256 else 300
    with open_separate_simulator(launcher, tmp_path / "server", latency=0.2) as simulator:
        limits: dict[str, JsonValue] = {"documents_in_flight": count, "requests_in_flight": 40}
        project = make_project(
            tmp_path / "project", prose(count), stages=ONE_CALL, base_url=simulator.base_url, limits=limits
        )

        ended = launcher.run("run", project.config, "--json", cwd=tmp_path, descriptors=(soft, hard))

        assert simulator.requests() == count
    assert ended.exit_code == 0, ended.stderr[-2000:]
    (run,) = project.runs()
    left = Leavings(run)
    assert_complete(left)
    assert {row["outcome"] for row in left.documents} == {"succeeded"}
    assert left.named("PIPELINE_STARTED")[0].fields["documents_in_flight"] == str(in_flight)
    assert len(left.named("DOCUMENTS_CLAMPED")) == (in_flight < count)
    resources = left.manifest["resources"]
    assert isinstance(resources, dict)
    assert resources["loops"] == {"opened": count, "closed": count}
