"""One run, read once from its directory: what the page tells of it."""

import json
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent_pipeline.ledger import AttemptRow, DocumentRow, LedgerReader, RoleUsage, RunRow, SessionRow
from agent_pipeline.report.choosing import Candidate
from agent_pipeline.report.event_facts import EventFacts, read_event_facts
from agent_pipeline.report.failures import FailureGroup, Failures
from agent_pipeline.report.stage_figures import StageFigures
from agent_pipeline.report.texts import Texts
from agent_pipeline.report.timeline import Course, Lane
from agent_pipeline.report.working_time import WorkingTime
from agent_pipeline.runs.directory import RunDirectory
from agent_pipeline.runs.state import RunState, state_of


@dataclass(slots=True)
class DocumentTotals:
    """What the requests of one document came to."""

    attempts: int = 0
    tokens: int = 0
    micro_usd: int = 0
    unknown_cost: bool = False
    waited: float = 0.0


@dataclass(slots=True)
class RunFacts:
    """A run as its files tell it.

    Attributes:
        state: `killed` where nobody works on it and nobody wrote its end.
        outcomes: of documents; `unfinished` where there is none yet.
        totals: by document, None for requests of none.
        last_seen: when the last request or document of each session was seen, seconds since the epoch.
        roles: what each role came to; `models` says which models it asked, and how often.
        missing: files that could not be read, in words.
    """

    directory: RunDirectory
    run: RunRow
    sessions: tuple[SessionRow, ...]
    state: RunState
    manifest: Mapping[str, object]
    events: EventFacts
    failures: list[FailureGroup]
    roles: tuple[RoleUsage, ...]
    outcomes: Counter[str] = field(default_factory=Counter)
    totals: dict[str | None, DocumentTotals] = field(default_factory=dict)
    stages: dict[str, StageFigures] = field(default_factory=dict)
    models: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    course: Course = field(default_factory=Course)
    last_seen: dict[int, float] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    durations: "array[float]" = field(default_factory=lambda: array("d"))
    missing: list[str] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether somebody wrote its end."""
        return self.run.outcome is not None

    @property
    def time(self) -> WorkingTime:
        """The time it was worked on."""
        return WorkingTime(self.sessions, self.last_seen)

    @property
    def simulator(self) -> bool | None:
        """Whether no model was asked; None where nothing tells."""
        told = self.events.simulator
        known = self.manifest.get("simulator")
        return told if told is not None else known if isinstance(known, bool) else None

    @property
    def cost(self) -> int | None:
        """Micro-dollars charged, None where a price is unknown."""
        return None if any(role.unknown_cost for role in self.roles) else self.known_cost

    @property
    def known_cost(self) -> int:
        """Micro-dollars charged for requests of known price."""
        return sum(role.spent.micro_usd for role in self.roles)

    @property
    def versions(self) -> Mapping[str, object]:
        """What it ran with, as far as the manifest tells."""
        versions = self.manifest.get("versions")
        return versions if isinstance(versions, dict) else {"agent-pipeline": self.run.version}


def read_facts(directory: RunDirectory, ledger: LedgerReader, texts: Texts) -> RunFacts:
    """Read a run in one pass over each table and its events; memory grows with its requests by some 40 bytes each.

    Raises:
        LedgerError: the ledger turns out to be damaged.
    """
    sessions = tuple(ledger.sessions())
    failures = Failures(texts)
    facts = RunFacts(
        directory,
        ledger.run,
        sessions,
        state_of(directory, ledger.run),
        _manifest(directory.manifest),
        read_event_facts(directory.events, texts),
        [],
        tuple(ledger.usage_by_role()),
    )
    lanes: dict[Lane, None] = {}
    facts.stages.update((stage, StageFigures(stage)) for stage in facts.events.stages)
    for row in ledger.attempts():
        lanes[row.attempt.provider, row.attempt.model] = None
        _take_attempt(facts, row)
    for result in ledger.stage_results():
        facts.stages.setdefault(result.stage, StageFigures(result.stage)).take_result(result)
    for place, document in enumerate(ledger.documents()):
        failures.take(document)
        _take_document(facts, place, document)
    facts.failures = failures.groups()
    facts.course.limits = facts.events.limits_at_first(lanes)
    facts.course.steps = facts.events.all_steps(lanes)
    facts.missing = _missing(facts)
    return facts


def _manifest(path: Path) -> Mapping[str, object]:
    """Return the manifest, empty where there is none: the ledger knows all that matters."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _take_attempt(facts: RunFacts, row: AttemptRow) -> None:
    attempt = row.attempt
    facts.course.add(attempt)
    facts.last_seen[row.session] = max(facts.last_seen.get(row.session, 0.0), attempt.started_at.timestamp())
    facts.models[attempt.role, attempt.provider, attempt.model] += 1
    stage = attempt.stage or ""
    facts.stages.setdefault(stage, StageFigures(stage)).take_attempt(attempt)
    totals = facts.totals.setdefault(attempt.document_id, DocumentTotals())
    totals.attempts += 1
    totals.tokens += attempt.charged_tokens
    totals.micro_usd += attempt.cost_micro_usd or 0
    totals.unknown_cost = totals.unknown_cost or attempt.cost_micro_usd is None
    totals.waited += attempt.wait_seconds


def _take_document(facts: RunFacts, place: int, document: DocumentRow) -> None:
    facts.outcomes[document.outcome or "unfinished"] += 1
    last = document.ended_at or document.started_at
    facts.last_seen[document.session] = max(facts.last_seen.get(document.session, 0.0), last.timestamp())
    seconds = (last - document.started_at).total_seconds()
    facts.candidates.append(Candidate(place, document.outcome not in {"succeeded", "skipped"}, seconds))
    if document.ended_at is not None:
        facts.course.documents.append(document.ended_at.timestamp())
        if document.outcome == "succeeded":
            facts.durations.append(seconds)


def _missing(facts: RunFacts) -> list[str]:
    found = []
    if facts.has_ended and not facts.manifest:
        found.append("There is no readable manifest.json: versions of libraries are not known.")
    if facts.events.unreadable:
        found.append(
            f"events.jsonl: {facts.events.unreadable:,} lines, or the file itself, could not be read; "
            "limits and incidents may be incomplete. `agent-pipeline verify` says more."
        )
    return found
