"""What all checks of one run share: its ledger, its sessions, its manifest, and what its logs were found to hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.ledger import LedgerReader, SessionRow
from agent_pipeline.ledger.joining import Joining, Record
from agent_pipeline.runs.directory import RunDirectory
from agent_pipeline.runs.verify.findings import Findings
from agent_pipeline.telemetry.redaction import PATTERNS_ONLY

INTERRUPTED = "interrupted"
"""The error code of what a killed session left open, as the next one found it."""

TAIL = timedelta(seconds=5)
"""How far a killed process may have been behind with its last events and rows."""

JsonObject = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run under check.

    Attributes:
        manifest: None where there is none: the process was killed before its last step.
        ended_events: the `PIPELINE_FINISHED` of each session that has one.
        stages: names of each session's stages, in order.
        last_event_at: when the last event of each session happened that is on disk.
        losses: of workers, for each session: from when to when nobody told what the worker did.
    """

    directory: RunDirectory
    ledger: LedgerReader
    sessions: Mapping[int, SessionRow]
    manifest: JsonObject | None
    joining: Joining
    findings: Findings = field(default_factory=Findings)
    ended_events: dict[int, JsonObject] = field(default_factory=dict)
    stages: dict[int, Sequence[str]] = field(default_factory=dict)
    last_event_at: dict[int, datetime] = field(default_factory=dict)
    losses: dict[int, list[tuple[datetime, datetime]]] = field(default_factory=dict)

    @property
    def last_session(self) -> int:
        """The number of the session that worked on the run last."""
        return max(self.sessions, default=0)

    def is_attested(self, session: int) -> bool:
        """Say whether a session is known to have ended in order: only the last one can be, by its manifest."""
        known = self.sessions.get(session)
        return (
            session == self.last_session
            and self.manifest is not None
            and known is not None
            and known.ended_at is not None
        )

    def may_be_lost(self, session: int, at: datetime) -> bool:
        """Say whether what happened then may have been killed together with its session, before it was written."""
        if session not in self.sessions or self.is_attested(session):
            return False
        last = self.last_event_at.get(session)
        return last is None or at >= last - TAIL

    def note_loss(self, session: int, at: datetime, unheard: timedelta) -> None:
        """Keep that a worker was lost then, which had not been heard for so long."""
        self.losses.setdefault(session, []).append((at - unheard - TAIL, at + TAIL))

    def may_be_lost_with_worker(self, session: int, at: datetime) -> bool:
        """Say whether what happened then may have been lost together with a worker, before the driver heard of it."""
        return any(first <= at <= last for first, last in self.losses.get(session, ()))

    def join_document(self, document_id: str, record: Record) -> None:
        """Bring a record together with its document."""
        self.joining.add("documents", shown(document_id), record)


def shown(text: str) -> str:
    """Return a text of the ledger as the logs show it, without what looks like a key."""
    return PATTERNS_ONLY.text(text)
