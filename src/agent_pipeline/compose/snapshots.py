"""Takes snapshots of a run for whoever watches it, in one task, four times a second."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio

from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.control.budget import BudgetTracker
from agent_pipeline.control.gate import Gate
from agent_pipeline.domain.snapshot import LaneState, OldestCall, RunSnapshot, Spent
from agent_pipeline.pipeline.admission import Tally

PERIOD = 0.25
"""Seconds between two snapshots."""

OnSnapshot = Callable[[RunSnapshot], None]
"""Takes a snapshot, under Trio; must not block or raise."""


@asynccontextmanager
async def open_snapshots(runtime: Runtime, tally: Tally, on_snapshot: OnSnapshot | None) -> AsyncGenerator[None]:
    """Hand snapshots over while the block lasts, and a last one at its end, also on error and cancellation."""
    if on_snapshot is None:
        yield
        return

    async def show() -> None:
        while True:
            on_snapshot(snapshot(runtime, tally))
            await trio.sleep(PERIOD)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(show)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()
            on_snapshot(snapshot(runtime, tally))


def snapshot(runtime: Runtime, tally: Tally) -> RunSnapshot:
    """Return the state of a run now; no checkpoint, some microseconds for each call under way."""
    gate = runtime.gate
    known = gate.statistics()
    return RunSnapshot(
        lanes=tuple(
            LaneState(provider, model, lane.in_flight, lane.limit, lane.waiting, lane.cooldown)
            for (provider, model), lane in known.lanes.items()
        ),
        waiting=Counter(
            one.call.scope.stage for one in gate.open_calls() if one.call.scope.stage is not None and not one.is_sent
        ),
        oldest=_oldest(gate),
        tokens=_spent(gate.budget.tokens),
        micro_usd=_spent(gate.budget.micro_usd),
        unknown_cost=known.unknown_cost or runtime.records.session.unknown_cost,
        kept=tally.kept,
    )


def _oldest(gate: Gate) -> OldestCall | None:
    first = min(gate.open_calls(), key=lambda one: one.since, default=None)
    if first is None:
        return None
    scope = first.call.scope
    return OldestCall(scope.document_id, scope.stage, trio.current_time() - first.since, first.is_sent)


def _spent(tracker: BudgetTracker) -> Spent:
    counted = tracker.statistics()
    return Spent(counted.spent, counted.reserved, counted.total)
