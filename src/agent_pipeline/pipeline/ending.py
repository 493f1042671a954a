"""How a document ended."""

from collections import Counter
from dataclasses import dataclass, field

from agent_pipeline.domain.document import Artifact, Outcome
from agent_pipeline.errors import AgentPipelineError


@dataclass(slots=True, eq=False)
class Ending:
    """How a document ended.

    Attributes:
        error: what ended it, None where it succeeded or was skipped.
        cycles: passes through each stage.
        sent_back: reworks each stage asked for.
    """

    position: int
    document_id: str
    source: str | None
    outcome: Outcome = "cancelled"
    error: AgentPipelineError | None = None
    stage: str | None = None
    artifact: Artifact | None = None
    cycles: Counter[str] = field(default_factory=Counter)
    sent_back: Counter[str] = field(default_factory=Counter)
