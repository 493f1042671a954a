"""Whatever goes wrong while tables are written, the run is whole without them."""

from pathlib import Path

import pytest
from tests.compose.live_project import live_project
from tests.compose.test_live_runs import slow_simulator
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions, session
from agent_pipeline.domain.result import RunResult
from agent_pipeline.gateway.inprocess import simulator_pool


async def test_a_table_that_fails_in_an_unforeseen_way_costs_no_manifest(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that writes them may raise anything."""
    project, _ = live_project(tmp_path, 1, "tabled")

    def fail(_result: RunResult, *_: object) -> RunResult:
        raise LookupError

    monkeypatch.setattr(session, "with_tables", fail)
    options = RunOptions(offline=True, virtual=True, make_pool=lambda: simulator_pool(slow_simulator()), seed=1)

    with pytest.raises(LookupError):
        await Pipeline.from_config(project.config, options=options).run()

    (run,) = project.runs()
    assert (run / "manifest.json").is_file()
