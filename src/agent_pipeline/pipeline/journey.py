"""One document's way through the stages, from admission to its one terminal record."""

import dataclasses
import hashlib
import json
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import trio

from agent_pipeline.control.deadline import deadline_rung
from agent_pipeline.control.scope import CallScope, call_scope
from agent_pipeline.documents.artifacts import ArtifactWriter
from agent_pipeline.domain.document import Artifact, Document, Outcome, SourceEntry
from agent_pipeline.domain.events import (
    DocumentFinished,
    DocumentSizeWarning,
    DocumentStarted,
    PipelineFailure,
    Rework,
    StageFinished,
    StageStarted,
)
from agent_pipeline.domain.ports import Emit
from agent_pipeline.errors import (
    AgentPipelineError,
    DocumentRejectedError,
    LedgerError,
    StageError,
)
from agent_pipeline.ledger import Ledger
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.stage import PlannedStage

if TYPE_CHECKING:
    from agent_pipeline.bridge import AgentBridge, DocumentSession

LARGE_DOCUMENT_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Itinerary:
    """What every document of a run shares.

    Attributes:
        stages: in order.
        fingerprints: what determines each stage's result besides the document, by stage name.
        document_timeout: seconds; None is unlimited.
        stage_timeout: seconds; None is unlimited.
        keep_rejected: keeps the last text of a document that was never approved.
        now: wall clock.
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


@dataclass(slots=True, eq=False)
class Ending:
    """How a document ended.

    Attributes:
        error: what ended it, None where it succeeded or was skipped.
    """

    position: int
    document_id: str
    source: str | None
    outcome: Outcome = "cancelled"
    error: AgentPipelineError | None = None
    stage: str | None = None
    reworks: int = 0
    artifact: Artifact | None = None
    original: Document | None = None
    cycles: Counter[str] = field(default_factory=Counter)


async def travel(entry: SourceEntry, itinerary: Itinerary, ending: Ending) -> None:
    """Take one entry of the source to its end; `ending` tells how, also when this is cancelled.

    Whatever a stage raises becomes the document's ending; only cancellation, and a ledger that can't be written, get
    out. The terminal record is durable when this returns; it is written under a shield.
    """
    begun = trio.current_time()
    document = entry.document
    digest = None if document is None else document.sha256()
    started_at = itinerary.now()
    with trio.CancelScope(shield=True):  # cut off half-way, nobody would know whether there is a row to end
        await itinerary.ledger.begin_document(
            document_id=entry.id,
            position=entry.position,
            source=entry.source,
            content_sha256=digest,
            started_at=started_at,
        )
    try:
        if document is None:
            ending.outcome, ending.error = ("skipped", None) if entry.error is None else ("failed", entry.error)
        else:
            ending.original = document
            size_bytes = len(document.text.encode("utf-8", "replace"))
            itinerary.emit(DocumentStarted(entry.id, entry.position, entry.source, size_bytes))
            if size_bytes > LARGE_DOCUMENT_BYTES:
                itinerary.emit(DocumentSizeWarning(entry.id, size_bytes))
            await _work(document, itinerary, ending)
    finally:
        with trio.CancelScope(shield=True):
            await _close(itinerary, ending, trio.current_time() - begun)


async def _work(document: Document, itinerary: Itinerary, ending: Ending) -> None:
    """Run the stages and write the artifact; every error ends in `ending`."""
    try:
        with deadline_rung("document", itinerary.document_timeout, during=f"working on document {document.id}"):
            async with itinerary.bridge.document(document.id) as session:
                ending.error = await _outcome_of(_stages(document, session, itinerary, ending))
    except AgentPipelineError as exc:
        ending.error = exc
    except Exception as exc:  # noqa: BLE001  (the nursery around the document's loop wraps what goes wrong in it)
        ending.error = _as_ours(exc, ending.stage)
    if ending.error is None:
        ending.outcome = "succeeded"
    else:
        ending.outcome = "cancelled" if ending.error.disposition == "fail_run" else "failed"


async def _outcome_of(work: Awaitable[None]) -> AgentPipelineError | None:
    """Await, and return the error instead of raising it: no error may cross the nursery around the loop."""
    try:
        await work
    except AgentPipelineError as exc:
        return exc
    return None


async def _stages(document: Document, session: "DocumentSession", itinerary: Itinerary, ending: Ending) -> None:
    places = {planned.stage.name: index for index, planned in enumerate(itinerary.stages)}
    index = 0
    while index < len(itinerary.stages):
        planned = itinerary.stages[index]
        document, verdict_ok = await _stage(document, planned, session, itinerary, ending)
        if verdict_ok:
            index += 1
            continue
        name = planned.stage.name
        if planned.rework_to is None or ending.cycles[name] > planned.max_reworks:
            await itinerary.keep_rejected(document)
            msg = f"stage {name} did not approve the document in {ending.cycles[name]} cycles"
            raise DocumentRejectedError(msg)
        ending.reworks += 1
        itinerary.emit(Rework(document.id, name, planned.rework_to, ending.cycles[name]))
        index = places[planned.rework_to]
    ending.stage = "write"
    ending.artifact = await itinerary.artifacts.write(document)
    ending.outcome = "succeeded"  # also when the run is cancelled while the document's loop closes


async def _stage(
    document: Document, planned: PlannedStage, session: "DocumentSession", itinerary: Itinerary, ending: Ending
) -> tuple[Document, bool]:
    """Run one stage; return its document, and whether it may go on."""
    name = ending.stage = planned.stage.name
    ending.cycles[name] += 1
    cycle = ending.cycles[name]
    context = StageContext(
        document_id=document.id,
        stage=name,
        cycle=cycle,
        role=planned.stage.role,
        options=planned.options,
        emit=itinerary.emit,
        find_role=itinerary.bridge.find_role,
        session=session,
        original=ending.original if ending.original is not None else document,
    )
    itinerary.emit(StageStarted(document.id, name, cycle))
    begun, started_at = trio.current_time(), itinerary.now()
    error_code: str | None = "cancelled"
    try:
        with deadline_rung("stage", itinerary.stage_timeout, during=f"in stage {name}, document {document.id}"):
            scope = CallScope(document.id, name, cycle, deadline=trio.current_effective_deadline())
            with call_scope(scope):
                result = await _call(planned, document, context)
        error_code = None
    except AgentPipelineError as exc:
        error_code = exc.code
        raise
    finally:
        itinerary.emit(StageFinished(document.id, name, cycle, trio.current_time() - begun, error_code))
    await itinerary.ledger.save_stage_result(
        document_id=document.id,
        stage=name,
        cycle=cycle,
        input_sha256=_identity(document, itinerary.fingerprints[name]),
        output_json=json.dumps({**_plain(result), "verdict": _verdict(context)}, ensure_ascii=False),
        started_at=started_at,
        ended_at=itinerary.now(),
    )
    return result, context.verdict is None or context.verdict.approved


async def _call(planned: PlannedStage, document: Document, context: StageContext) -> Document:
    """Call the stage's function; what it raises that is not ours becomes a StageError."""
    name = planned.stage.name
    try:
        result: object = await planned.stage.function(document, context)
    except AgentPipelineError:
        raise
    except Exception as exc:
        raise _as_ours(exc, name) from exc
    if not isinstance(result, Document) or result.id != document.id:
        msg = f"stage {name} must return the document it was given (or a changed copy), not {type(result).__name__}"
        raise StageError(msg)
    try:
        json.dumps(dict(result.fields), allow_nan=False)
    except (TypeError, ValueError) as exc:
        msg = f"stage {name} set a field that is not JSON: {exc}"
        raise StageError(msg) from exc
    return result


def _as_ours(exc: BaseException, stage: str | None) -> AgentPipelineError:
    """Return the first error of ours inside `exc`, or say where a foreign one came from."""
    if isinstance(exc, AgentPipelineError):
        return exc
    if isinstance(exc, BaseExceptionGroup):
        return _as_ours(exc.exceptions[0], stage)
    last = traceback.extract_tb(exc.__traceback__)[-1:]
    where = f" ({last[0].filename.rpartition('/')[2]}:{last[0].lineno})" if last else ""
    return StageError(f"stage {stage} raised {type(exc).__name__}: {exc}{where}")


def _identity(document: Document, fingerprint: str) -> str:
    return hashlib.sha256(f"{document.sha256()} {fingerprint}".encode()).hexdigest()


def _plain(document: Document) -> dict[str, object]:
    return {"text": document.text, "fields": dict(document.fields)}


def _verdict(context: StageContext) -> dict[str, object] | None:
    return None if context.verdict is None else dataclasses.asdict(context.verdict)


async def _close(itinerary: Itinerary, ending: Ending, duration: float) -> None:
    """Write the one terminal record, and say so."""
    error = ending.error
    code = None if error is None else error.code
    try:
        await itinerary.ledger.finish_document(
            ending.document_id,
            outcome=ending.outcome,
            error_code=code,
            error=None if error is None else str(error),
            failed_stage=ending.stage if error is not None else None,
            reworks=ending.reworks,
            artifact=ending.artifact,
            ended_at=itinerary.now(),
        )
    except LedgerError as exc:
        ending.outcome, ending.error = "cancelled", exc
        raise
    finally:
        artifact = None if ending.artifact is None else ending.artifact.path
        if ending.outcome == "failed" and error is not None:
            failure = PipelineFailure(ending.document_id, ending.stage, ending.source, error.code, str(error))
            itinerary.emit(failure)
        finished = DocumentFinished(ending.document_id, ending.outcome, ending.reworks, artifact, code, duration)
        itinerary.emit(finished)
