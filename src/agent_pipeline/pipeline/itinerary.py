"""What every document of a run shares: the stages, their limits, and where results go."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from agent_pipeline.control.budget import Budget, Caps
from agent_pipeline.documents.artifacts import ArtifactWriter
from agent_pipeline.domain.document import Artifact, Document
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.trace_id import trace_id_of
from agent_pipeline.ledger import Ledger
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
        keep_rejected: keeps the last text of a document that was never approved.
        now: wall clock.
        clean: takes secrets out of what a record says.
        secrets: those the run knows of; in no document that is worked on and no result that is kept.
        run_id: of the run.
        session: which process works on the run, from 1; in later ones the ledger is asked before a stage is.
        plan_sha256: what determines a document's way through all stages.
        begun_before: ids that an earlier session began and this one works on again, with the artifacts they had; each
            is taken out as its document begins.
    """

    stages: Sequence[PlannedStage]
    fingerprints: dict[str, str]
    document_timeout: float | None
    stage_timeout: float | None
    ledger: Ledger
    bridge: "AgentBridge"
    artifacts: ArtifactWriter
    keep_rejected: Callable[[Document], Awaitable[object]]
    emit: Emit
    now: Callable[[], datetime]
    clean: Callable[[str], str] = str
    secrets: SecretValues = NO_SECRETS
    run_id: str = ""
    session: int = 1
    plan_sha256: str | None = None
    begun_before: dict[str, Artifact | None] = field(default_factory=dict)
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
        if self.session == 1:
            return Budget("document", document_id, self.document_caps)
        return Budget("document", document_id, self.document_caps, await self.ledger.spent_on(document_id))
