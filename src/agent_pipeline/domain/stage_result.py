"""What a stage made of a document, as it is kept: found again by what it was made from."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ResultKey:
    """Which result of a document: of which stage, in which cycle, from which input."""

    stage: str
    cycle: int
    input_sha256: str


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage made of one input.

    Attributes:
        output_json: the document's new form and the stage's verdict.
        started_at: wall clock, UTC; `ended_at` likewise.
    """

    document_id: str
    key: ResultKey
    output_json: str
    started_at: datetime
    ended_at: datetime
