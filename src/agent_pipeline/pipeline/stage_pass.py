"""One pass of a document through one stage: its result out of the ledger, or the stage called and its result kept."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import trio

from agent_pipeline.control.budget import Budget
from agent_pipeline.control.deadline import deadline_rung
from agent_pipeline.control.scope import CallScope, call_scope
from agent_pipeline.domain.document import Document
from agent_pipeline.domain.events import StageFinished, StageReused, StageStarted
from agent_pipeline.domain.stage_result import ResultKey, StageResult
from agent_pipeline.errors import StageError
from agent_pipeline.pipeline.context import StageContext, Verdict
from agent_pipeline.pipeline.failures import as_own_error, passing_part
from agent_pipeline.pipeline.itinerary import Itinerary
from agent_pipeline.pipeline.secrets_kept_out import without_secrets
from agent_pipeline.pipeline.stage import PlannedStage

if TYPE_CHECKING:
    from agent_pipeline.bridge import DocumentSession


@dataclasses.dataclass(frozen=True, slots=True)
class Trip:
    """What stays the same while one document goes from stage to stage."""

    original: Document
    original_sha256: str
    session: "DocumentSession"
    itinerary: Itinerary
    budget: Budget | None = None


async def pass_stage(document: Document, planned: PlannedStage, cycle: int, trip: Trip) -> tuple[Document, bool]:
    """Take a document through a stage; return its new form, and whether it may go on.

    A result that an earlier session kept for exactly this input is used again: nothing is asked for it. A new one is on
    disk in the ledger when this returns. A stage that fails, or is cancelled, leaves no result.

    Raises:
        AgentPipelineError: what the stage raised, as an error of ours.
        LedgerError: the result can't be kept.
    """
    name, itinerary = planned.stage.name, trip.itinerary
    key = ResultKey(name, cycle, _identity(document, trip.original_sha256, itinerary.fingerprints[name]))
    kept = await itinerary.records.find_result(document.id, key)
    if kept is not None:
        itinerary.emit(StageReused(document.id, name, cycle))
        return _restored(document, json.loads(kept))
    context = StageContext(
        document_id=document.id,
        stage=name,
        cycle=cycle,
        role=planned.stage.role,
        options=planned.options,
        emit=itinerary.emit,
        find_role=itinerary.bridge.find_role,
        session=trip.session,
        original=trip.original,
    )
    started_at = itinerary.now()
    result = without_secrets(await _call(planned, document, context, trip), itinerary.secrets)
    await _keep(document, result, context, key, started_at=started_at, itinerary=itinerary)
    return result, context.verdict is None or context.verdict.approved


async def _keep(
    document: Document,
    result: Document,
    context: StageContext,
    key: ResultKey,
    *,
    started_at: datetime,
    itinerary: Itinerary,
) -> None:
    verdict = None if context.verdict is None else itinerary.secrets.value(dataclasses.asdict(context.verdict))
    output_json = json.dumps({**_plain(result, document), "verdict": verdict}, ensure_ascii=False)
    await itinerary.records.save_result(StageResult(document.id, key, output_json, started_at, itinerary.now()))


async def _call(planned: PlannedStage, document: Document, context: StageContext, trip: Trip) -> Document:
    """Call the stage's function within its deadline; what it raises that is not ours becomes a StageError."""
    name, cycle, itinerary = context.stage, context.cycle, trip.itinerary
    itinerary.emit(StageStarted(document.id, name, cycle))
    begun = trio.current_time()
    error_code: str | None = None
    try:
        with deadline_rung("stage", itinerary.stage_timeout, during=f"in stage {name}, document {document.id}"):
            scope = CallScope(
                document.id,
                name,
                cycle,
                deadline=trio.current_effective_deadline(),
                trace_id=itinerary.trace_id(document.id),
                budget=trip.budget,
            )
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


def _identity(document: Document, original_sha256: str, fingerprint: str) -> str:
    """Hash all that determines the stage's result: what it sees of the document, and what it is."""
    return hashlib.sha256(f"{document.sha256()} {original_sha256} {fingerprint}".encode()).hexdigest()


def _plain(result: Document, document: Document) -> dict[str, object]:
    """Return what a stage may change, and what it seldom does only where it did."""
    plain: dict[str, object] = {"text": result.text, "fields": dict(result.fields)}
    if result.source != document.source:
        plain["source"] = result.source
    if result.metadata != document.metadata:
        plain["metadata"] = dict(result.metadata)
    return plain


def _restored(document: Document, kept: Mapping[str, Any]) -> tuple[Document, bool]:
    """Return a kept result as the stage returned it, and whether the document may go on."""
    result = dataclasses.replace(
        document,
        text=kept["text"],
        fields=kept["fields"],
        source=kept.get("source", document.source),
        metadata=kept.get("metadata", document.metadata),
    )
    verdict = kept["verdict"]
    return result, verdict is None or Verdict(**verdict).approved
