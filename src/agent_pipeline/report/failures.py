"""Documents that did not end well, grouped by the error's code."""

from collections import Counter
from dataclasses import dataclass, field

from agent_pipeline.ledger import DocumentRow
from agent_pipeline.report.texts import Texts
from agent_pipeline.runs.advice import Advice, advice_on

MOST_SHOWN = 8
"""Documents that are named for each code."""


@dataclass(slots=True)
class FailureGroup:
    """All documents that ended with one code.

    Attributes:
        outcomes: how they ended: a skipped entry has a code too.
        stages: where.
        example: the first error, in full as far as there is room.
        documents: ids of the first of them.
    """

    code: str
    outcomes: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    example: str = ""
    documents: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many there are."""
        return self.outcomes.total()

    @property
    def advice(self) -> Advice:
        """What the code means, and what to do about it."""
        return advice_on(self.code)


class Failures:
    """Groups documents as they come."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._groups: dict[str, FailureGroup] = {}

    def take(self, document: DocumentRow) -> None:
        """Count a document that has a code."""
        if document.error_code is None:
            return
        group = self._groups.setdefault(document.error_code, FailureGroup(document.error_code))
        group.outcomes[document.outcome or "unfinished"] += 1
        if document.failed_stage is not None:
            group.stages[document.failed_stage] += 1
        if not group.example and document.error:
            group.example = self._texts.line(document.error, 600)
        if len(group.documents) < MOST_SHOWN:
            group.documents.append(document.document_id)

    def groups(self) -> list[FailureGroup]:
        """Return the groups, failed documents before skipped ones, the largest first."""
        return sorted(self._groups.values(), key=lambda one: (-one.outcomes["failed"], -one.count, one.code))
