"""What a run's events tell and its ledger does not: limits that changed, what stopped or stalled, results reused."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from agent_pipeline.report.texts import Texts
from agent_pipeline.report.timeline import Lane, LimitStep
from agent_pipeline.telemetry import parse_json_object, read_lines

MOST_INCIDENTS = 60
"""Incidents that are shown; all are counted."""

_NAME = re.compile(r'"event": ?"([^"]+)"')
_INCIDENTS: Mapping[str, tuple[str, ...]] = {
    "PIPELINE_STOPPING": ("detail",),
    "PIPELINE_CANCELLING": ("reason",),
    "PIPELINE_ABANDONED": ("culprits",),
    "PIPELINE_RESUMED": ("session", "interrupted_documents", "interrupted_attempts"),
    "BREAKER": ("provider", "model", "state", "reason"),
    "LIVE_CHANGED": ("key", "old", "new"),
    "LIVE_REFUSED": ("reason",),
    "STALL": ("kind", "culprit", "seconds"),
    "FALLBACK": ("role", "fallback", "reason", "error_code"),
    "DOCUMENTS_CLAMPED": ("wanted", "in_flight"),
    "USAGE_ABOVE_BOUND": ("role", "model", "reserved_tokens", "charged_tokens"),
    "FILE_REPAIRED": ("path", "removed_bytes"),
    "ORPHANS_REMOVED": ("temporary", "unrecorded"),
}
"""Events worth reading when one asks what happened, with the fields that tell."""


@dataclass(frozen=True, slots=True)
class Incident:
    """An event worth reading."""

    at: datetime
    name: str
    text: str


@dataclass(slots=True)
class Happenings:
    """What the events tell.

    Attributes:
        simulator: no model was asked; None where no event says.
        expected_documents: entries the source said it would give.
        stages: in their order, as the last session had them.
        begun: when each session began to admit documents, and with which limit of requests per provider and model.
        steps: each change of such a limit.
        reused: results taken from the ledger, by stage.
        incidents: the first of them; `incident_counts` has all.
        unreadable: lines that are broken or torn.
    """

    simulator: bool | None = None
    expected_documents: int | None = None
    stages: list[str] = field(default_factory=list)
    begun: list[tuple[float, int]] = field(default_factory=list)
    steps: list[LimitStep] = field(default_factory=list)
    reused: Counter[str] = field(default_factory=Counter)
    incidents: list[Incident] = field(default_factory=list)
    incident_counts: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0

    def limits_at_first(self, lanes: Mapping[Lane, None]) -> dict[Lane, int]:
        """Return the limit each lane began with; nothing where the events that would tell are lost."""
        if not self.begun:
            return {}
        return dict.fromkeys([*lanes, *(step.lane for step in self.steps)], self.begun[0][1])

    def all_steps(self, lanes: Mapping[Lane, None]) -> list[LimitStep]:
        """Return the changes, and with each further session a return to where it began."""
        again = [LimitStep(at, lane, limit) for at, limit in self.begun[1:] for lane in self.limits_at_first(lanes)]
        return [*self.steps, *again]


def read_happenings(events: Path, texts: Texts) -> Happenings:
    """Read a run's typed events once, in constant memory; what can't be read is counted and left out."""
    found = Happenings()
    takers: dict[str, Callable[[Happenings, float, Mapping[str, object]], None]] = {
        "PIPELINE_STARTED": _take_start,
        "LIMIT_CHANGED": _take_limit,
        "STAGE_REUSED": _take_reused,
    }
    wanted = takers.keys() | _INCIDENTS.keys()
    try:
        for line in read_lines(events, lambda text: _parse(text, wanted)):
            if line.value is None:
                found.unreadable += 1
            elif line.value:
                _take(found, line.value, takers, texts)
    except OSError:
        found.unreadable += 1
    return found


def _parse(text: str, wanted: set[str]) -> dict[str, object]:
    """Decode a line of a wanted event; most lines are of others and only looked at."""
    name = _NAME.search(text, 0, 120)
    return parse_json_object(text) if name is not None and name[1] in wanted else {}


def _take(
    found: Happenings,
    event: Mapping[str, object],
    takers: Mapping[str, Callable[[Happenings, float, Mapping[str, object]], None]],
    texts: Texts,
) -> None:
    name = str(event.get("event"))
    try:
        at = datetime.fromisoformat(str(event["at"]))
        taker = takers.get(name)
        if taker is not None:
            taker(found, at.timestamp(), event)
            return
    except (KeyError, TypeError, ValueError):
        found.unreadable += 1
        return
    found.incident_counts[name] += 1
    if len(found.incidents) < MOST_INCIDENTS:
        told = [_told(event[key]) for key in _INCIDENTS[name] if event.get(key) not in (None, "")]
        found.incidents.append(Incident(at, name, texts.line(" · ".join(told), 240)))


def _told(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _take_start(found: Happenings, at: float, event: Mapping[str, object]) -> None:
    found.begun.append((at, int(str(event["requests_in_flight"]))))
    found.simulator = event.get("simulator") is True
    documents, stages = event.get("documents"), event.get("stages")
    if isinstance(documents, int):
        found.expected_documents = documents
    if isinstance(stages, list):
        found.stages = [str(stage) for stage in stages]


def _take_limit(found: Happenings, at: float, event: Mapping[str, object]) -> None:
    lane = (str(event["provider"]), str(event["model"]))
    found.steps.append(LimitStep(at, lane, int(str(event["new"]))))


def _take_reused(found: Happenings, _at: float, event: Mapping[str, object]) -> None:
    found.reused[str(event["stage"])] += 1
