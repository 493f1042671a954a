"""A span of the Agents SDK that is over, with whose it is; for exporters, which read the SDK's own object."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SdkSpan:
    """The SDK's object and its place; nothing of it changes any more.

    Attributes:
        item: the SDK's span.
        span_id: its id there.
        parent_id: likewise, of the span it is part of; None for the first of an agent's run.
        document_id: whom it was made for; None outside of a document's stages, as are the next three.
        stage: in which stage.
        cycle: in which pass through it.
        trace_id: the document's.
    """

    item: object
    span_id: str
    parent_id: str | None
    document_id: str | None
    stage: str | None
    cycle: int | None
    trace_id: str | None
