"""A wall clock that is set back and forth: records show it, nothing else notices."""

import itertools
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest
import trio
from tests.integration.leavings import Leavings
from tests.integration.project import IN_THIS_PROCESS, make_project, prose
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.simulator import FaultPlan, Simulator

FAULTS = {
    "latency": 3.0,
    "faults": [{"kind": "status", "status": 429, "retry_after": 20, "script": [2]}, {"kind": "hang", "script": [4]}],
}
LIMITS: Mapping[str, JsonValue] = {"timeouts": {"attempt": 30, "read": 20}}


async def seconds_of_a_run(root: Path) -> float:
    """Run four documents through a pause and a silence in virtual time; return how long it took."""
    project = make_project(root, prose(4), stages=IN_THIS_PROCESS, limits=LIMITS)
    plan = FaultPlan.from_mapping(FAULTS)
    options = RunOptions(
        offline=True, virtual=True, make_pool=lambda: simulator_pool(Simulator(faults=plan)), sinks=(), seed=1
    )
    begun = trio.current_time()
    result = await Pipeline.from_config(project.config, options=options).run()
    assert (result.exit_code, result.documents.succeeded) == (0, 4)
    (run,) = project.runs()
    assert len(Leavings(run).attempts) == 6
    return trio.current_time() - begun


async def test_a_clock_that_jumps_a_day_moves_no_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Pauses, timeouts and back-off are measured on Trio's clock, which only goes forward."""
    steady = await seconds_of_a_run(tmp_path / "steady")
    jumps = itertools.cycle([timedelta(days=1), timedelta(days=-1), timedelta()])

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp((datetime.now(tz) + next(jumps)).timestamp(), tz)

    ours = [module for name, module in sys.modules.items() if name.startswith("agent_pipeline.")]
    for module in ours:
        if vars(module).get("datetime") is datetime:
            monkeypatch.setattr(module, "datetime", Jumping)

    assert await seconds_of_a_run(tmp_path / "jumping") == steady
