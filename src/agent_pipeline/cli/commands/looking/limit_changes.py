"""Which limits changed during a run, by themselves or by hand, and which workers came and went; from its events."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_pipeline.amounts import counted
from agent_pipeline.cli.commands.hidden import shown
from agent_pipeline.runs.happenings import Happening, happenings_named

_KINDS = (
    "LIMIT_CHANGED",
    "LIVE_CHANGED",
    "BREAKER",
    "DOCUMENTS_CLAMPED",
    "PIPELINE_STARTED",
    "PIPELINE_STOPPING",
    "WORKER_READY",
    "WORKER_LOST",
)


@dataclass(slots=True)
class _Lane:
    """How many requests might be in flight to one model, in the course of the run."""

    first: int
    last: int
    lowest: int
    highest: int
    changes: int = 0
    episodes: int = 0


@dataclass(slots=True)
class LimitChanges:
    """What changed.

    Attributes:
        stopping: why the last session ended early, as it first said; empty where it did not.
        hosts: how many workers were ready there, in all sessions; none where one process did all.
        lost: workers that were given up.
    """

    stopping: str = ""
    lanes: dict[tuple[str, str], _Lane] = field(default_factory=dict)
    outages: dict[tuple[str, str], int] = field(default_factory=dict)
    live: list[tuple[str, Any, Any]] = field(default_factory=list)
    clamped: tuple[int, int] | None = None
    hosts: Counter[str] = field(default_factory=Counter)
    lost: int = 0

    def take(self, one: Happening) -> None:
        """Count one event."""
        values, model = one.values, (one.text("provider"), one.text("model"))
        match one.event:
            case "LIMIT_CHANGED":
                old, new = int(values["old"]), int(values["new"])
                lane = self.lanes.setdefault(model, _Lane(old, new, old, old))
                lane.last, lane.lowest, lane.highest = new, min(lane.lowest, new), max(lane.highest, new)
                lane.changes += 1
                lane.episodes += one.text("reason") == "rate_limited"
            case "BREAKER" if one.text("state") == "open":
                self.outages[model] = self.outages.get(model, 0) + 1
            case "LIVE_CHANGED":
                self.live.append((one.text("key"), values.get("old"), values.get("new")))
            case "DOCUMENTS_CLAMPED":
                self.clamped = int(values["wanted"]), int(values["in_flight"])
            case "PIPELINE_STARTED":
                self.stopping = ""
            case "PIPELINE_STOPPING":
                self.stopping = self.stopping or one.text("detail")  # as with the run's reason, the first one stays
            case "WORKER_READY":
                self.hosts[one.text("host")] += 1
            case "WORKER_LOST":
                self.lost += 1
            case _:
                return

    def words(self) -> Iterator[str]:
        """Yield a line for each limit that changed."""
        for (provider, model), lane in self.lanes.items():
            why = f", {counted(lane.episodes, 'episode')} of 429s" if lane.episodes else ""
            yield (
                f"{shown(provider)} {shown(model)}: requests in flight {lane.first} > {lane.last} in "
                f"{counted(lane.changes, 'step')}, between {lane.lowest} and {lane.highest}{why}"
            )
        for (provider, model), count in self.outages.items():
            outages = f"failed for all {counted(count, 'time')}; requests waited, one was tried"
            yield f"{shown(provider)} {shown(model)}: {outages}"
        for key, old, new in self.live:
            yield f"{shown(key)}: {shown(str(old))} > {shown(str(new))}, by the live file"
        if self.clamped is not None:
            yield f"documents in flight: {self.clamped[0]} > {self.clamped[1]}, by the limit on open files"

    def as_objects(self) -> list[dict[str, object]]:
        """Return the same for programs."""
        found: list[dict[str, object]] = [
            {
                "limit": "requests_in_flight",
                "provider": provider,
                "model": model,
                **{name: getattr(lane, name) for name in lane.__slots__},
            }
            for (provider, model), lane in self.lanes.items()
        ]
        found += [
            {"limit": "breaker", "provider": provider, "model": model, "outages": count}
            for (provider, model), count in self.outages.items()
        ]
        found += [{"limit": key, "first": old, "last": new, "by": "live"} for key, old, new in self.live]
        if self.clamped is not None:
            wanted, held = self.clamped
            found.append({"limit": "documents_in_flight", "first": wanted, "last": held, "by": "open files"})
        return found


def limit_changes(events: Path) -> LimitChanges:
    """Read them; what is broken in the file is passed over."""
    changes = LimitChanges()
    for one in happenings_named(events, _KINDS):
        try:
            changes.take(one)
        except (KeyError, TypeError, ValueError):
            continue  # a line that somebody changed; `verify` names it
    return changes
