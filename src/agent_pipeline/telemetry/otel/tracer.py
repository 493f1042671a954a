"""What OpenInference takes for a tracer and its spans; it draws one span of the Agents SDK at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from agent_pipeline.telemetry.otel.draft import AttributeValue, Draft

_USAGE = "llm.token_count."

_ERROR = 2
"""OpenTelemetry's StatusCode.ERROR."""


class _Code(Protocol):
    @property
    def value(self) -> int: ...


class _Status(Protocol):
    @property
    def status_code(self) -> _Code: ...
    @property
    def description(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next span belongs: its ids, and what all spans of its run and document carry."""

    trace_id: int
    span_id: int
    parent_id: int
    attributes: Mapping[str, AttributeValue]


@dataclass(slots=True)
class DrawnSpan:
    """One span, as OpenTelemetry's interface has it."""

    name: str
    start_time: int
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    end_time: int | None = None
    failed: bool = False
    error: str | None = None

    def is_recording(self) -> bool:
        """Say that attributes count until the end."""
        return self.end_time is None

    def get_span_context(self) -> None:
        """Return nothing: nobody may hang something below it but by its place."""

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Keep one attribute."""
        self.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Keep several."""
        self.attributes.update(attributes)

    def update_name(self, name: str) -> None:
        """Give it another name."""
        self.name = name

    def set_status(self, status: _Status, description: str | None = None) -> None:
        """Keep whether it went wrong, and how."""
        self.failed = status.status_code.value == _ERROR
        self.error = (status.description or description) if self.failed else None

    def end(self, end_time: int | None = None) -> None:
        """Keep when it ended."""
        self.end_time = self.start_time if end_time is None else max(end_time, self.start_time)


class SpanTracer:
    """Hands out a span for the one place it is told; every other is thrown away. For one thread."""

    def __init__(self) -> None:
        self._place: Place | None = None
        self._drawn: DrawnSpan | None = None

    def expect(self, place: Place) -> None:
        """Take the next span that has a time of its own for this place."""
        self._place, self._drawn = place, None

    def start_span(
        self,
        name: str,
        *,
        start_time: int | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        **_: object,
    ) -> DrawnSpan:
        """Return a span; one without a time stands for an SDK trace, which our document's span stands for already."""
        span = DrawnSpan(name, start_time or 0, dict(attributes or {}))
        if start_time is not None:
            self._drawn = span
        return span

    def drawn(self) -> Draft | None:
        """Return the span of the place, once; None where none was begun and ended."""
        span, place = self._drawn, self._place
        self._drawn = self._place = None
        if span is None or place is None or span.end_time is None:
            return None
        return Draft(
            name=span.name,
            trace_id=place.trace_id,
            span_id=place.span_id,
            parent_id=place.parent_id,
            start=span.start_time,
            end=span.end_time,
            attributes={**_without_usage(span.attributes), **place.attributes},
            failed=span.failed,
            error=span.error,
            by_sdk=True,
        )


def _without_usage(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Leave out tokens, which our attempts carry: backends add up what they find, and would count them twice."""
    return {name: value for name, value in attributes.items() if not name.startswith(_USAGE)}
