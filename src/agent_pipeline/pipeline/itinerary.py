"""What every document of a run shares: the stages, their limits, and where results go."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from agent_pipeline.control.budget import Budget, Caps
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.trace_id import trace_id_of
from agent_pipeline.pipeline.document_records import DocumentRecords
from agent_pipeline.pipeline.stage import PlannedStage
from agent_pipeline.telemetry import NO_SECRETS, SecretValues

if TYPE_CHECKING:
    from agent_pipeline.bridge import AgentBridge


@dataclass(slots=True)
class Itinerary:
    """What every document of a run shares; what a live value changes of it counts for those that begin later.

    Attributes:
        stages: in order.
        fingerprints: what determines each stage's result besides the document, by stage name.
        document_timeout: seconds; None is unlimited.
        stage_timeout: seconds; None is unlimited.
        document_caps: what each document may use.
        now: wall clock.
        records: where the course of each document is kept.
        clean: takes secrets out of what a record says.
        secrets: those the run knows of; in no document that is worked on and no result that is kept.
        run_id: of the run.
        session: which process works on the run, from 1.
        plan_sha256: what determines a document's way through all stages.
    """

    stages: Sequence[PlannedStage]
    fingerprints: dict[str, str]
    document_timeout: float | None
    stage_timeout: float | None
    records: DocumentRecords
    bridge: "AgentBridge"
    emit: Emit
    now: Callable[[], datetime]
    clean: Callable[[str], str] = str
    secrets: SecretValues = NO_SECRETS
    run_id: str = ""
    session: int = 1
    plan_sha256: str | None = None
    document_caps: Caps = field(default_factory=Caps)

    def pinned(self) -> "Itinerary":
        """Return it as it is now, which is how a document keeps it from its beginning to its end."""
        return replace(self)

    def revise(self, *, fingerprints: dict[str, str], bridge: "AgentBridge") -> None:
        """Let documents that begin from now on ask other models.

        `plan_sha256` stays: a document that was finished before is not worked on again for that.
        """
        self.fingerprints = fingerprints
        self.bridge = bridge

    def trace_id(self, document_id: str) -> str:
        """Return the id of a document's trace in this session, in the Agents SDK's form."""
        return trace_id_of(self.run_id, document_id, self.session)

    async def open_budget(self, document_id: str) -> Budget | None:
        """Return a document's budget, less what earlier sessions spent on it; None where documents have none.

        Raises:
            LedgerError: what was spent can't be read.
        """
        if not self.document_caps.exist:
            return None
        return Budget("document", document_id, self.document_caps, await self.records.spent_on(document_id))
