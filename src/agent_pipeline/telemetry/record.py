"""An event as key and value pairs; how to read a class is worked out once per class."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from operator import attrgetter

from agent_pipeline.domain.events import AttemptFinished, Event, SdkLogRecord, SdkTraceItem

RAW = (SdkTraceItem, SdkLogRecord)
"""Events that carry a finished line for one file of their own."""


Reader = Callable[[object], dict[str, object]]

_readers: dict[type[object], Reader] = {}


def fields_of(event: Event) -> dict[str, object]:
    """Return an event's fields in their order; those of an attempt stand in the event's own place."""
    holder: object = event.attempt if isinstance(event, AttemptFinished) else event
    kind = type(holder)
    reader = _readers.get(kind)
    if reader is None:
        reader = _readers[kind] = _reader(kind)
    return reader(holder)


def _reader(kind: type[object]) -> Reader:
    names = tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()
    if len(names) < 2:  # attrgetter returns a tuple only from two names on
        return lambda holder: {name: getattr(holder, name) for name in names}
    get = attrgetter(*names)
    return lambda holder: dict(zip(names, get(holder), strict=True))
