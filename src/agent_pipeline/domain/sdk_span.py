"""A span of the Agents SDK that is over, with whose it is; for exporters, which read the SDK's own object."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class SdkSpan:
    """The SDK's object and its place; nothing of it changes any more.

    Attributes:
        item: the SDK's span; of a worker, a copy with what it is about, its times and its error.
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


class SpanLine(str):
    """A span as a line of JSON, which is all that most want, with the span itself at hand; a copy is the same object.

    Attributes:
        span: what was encoded.
    """

    __slots__ = ("span",)

    span: SdkSpan

    def __new__(cls, line: str, span: SdkSpan) -> Self:
        """Return the line."""
        made = super().__new__(cls, line)
        made.span = span
        return made

    def __reduce__(self) -> tuple[type["SpanLine"], tuple[str, SdkSpan]]:
        """Let it be pickled, as far as its span can be."""
        return type(self), (str(self), self.span)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self
