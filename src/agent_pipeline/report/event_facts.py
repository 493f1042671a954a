"""What a run's events tell and its ledger does not: limits that changed, what stopped or stalled, results reused."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from agent_pipeline.report.texts import Texts
from agent_pipeline.report.timeline import Lane, LimitStep
from agent_pipeline.runs.happenings import Happening, happenings_and_gaps

MOST_INCIDENTS = 60
"""Incidents that are shown; all are counted."""

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
    "WORKER_LOST": ("worker", "reason", "documents", "in_flight", "given_up"),
    "BUDGET_WITHHELD": ("worker", "owner", "tokens", "micro_usd"),
    "LATE_REPORTS": ("worker", "reports", "charged_tokens"),
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
class EventFacts:
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


def read_event_facts(events: Path, texts: Texts) -> EventFacts:
    """Read a run's typed events once, in constant memory; what can't be read is counted and left out."""
    found = EventFacts()
    for one in happenings_and_gaps(events, _TAKERS.keys() | _INCIDENTS.keys()):
        if one is None:
            found.unreadable += 1
        else:
            _take(found, one, texts)
    return found


def _take(found: EventFacts, one: Happening, texts: Texts) -> None:
    taker = _TAKERS.get(one.event)
    if taker is not None:
        try:
            taker(found, one.at.timestamp(), one.values)
        except (KeyError, TypeError, ValueError):
            found.unreadable += 1
        return
    found.incident_counts[one.event] += 1
    if len(found.incidents) < MOST_INCIDENTS:
        told = [_told(one.values[key]) for key in _INCIDENTS[one.event] if one.values.get(key) not in (None, "")]
        found.incidents.append(Incident(one.at, one.event, texts.line(" · ".join(told), 240)))


def _told(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _take_start(found: EventFacts, at: float, event: Mapping[str, object]) -> None:
    found.begun.append((at, int(str(event["requests_in_flight"]))))
    found.simulator = event.get("simulator") is True
    documents, stages = event.get("documents"), event.get("stages")
    if isinstance(documents, int):
        found.expected_documents = documents
    if isinstance(stages, list):
        found.stages = [str(stage) for stage in stages]


def _take_limit(found: EventFacts, at: float, event: Mapping[str, object]) -> None:
    lane = (str(event["provider"]), str(event["model"]))
    found.steps.append(LimitStep(at, lane, int(str(event["new"]))))


def _take_reused(found: EventFacts, _at: float, event: Mapping[str, object]) -> None:
    found.reused[str(event["stage"])] += 1


_TAKERS: Mapping[str, Callable[[EventFacts, float, Mapping[str, object]], None]] = {
    "PIPELINE_STARTED": _take_start,
    "LIMIT_CHANGED": _take_limit,
    "STAGE_REUSED": _take_reused,
}
