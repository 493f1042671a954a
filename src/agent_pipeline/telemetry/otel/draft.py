"""A span that is over, as plain values; the exporter makes OpenTelemetry's of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from agent_pipeline.telemetry.redaction import Redactor

AttributeValue = str | bool | int | float | Sequence[str | bool | int | float]

LONGEST_TEXT = 64 * 1024
"""Characters of one attribute; backends cut off far below, and a batch has to fit into a request."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BESIDE_TEXT = 400
"""Bytes of a span that has no text at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A finished span.

    Attributes:
        parent_id: None at the root of a trace.
        start: nanoseconds since the epoch.
        end: likewise, never before the start.
        client: it is a request to somebody else.
        failed: it went wrong; `error` says how, as far as that is known.
        link: trace and span that it belongs to without being below it.
        by_sdk: the Agents SDK's, through OpenInference.
    """

    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    start: int
    end: int
    attributes: Mapping[str, AttributeValue]
    client: bool = False
    failed: bool = False
    error: str | None = None
    link: tuple[int, int] | None = None
    by_sdk: bool = False


def nanoseconds(at: datetime) -> int:
    """Return nanoseconds since the epoch, exact to the microsecond."""
    return (at - _EPOCH) // _MICROSECOND * 1000


def present(attributes: Mapping[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    """Return those that have a value.

    >>> present({"error.type": "timeout", "gen_ai.request.model": None})
    {'error.type': 'timeout'}
    """
    return {name: value for name, value in attributes.items() if value is not None}


def cleaned(draft: Draft, redactor: Redactor) -> tuple[Draft, int]:
    """Return the span as it may leave, without secrets and fit for UTF-8, and about how many bytes it has."""
    texts = _Texts(redactor)
    attributes = {texts.clean(name): texts.value(value) for name, value in draft.attributes.items()}
    error = None if draft.error is None else texts.clean(draft.error)
    return replace(draft, name=texts.clean(draft.name), attributes=attributes, error=error), texts.size


class _Texts:
    """Cleans texts and adds up how long they are."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self.size = _BESIDE_TEXT

    def clean(self, text: str) -> str:
        # Cut twice: what is far behind needs no look, and a secret that the first cut halves is behind the second.
        text = self._redactor.text(text[: 2 * LONGEST_TEXT])[:LONGEST_TEXT]
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()  # half a surrogate pair would cost the whole batch
        self.size += len(text)
        return text

    def value(self, value: AttributeValue) -> AttributeValue:
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, int) and value.bit_length() > 63:
            return str(value)
        if isinstance(value, bool | int | float):
            return value
        return [self.clean(one) if isinstance(one, str) else one for one in value]
