"""How many connections and requests at once a run needs, as the server counts them."""

from pathlib import Path

from tests.integration.command import Launcher
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import ONE_CALL, make_project, prose
from tests.integration.provider import open_separate_simulator

from agent_pipeline.domain.document import JsonValue


def test_documents_one_after_the_other_share_a_connection(launcher: Launcher, tmp_path: Path) -> None:
    """A loop per document costs no handshake per document; with retries off, a dead loop's connection would show."""
    with open_separate_simulator(launcher, tmp_path / "server") as simulator:
        limits: dict[str, JsonValue] = {"documents_in_flight": 1, "retry": {"max_attempts": 1}}
        project = make_project(
            tmp_path / "project", prose(200), stages=ONE_CALL, base_url=simulator.base_url, limits=limits
        )

        ended = launcher.run("run", project.config, "--json", cwd=tmp_path)

        seen = simulator.statistics()
    assert ended.exit_code == 0, ended.stderr
    assert seen["requests"] == 200
    assert int(str(seen["connections_opened"])) <= 2
    assert seen["max_requests_in_flight"] == 1


def test_many_documents_at_once_keep_to_the_requests_in_flight(launcher: Launcher, tmp_path: Path) -> None:
    """200 documents that all want to ask are let through 20 at a time, on 20 connections."""
    with open_separate_simulator(launcher, tmp_path / "server", latency=0.05) as simulator:
        limits: dict[str, JsonValue] = {"documents_in_flight": 200, "requests_in_flight": 20}
        project = make_project(
            tmp_path / "project", prose(200), stages=ONE_CALL, base_url=simulator.base_url, limits=limits
        )

        ended = launcher.run("run", project.config, "--json", cwd=tmp_path)

        seen = simulator.statistics()
    assert ended.exit_code == 0, ended.stderr
    assert seen["requests"] == 200
    assert 1 < int(str(seen["max_requests_in_flight"])) <= 20
    assert int(str(seen["max_connections_open"])) <= 20
    assert int(str(seen["connections_opened"])) < 100  # shared; on a slow machine some are idle for too long
    (run,) = project.runs()
    assert_complete(Leavings(run))
    assert Leavings(run).manifest["requests_at_once_peak"] == 20
