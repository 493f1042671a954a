"""In which order a batch of reports is taken: a place is told to be free before whoever has it next."""

import json
from collections.abc import Sequence

from agent_pipeline.domain.document import Document
from agent_pipeline.domain.events import Event, SdkTraceItem
from agent_pipeline.engines.messages import Attempted, Began, Ended, Happened, Rejected, Report, Resulted

_TRACE = '{"object":"trace",'
"""How the line of a trace begins."""


def in_turns(batch: Sequence[Report]) -> list[list[Report]]:
    """Cut a batch into turns, each of which is taken at once: its beginnings first, its ends last.

    A document that begins after one has ended is in a later turn than that one, so that no more are ever in flight on
    record than in the worker. Many that end share a turn. What concerns one document stays in its order; what concerns
    none is in the first turn.

    >>> from agent_pipeline.engines.messages import Fence
    >>> def began(name):
    ...     return Began(Fence(1, 1), name, "", "")
    >>> def ended(name):
    ...     return Ended(Fence(1, 1), 1, name, None, "succeeded", None, None, {}, {})
    >>> batch = [began("b"), ended("a"), began("c"), ended("b"), began("d"), ended("c")]
    >>> [[one.document_id for one in turn] for turn in in_turns(batch)]
    [['b', 'a', 'b'], ['c', 'd', 'c']]
    """
    turns: list[list[Report]] = [[]]
    turn_of: dict[str | None, int] = {}
    newest = 0
    for report in batch:
        document_id = _document_of(report)
        if isinstance(report, Began):
            turn_of[document_id] = newest
            if newest == len(turns):
                turns.append([])
        turn = turn_of.get(document_id, 0)
        turns[turn].append(report)
        if isinstance(report, Ended) and not report.unopened:
            newest = max(newest, turn + 1)
    return turns


def traced_document(event: Event) -> str | None:
    """Return the document whose trace is opened by an event; None where none is."""
    if not isinstance(event, SdkTraceItem) or not event.line.startswith(_TRACE):
        return None
    metadata = json.loads(event.line).get("metadata")
    return str(metadata.get("document_id")) if isinstance(metadata, dict) else None


def _document_of(report: Report) -> str | None:
    found: str | None = None
    match report:
        case Happened(event=event):
            found = getattr(event, "document_id", None) or traced_document(event)
        case Attempted(record=of) | Resulted(result=of):
            found = of.document_id
        case Began(document_id=found) | Ended(document_id=found) | Rejected(document=Document(id=found)):
            pass
        case _:
            pass
    return found
