"""Takes snapshots of a run for whoever watches it, in one task, four times a second."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.control.budget import BudgetTracker
from agent_pipeline.control.gate import Gate
from agent_pipeline.domain.snapshot import LaneState, OldestCall, RunSnapshot, Spent, UnderWay
from agent_pipeline.pipeline.admission import Tally

PERIOD = 0.25
"""Seconds between two snapshots."""

OnSnapshot = Callable[[RunSnapshot], None]
"""Takes a snapshot, under Trio; must not block or raise."""


@dataclass(slots=True)
class Elsewhere:
    """What other processes have under way for the run.

    Attributes:
        told: returns what they said last; each may name the same models and stages as others.
    """

    told: Callable[[], Iterable[UnderWay]] = tuple


@asynccontextmanager
async def open_snapshots(runtime: Runtime, tally: Tally, on_snapshot: OnSnapshot | None) -> AsyncGenerator[Elsewhere]:
    """Hand snapshots over while the block lasts, and a last one at its end, also on error and cancellation.

    Yields:
        where to say what other processes have in flight, once there are some.
    """
    elsewhere = Elsewhere()
    if on_snapshot is None:
        yield elsewhere
        return

    async def show() -> None:
        while True:
            on_snapshot(snapshot(runtime, tally, elsewhere))
            await trio.sleep(PERIOD)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(show)
        try:
            yield elsewhere
        finally:
            nursery.cancel_scope.cancel()
            on_snapshot(snapshot(runtime, tally, elsewhere))


def snapshot(runtime: Runtime, tally: Tally, elsewhere: Elsewhere) -> RunSnapshot:
    """Return the state of a run now; no checkpoint, some microseconds for each call under way."""
    gate = runtime.gate
    parts = [under_way(gate), *elsewhere.told()]
    oldest = [part.oldest for part in parts if part.oldest is not None]
    return RunSnapshot(
        lanes=_together(lane for part in parts for lane in part.lanes),
        waiting=sum((Counter(part.waiting) for part in parts), Counter()),
        oldest=max(oldest, key=lambda one: one.seconds, default=None),
        tokens=_spent(gate.budget.tokens),
        micro_usd=_spent(gate.budget.micro_usd),
        unknown_cost=gate.counts.unknown_cost or runtime.records.session.unknown_cost,
        kept=tally.kept,
    )


def under_way(gate: Gate) -> UnderWay:
    """Return what a gate has under way now."""
    return UnderWay(
        lanes=tuple(
            LaneState(provider, model, lane.in_flight, lane.limit, lane.waiting, lane.cooldown)
            for (provider, model), lane in gate.statistics().lanes.items()
        ),
        waiting=Counter(
            one.call.scope.stage for one in gate.open_calls() if one.call.scope.stage is not None and not one.is_sent
        ),
        oldest=_oldest(gate),
    )


def _together(lanes: Iterable[LaneState]) -> tuple[LaneState, ...]:
    """Return one lane for each model, with what all have in flight to it."""
    found: dict[tuple[str, str], LaneState] = {}
    for lane in lanes:
        other = found.get((lane.provider, lane.model))
        found[lane.provider, lane.model] = lane if other is None else _sum(other, lane)
    return tuple(found.values())


def _sum(one: LaneState, other: LaneState) -> LaneState:
    return LaneState(
        one.provider,
        one.model,
        one.in_flight + other.in_flight,
        one.limit + other.limit,
        one.waiting + other.waiting,
        max(one.cooldown, other.cooldown),
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
