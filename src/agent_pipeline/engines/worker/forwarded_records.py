"""A worker's records of its documents: told to the driver, which writes them."""

from collections.abc import Callable

import trio

from agent_pipeline.domain.document import Document, SourceEntry
from agent_pipeline.domain.stage_result import ResultKey, StageResult
from agent_pipeline.domain.usage import Spending
from agent_pipeline.engines.error_record import ErrorRecord
from agent_pipeline.engines.messages import Began, Ended, Fence, Rejected, Report, Resulted, ShardDocument
from agent_pipeline.pipeline.ending import Ending


class ForwardedRecords:
    """Tells the driver how documents fare, as `DocumentRecords` are told.

    Nothing waits for the driver: what a killed worker had not told yet is done again by another. So a stage's result
    may be lost with its worker, together with what came after it; never that alone.

    Args:
        report: takes what is told; must not block.
    """

    def __init__(self, report: Callable[[Report], None]) -> None:
        self._report = report
        self._open: dict[str, tuple[Fence, ShardDocument]] = {}
        self._published: dict[str, Document] = {}

    def expect(self, fence: Fence, document: ShardDocument) -> None:
        """Take a document that is about to go through the stages, with what there is of it already."""
        self._open[document.entry.id] = fence, document

    def fence_of(self, document_id: str | None) -> Fence | None:
        """Return the fence of a document under way."""
        known = None if document_id is None else self._open.get(document_id)
        return None if known is None else known[0]

    async def begin(self, entry: SourceEntry, digest: str, *, plan_sha256: str | None, trace_id: str) -> None:
        """Tell that a document has begun; `plan_sha256` is the driver's own, or the worker would have been refused."""
        del plan_sha256
        await trio.lowlevel.checkpoint()
        self._report(Began(self._open[entry.id][0], entry.id, digest, trace_id))

    async def spent_on(self, document_id: str) -> Spending:
        """Return what the document came with."""
        await trio.lowlevel.checkpoint()
        return self._open[document_id][1].spent

    async def find_result(self, document_id: str, key: ResultKey) -> str | None:
        """Return a result that the document came with."""
        await trio.lowlevel.checkpoint()
        return self._open[document_id][1].results.get(key)

    async def save_result(self, result: StageResult) -> None:
        """Tell what a stage made of a document."""
        await trio.lowlevel.checkpoint()
        self._report(Resulted(self._open[result.document_id][0], result))

    async def keep_rejected(self, document: Document) -> None:
        """Tell the last text of a document that was never approved."""
        await trio.lowlevel.checkpoint()
        self._report(Rejected(self._open[document.id][0], document))

    async def publish(self, document: Document) -> None:
        """Note what is to become the artifact; it is told with the document's end."""
        await trio.lowlevel.checkpoint()
        self._published[document.id] = document

    async def close(self, ending: Ending, duration: float) -> None:
        """Tell how a document ended."""
        self._tell(ending, duration=duration)
        await trio.lowlevel.checkpoint()

    async def close_unopened(self, ending: Ending, skipped: str | None) -> None:
        """Tell how an entry ended that no stage sees."""
        self._tell(ending, unopened=True, skipped=skipped)
        await trio.lowlevel.checkpoint()

    def _tell(
        self, ending: Ending, *, duration: float = 0.0, unopened: bool = False, skipped: str | None = None
    ) -> None:
        fence, _ = self._open.pop(ending.document_id)
        published = self._published.pop(ending.document_id, None)
        self._report(
            Ended(
                fence,
                ending.position,
                ending.document_id,
                ending.source,
                ending.outcome,
                None if ending.error is None else ErrorRecord.of(ending.error),
                ending.stage,
                ending.cycles,
                ending.sent_back,
                unopened=unopened,
                skipped=skipped,
                duration=duration,
                document=published if ending.outcome == "succeeded" else None,
            )
        )
