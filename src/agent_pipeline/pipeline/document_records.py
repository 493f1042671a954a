"""Where the course of each document is kept: how it began, what its stages made of it, its one terminal record."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import trio

from agent_pipeline.documents.artifacts import ArtifactWriter
from agent_pipeline.domain.document import Artifact, Document, SourceEntry
from agent_pipeline.domain.events import DocumentFinished, PipelineFailure
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.stage_result import ResultKey, StageResult
from agent_pipeline.domain.usage import NOTHING_SPENT, Spending
from agent_pipeline.errors import LedgerError
from agent_pipeline.failpoints import reach
from agent_pipeline.ledger import Ledger
from agent_pipeline.pipeline.ending import Ending


class DocumentRecords(Protocol):
    """What a document's way through the stages leaves behind, and finds of earlier sessions.

    Of a document there is either a beginning and, later, a `close`; or a `close_unopened` alone. Callers shield all
    three.
    """

    async def begin(self, entry: SourceEntry, digest: str, *, plan_sha256: str | None, trace_id: str) -> None:
        """Record that a document is worked on from now on; what an earlier session made of it is let go.

        Raises:
            DuplicateDocumentError: the run already has a document of this id.
            LedgerError: it can't be recorded.
        """
        ...

    async def spent_on(self, document_id: str) -> Spending:
        """Return what the requests of a document were charged before it was begun in this session."""
        ...

    async def find_result(self, document_id: str, key: ResultKey) -> str | None:
        """Return the JSON that a stage made of exactly this input before; None if it did not."""
        ...

    async def save_result(self, result: StageResult) -> None:
        """Keep what a stage made of this input."""
        ...

    async def keep_rejected(self, document: Document) -> None:
        """Keep the last text of a document that was never approved."""
        ...

    async def publish(self, document: Document) -> Artifact | None:
        """Make a document that went through all stages its artifact; None where that is done after its `close`."""
        ...

    async def close(self, ending: Ending, duration: float) -> None:
        """Write the one terminal record of a document that was begun, `duration` seconds ago, and say so.

        Raises:
            LedgerError: it can't be written; `ending` says so, and that the document was cancelled.
        """
        ...

    async def close_unopened(self, ending: Ending, skipped: str | None) -> None:
        """Write the one record of an entry that no stage sees; `skipped` tells why, where no error does."""
        ...


@dataclass(frozen=True, slots=True)
class LedgerRecords:
    """Keeps it in the ledger and the artifacts folder; each call returns when what it wrote is on disk.

    Attributes:
        rejected: keeps the last text of a document that was never approved.
        clean: takes secrets out of what a record says.
        now: wall clock.
        session: which process works on the run, from 1; in later ones there may be something of earlier ones.
        begun_before: ids that an earlier session began and this one works on again, with the artifacts they had; each
            is taken out as its document begins.
    """

    ledger: Ledger
    artifacts: ArtifactWriter
    rejected: Callable[[Document], Awaitable[object]]
    emit: Emit
    now: Callable[[], datetime]
    clean: Callable[[str], str] = str
    session: int = 1
    begun_before: dict[str, Artifact | None] = field(default_factory=dict)

    async def begin(self, entry: SourceEntry, digest: str, *, plan_sha256: str | None, trace_id: str) -> None:
        """As `DocumentRecords` says."""
        again = await self._let_go(entry.id)
        begin = self.ledger.reopen_document if again else self.ledger.begin_document
        await begin(
            document_id=entry.id,
            position=entry.position,
            source=entry.source,
            content_sha256=digest,
            plan_sha256=plan_sha256,
            trace_id=trace_id,
            started_at=self.now(),
        )

    async def spent_on(self, document_id: str) -> Spending:
        """As `DocumentRecords` says."""
        return NOTHING_SPENT if self.session == 1 else await self.ledger.spent_on(document_id)

    async def find_result(self, document_id: str, key: ResultKey) -> str | None:
        """As `DocumentRecords` says."""
        return None if self.session == 1 else await self.ledger.find_stage_result(document_id, key)

    async def save_result(self, result: StageResult) -> None:
        """As `DocumentRecords` says; on disk when this returns."""
        await self.ledger.save_stage_result(result)

    async def keep_rejected(self, document: Document) -> None:
        """As `DocumentRecords` says."""
        await self.rejected(document)

    async def publish(self, document: Document) -> Artifact:
        """As `DocumentRecords` says.

        Raises:
            DiskFullError: the disk takes no more.
            ArtifactError: it could not be written.
        """
        return await self.artifacts.write(document)

    async def close(self, ending: Ending, duration: float) -> None:
        """As `DocumentRecords` says; the artifact is confirmed then."""
        error = ending.error
        reach("document.before_row")
        try:
            await self.ledger.finish_document(
                ending.document_id,
                outcome=ending.outcome,
                error_code=None if error is None else error.code,
                error=None if error is None else self.clean(str(error)),
                failed_stage=ending.stage if error is not None else None,
                reworks=ending.sent_back.total(),
                artifact=ending.artifact,
                ended_at=self.now(),
            )
        except LedgerError as exc:
            ending.outcome, ending.error = "cancelled", exc
            raise
        finally:
            self._announce(ending, duration)
        reach("document.after_row")
        if ending.artifact is not None:
            self.artifacts.confirm(ending.artifact)

    async def close_unopened(self, ending: Ending, skipped: str | None) -> None:
        """As `DocumentRecords` says."""
        error = ending.error
        again = await self._let_go(ending.document_id)
        close = self.ledger.reopen_and_finish_document if again else self.ledger.begin_and_finish_document
        await close(
            document_id=ending.document_id,
            position=ending.position,
            source=ending.source,
            outcome="skipped" if error is None else "failed",
            error_code=None if error is None else error.code,
            error=skipped if error is None else self.clean(str(error)),
            at=self.now(),
        )
        self._announce(ending, 0.0)

    async def _let_go(self, document_id: str) -> bool:
        """Remove what an earlier session made of the document; return whether one had begun it."""
        again = document_id in self.begun_before
        old = self.begun_before.pop(document_id, None)
        if old is not None:  # before its row lets go of it: an artifact without a row would be nobody's
            with trio.CancelScope(shield=True):
                await self.artifacts.remove(old)
        return again

    def _announce(self, ending: Ending, duration: float) -> None:
        error = ending.error
        code = None if error is None else error.code
        if ending.outcome == "failed" and error is not None:
            self.emit(PipelineFailure(ending.document_id, ending.stage, ending.source, error.code, str(error)))
        artifact = None if ending.artifact is None else ending.artifact.path
        self.emit(
            DocumentFinished(ending.document_id, ending.outcome, ending.sent_back.total(), artifact, code, duration)
        )
