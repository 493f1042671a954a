"""Who watches a run is given its state: what waits, what is in flight, what was spent, as the gate knows it."""

from itertools import pairwise
from pathlib import Path

import pytest
import trio
from tests.compose.live_project import live_project
from tests.compose.test_live_runs import slow_simulator
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.compose.snapshots import PERIOD
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.domain.snapshot import OldestCall, RunSnapshot
from agent_pipeline.gateway.inprocess import simulator_pool


async def test_a_run_is_seen_four_times_a_second_and_at_its_end(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Three documents, one request at a time, four seconds each: who waits and who is asked can be foretold."""
    limits: dict[str, JsonValue] = {"requests_in_flight": 1, "budget": {"tokens": 100_000}}
    project, _ = live_project(tmp_path, 3, "seen", limits)
    seen: dict[float, RunSnapshot] = {}
    options = RunOptions(
        offline=True,
        virtual=True,
        make_pool=lambda: simulator_pool(slow_simulator()),
        on_snapshot=lambda state: seen.update({trio.current_time(): state}),
        seed=1,
    )

    result = await Pipeline.from_config(project.config, options=options).run()

    moments = sorted(seen)
    assert [later - earlier for earlier, later in pairwise(moments)] == [PERIOD] * 96
    early = seen[1.0]
    assert (early.lanes[0].in_flight, early.lanes[0].limit, early.waiting) == (1, 1, {"first": 2})
    assert early.oldest is not None
    assert (early.oldest.stage, early.oldest.seconds) == ("first", 1.0)
    assert early.tokens.reserved > 0
    assert early.tokens.charged == 0
    assert isinstance(seen[2.0].oldest, OldestCall)
    last = seen[24.0]
    assert (last.lanes[0].in_flight, last.oldest, last.waiting) == (0, None, {})
    assert (last.tokens.charged, last.tokens.reserved, last.tokens.cap) == (result.usage.charged_tokens, 0, 100_000)


async def test_a_run_that_is_cancelled_is_seen_as_it_ended(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What was in flight is charged by then."""
    project, _ = live_project(tmp_path, 3, "seen_cancelled")
    seen: list[RunSnapshot] = []
    options = RunOptions(
        offline=True,
        virtual=True,
        make_pool=lambda: simulator_pool(slow_simulator()),
        on_snapshot=seen.append,
        seed=1,
    )

    with trio.move_on_after(1):
        await Pipeline.from_config(project.config, options=options).run()

    assert seen[-2].tokens.reserved == seen[-1].tokens.charged > 0
    assert (seen[-1].oldest, seen[-1].tokens.reserved) == (None, 0)


async def test_a_watcher_that_raises_ends_the_run_as_a_bug(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It must not; but no document may be lost over it."""
    project, _ = live_project(tmp_path, 3, "seen_by_nobody")

    def fail(_state: RunSnapshot) -> None:
        raise LookupError

    options = RunOptions(
        offline=True, virtual=True, make_pool=lambda: simulator_pool(slow_simulator()), on_snapshot=fail, seed=1
    )

    with pytest.raises(BaseExceptionGroup) as caught:
        await Pipeline.from_config(project.config, options=options).run()

    assert caught.group_contains(LookupError)
    (run,) = project.runs()
    assert (run / "manifest.json").is_file()
