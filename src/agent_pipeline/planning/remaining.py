"""What a run that is gone on with has kept: documents that are finished, results that are not asked for again."""

from collections.abc import Sequence
from pathlib import Path

from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.documents import artifact_is_whole
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.domain.usage import Spending
from agent_pipeline.ledger import DocumentRow, LedgerReader
from agent_pipeline.pipeline.identity import plan_identity, stage_identity
from agent_pipeline.pipeline.journey import identified
from agent_pipeline.pipeline.resumption import may_keep
from agent_pipeline.pipeline.stage import PlannedStage


class Remaining:
    """Says of each entry of the source what a resume would still need for it.

    Args:
        ledger: of the run.
        stages: that would run.
        config: of the run, as it is now.
        retry_failed: whether documents that failed are worked on again.
    """

    def __init__(
        self, ledger: LedgerReader, stages: Sequence[PlannedStage], config: PipelineConfig, *, retry_failed: bool
    ) -> None:
        identities = {planned.stage.name: stage_identity(planned, config.runtime) for planned in stages}
        self._ledger = ledger
        self._names = [planned.stage.name for planned in stages]
        self._plan_sha256 = plan_identity(stages, identities)
        self._retry_failed = retry_failed
        self._reasons = {one.session: one.reason or "" for one in ledger.sessions()}
        self._artifacts: Path = config.artifacts

    def __call__(self, entry: SourceEntry) -> frozenset[int] | None:
        """Return the stages, by number, whose results are kept; None where the document is finished for good."""
        known = self._ledger.document(entry.id)
        if known is None:
            return frozenset()
        holds = may_keep(
            entry, known, plan_sha256=self._plan_sha256, reasons=self._reasons, retry_failed=self._retry_failed
        )
        if holds and (known.artifact is None or artifact_is_whole(known.artifact, self._artifacts)):
            return None
        return self._kept(entry, known)

    def _kept(self, entry: SourceEntry, known: DocumentRow) -> frozenset[int]:
        """Return the stages at the beginning of the way that were passed, of the same document under the same plan."""
        _, _, digest = identified(entry)
        if known.content_sha256 != digest or known.plan_sha256 != self._plan_sha256:
            return frozenset()
        passed = {row.stage for row in self._ledger.stage_results_of(entry.id)}
        first_missing = next((index for index, name in enumerate(self._names) if name not in passed), len(self._names))
        return frozenset(range(first_missing))


def spent_in(ledger: LedgerReader) -> Spending:
    """Return what a run was charged so far."""
    roles = list(ledger.usage_by_role())
    return Spending(
        sum(role.spent.tokens for role in roles),
        sum(role.spent.unknown_tokens for role in roles),
        sum(role.spent.micro_usd for role in roles),
    )
