"""One document's way through the stages, from admission to its one terminal record."""

from typing import TYPE_CHECKING

import trio

from agent_pipeline.control.deadline import deadline_rung, run_timeout_passed
from agent_pipeline.domain.document import Document, SourceEntry
from agent_pipeline.domain.events import DocumentSizeWarning, DocumentStarted, Rework
from agent_pipeline.errors import DocumentInvalidError, DocumentRejectedError
from agent_pipeline.pipeline.ending import Ending
from agent_pipeline.pipeline.failures import as_own_error, passing_part
from agent_pipeline.pipeline.itinerary import Itinerary
from agent_pipeline.pipeline.stage_pass import Trip, pass_stage

if TYPE_CHECKING:
    from agent_pipeline.bridge import DocumentSession

LARGE_DOCUMENT_BYTES = 1_000_000


async def travel(entry: SourceEntry, itinerary: Itinerary, ending: Ending) -> None:
    """Take one entry of the source to its end; `ending` tells how, also when this is cancelled.

    Whatever a stage raises becomes the document's ending; only cancellation, KeyboardInterrupt, and a ledger that
    can't be written, get out. First and terminal record are written under a shield: a document that has the one has
    the other, and it is durable, when this returns or raises.
    """
    begun = trio.current_time()
    itinerary = itinerary.pinned()
    document, problem, digest = identified(entry)
    if document is None:
        ending.outcome, ending.error = ("skipped", None) if problem is None else ("failed", problem)
        with trio.CancelScope(shield=True):
            await itinerary.records.close_unopened(ending, entry.skipped)
        return
    with trio.CancelScope(shield=True):
        await itinerary.records.begin(
            entry, digest, plan_sha256=itinerary.plan_sha256, trace_id=itinerary.trace_id(entry.id)
        )
    try:
        size_bytes = len(document.text.encode("utf-8", "replace"))
        itinerary.emit(DocumentStarted(entry.id, entry.position, entry.source, size_bytes))
        if size_bytes > LARGE_DOCUMENT_BYTES:
            itinerary.emit(DocumentSizeWarning(entry.id, size_bytes))
        await _work(document, digest, itinerary, ending)
    finally:
        with trio.CancelScope(shield=True):
            await itinerary.records.close(ending, trio.current_time() - begun)


def identified(entry: SourceEntry) -> tuple[Document | None, DocumentInvalidError | None, str]:
    """Return the entry's document, or what is wrong with it, and its hash."""
    if entry.document is None:
        return None, entry.error, ""
    try:
        return entry.document, None, entry.document.sha256()
    except (TypeError, ValueError, RecursionError) as exc:
        return None, DocumentInvalidError(f"document {entry.id}: its metadata can't be hashed: {exc}"), ""


async def _work(document: Document, digest: str, itinerary: Itinerary, ending: Ending) -> None:
    """Run the stages and write the artifact; every error ends in `ending`."""
    try:
        with deadline_rung("document", itinerary.document_timeout, during=f"working on document {document.id}"):
            async with itinerary.bridge.document(document.id, trace_id=itinerary.trace_id(document.id)) as session:
                await _stages(document, digest, session, itinerary, ending)
    except BaseException as exc:  # noqa: BLE001 - groups may hold what is no Exception
        passing = passing_part(exc)
        if passing is not None:
            # Resumable like any other cancellation; but which rung fired has to be told.
            ending.error = run_timeout_passed()
            raise passing from None
        ending.error = as_own_error(exc, ending.stage)
    if ending.error is not None:
        ending.outcome = "cancelled" if ending.error.disposition == "fail_run" else "failed"


async def _stages(
    document: Document, digest: str, session: "DocumentSession", itinerary: Itinerary, ending: Ending
) -> None:
    places = {planned.stage.name: index for index, planned in enumerate(itinerary.stages)}
    budget = await itinerary.open_budget(document.id)
    trip = Trip(original=document, original_sha256=digest, session=session, itinerary=itinerary, budget=budget)
    index = 0
    while index < len(itinerary.stages):
        planned = itinerary.stages[index]
        name = ending.stage = planned.stage.name
        ending.cycles[name] += 1
        document, may_go_on = await pass_stage(document, planned, ending.cycles[name], trip)
        if may_go_on:
            index += 1
            continue
        if planned.rework_to is None or ending.sent_back[name] >= planned.max_reworks:
            await itinerary.records.keep_rejected(document)
            msg = f"stage {name} did not approve the document in {ending.cycles[name]} cycles"
            raise DocumentRejectedError(msg)
        ending.sent_back[name] += 1
        itinerary.emit(Rework(document.id, name, planned.rework_to, ending.cycles[name]))
        index = places[planned.rework_to]
    ending.stage = "write"
    ending.artifact = await itinerary.records.publish(document)
    ending.outcome = "succeeded"  # also when the run is cancelled while the document's loop closes
