"""One document's way through the stages, from admission to its one terminal record."""

import dataclasses
import hashlib
import json
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
    DocumentInvalidError,
    DocumentRejectedError,
    LedgerError,
    StageError,
)
from agent_pipeline.ledger import Ledger
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.failures import as_own_error, passing_part
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
        clean: takes secrets out of what a record says.
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
    original: Document | None = None
    cycles: Counter[str] = field(default_factory=Counter)
    sent_back: Counter[str] = field(default_factory=Counter)


async def travel(entry: SourceEntry, itinerary: Itinerary, ending: Ending) -> None:
    """Take one entry of the source to its end; `ending` tells how, also when this is cancelled.

    Whatever a stage raises becomes the document's ending; only cancellation, KeyboardInterrupt, and a ledger that
    can't be written, get out. First and terminal record are written under a shield: a document that has the one has
    the other, and it is durable, when this returns or raises.
    """
    begun = trio.current_time()
    document, problem, digest = _identified(entry)
    if document is None:
        ending.outcome, ending.error = ("skipped", None) if problem is None else ("failed", problem)
        with trio.CancelScope(shield=True):
            await _close_unopened(itinerary, ending, entry.skipped)
        return
    with trio.CancelScope(shield=True):
        await itinerary.ledger.begin_document(
            document_id=entry.id,
            position=entry.position,
            source=entry.source,
            content_sha256=digest,
            started_at=itinerary.now(),
        )
    try:
        ending.original = document
        size_bytes = len(document.text.encode("utf-8", "replace"))
        itinerary.emit(DocumentStarted(entry.id, entry.position, entry.source, size_bytes))
        if size_bytes > LARGE_DOCUMENT_BYTES:
            itinerary.emit(DocumentSizeWarning(entry.id, size_bytes))
        await _work(document, itinerary, ending)
    finally:
        with trio.CancelScope(shield=True):
            await _close(itinerary, ending, trio.current_time() - begun)


def _identified(entry: SourceEntry) -> tuple[Document | None, DocumentInvalidError | None, str]:
    """Return the entry's document, or what is wrong with it, and its hash."""
    if entry.document is None:
        return None, entry.error, ""
    try:
        return entry.document, None, entry.document.sha256()
    except (TypeError, ValueError, RecursionError) as exc:
        return None, DocumentInvalidError(f"document {entry.id}: its metadata can't be hashed: {exc}"), ""


async def _work(document: Document, itinerary: Itinerary, ending: Ending) -> None:
    """Run the stages and write the artifact; every error ends in `ending`."""
    try:
        with deadline_rung("document", itinerary.document_timeout, during=f"working on document {document.id}"):
            async with itinerary.bridge.document(document.id) as session:
                await _stages(document, session, itinerary, ending)
    except BaseException as exc:  # noqa: BLE001 - groups may hold what is no Exception
        passing = passing_part(exc)
        if passing is not None:
            raise passing from None
        ending.error = as_own_error(exc, ending.stage)
    if ending.error is not None:
        ending.outcome = "cancelled" if ending.error.disposition == "fail_run" else "failed"


async def _stages(document: Document, session: "DocumentSession", itinerary: Itinerary, ending: Ending) -> None:
    places = {planned.stage.name: index for index, planned in enumerate(itinerary.stages)}
    index = 0
    while index < len(itinerary.stages):
        planned = itinerary.stages[index]
        document, may_go_on = await _stage(document, planned, session, itinerary, ending)
        if may_go_on:
            index += 1
            continue
        name = planned.stage.name
        if planned.rework_to is None or ending.sent_back[name] >= planned.max_reworks:
            await itinerary.keep_rejected(document)
            msg = f"stage {name} did not approve the document in {ending.cycles[name]} cycles"
            raise DocumentRejectedError(msg)
        ending.sent_back[name] += 1
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
    context = StageContext(
        document_id=document.id,
        stage=name,
        cycle=ending.cycles[name],
        role=planned.stage.role,
        options=planned.options,
        emit=itinerary.emit,
        find_role=itinerary.bridge.find_role,
        session=session,
        original=ending.original if ending.original is not None else document,
    )
    started_at = itinerary.now()
    result = await _call(planned, document, context, itinerary)
    await itinerary.ledger.save_stage_result(
        document_id=document.id,
        stage=name,
        cycle=context.cycle,
        input_sha256=_identity(document, itinerary.fingerprints[name]),
        output_json=json.dumps({**_plain(result), "verdict": _verdict(context)}, ensure_ascii=False),
        started_at=started_at,
        ended_at=itinerary.now(),
    )
    return result, context.verdict is None or context.verdict.approved


async def _call(planned: PlannedStage, document: Document, context: StageContext, itinerary: Itinerary) -> Document:
    """Call the stage's function within its deadline; what it raises that is not ours becomes a StageError."""
    name, cycle = context.stage, context.cycle
    itinerary.emit(StageStarted(document.id, name, cycle))
    begun = trio.current_time()
    error_code: str | None = None
    try:
        with deadline_rung("stage", itinerary.stage_timeout, during=f"in stage {name}, document {document.id}"):
            scope = CallScope(document.id, name, cycle, deadline=trio.current_effective_deadline())
            with call_scope(scope):
                result: object = await planned.stage.function(document, context)
        return _checked(result, document, name)
    except BaseException as exc:
        passing = passing_part(exc)
        if passing is exc:
            error_code = "cancelled"
            raise
        error = as_own_error(exc, name)
        error_code = error.code
        if passing is not None:
            raise passing from None
        if error is exc:
            raise
        raise error from error.__cause__
    finally:
        itinerary.emit(StageFinished(document.id, name, cycle, trio.current_time() - begun, error_code))


def _checked(result: object, document: Document, stage: str) -> Document:
    """Return what a stage returned, if it is the document and the ledger can keep it.

    Raises:
        StageError: it is not, or it holds something that is no JSON.
    """
    if not isinstance(result, Document) or result.id != document.id:
        msg = f"stage {stage} must return the document it was given (or a changed copy), not {type(result).__name__}"
        raise StageError(msg)
    text: object = result.text
    if not isinstance(text, str):
        msg = f"stage {stage} set a text that is no str but {type(text).__name__}"
        raise StageError(msg)
    try:
        json.dumps([result.source, dict(result.metadata), dict(result.fields)], allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as exc:
        msg = f"stage {stage} set a field that is not JSON: {exc}"
        raise StageError(msg) from exc
    return result


def _identity(document: Document, fingerprint: str) -> str:
    return hashlib.sha256(f"{document.sha256()} {fingerprint}".encode()).hexdigest()


def _plain(document: Document) -> dict[str, object]:
    return {"text": document.text, "fields": dict(document.fields)}


def _verdict(context: StageContext) -> dict[str, object] | None:
    return None if context.verdict is None else dataclasses.asdict(context.verdict)


async def _close(itinerary: Itinerary, ending: Ending, duration: float) -> None:
    """Write the one terminal record, and say so."""
    error = ending.error
    try:
        await itinerary.ledger.finish_document(
            ending.document_id,
            outcome=ending.outcome,
            error_code=None if error is None else error.code,
            error=None if error is None else itinerary.clean(str(error)),
            failed_stage=ending.stage if error is not None else None,
            reworks=ending.sent_back.total(),
            artifact=ending.artifact,
            ended_at=itinerary.now(),
        )
    except LedgerError as exc:
        ending.outcome, ending.error = "cancelled", exc
        raise
    finally:
        _announce(itinerary, ending, duration)


async def _close_unopened(itinerary: Itinerary, ending: Ending, skipped: str | None) -> None:
    """Write the one record of an entry that no stage sees, and why."""
    error = ending.error
    await itinerary.ledger.begin_and_finish_document(
        document_id=ending.document_id,
        position=ending.position,
        source=ending.source,
        outcome="skipped" if error is None else "failed",
        error_code=None if error is None else error.code,
        error=skipped if error is None else itinerary.clean(str(error)),
        at=itinerary.now(),
    )
    _announce(itinerary, ending, 0.0)


def _announce(itinerary: Itinerary, ending: Ending, duration: float) -> None:
    error = ending.error
    code = None if error is None else error.code
    if ending.outcome == "failed" and error is not None:
        itinerary.emit(PipelineFailure(ending.document_id, ending.stage, ending.source, error.code, str(error)))
    artifact = None if ending.artifact is None else ending.artifact.path
    itinerary.emit(
        DocumentFinished(ending.document_id, ending.outcome, ending.sent_back.total(), artifact, code, duration)
    )
