"""events.jsonl: the events of the run log with their types, one JSON object per line."""

import json
from datetime import datetime

from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from agent_pipeline.domain.events import Event
from agent_pipeline.telemetry.line_file import LineSink
from agent_pipeline.telemetry.log_line import stamp
from agent_pipeline.telemetry.record import RAW, fields_of

_KEYS = {"event": "step", "at": "event_at"}
"""Fields whose name is taken by a key that every line has."""


class EventsSink(LineSink):
    """`{"at", "event", ...fields}`; an event that can't be encoded loses only itself."""

    name = "events"

    def accepts(self, kind: type[Event]) -> bool:
        """All but raw lines."""
        return not issubclass(kind, RAW)

    def handle(self, event: Event, at: datetime) -> None:
        """Encode one event."""
        fields = fields_of(event)
        for taken, key in _KEYS.items():
            if taken in fields:
                fields = {key if name == taken else name: value for name, value in fields.items()}
        record: dict[str, object] = {"at": stamp(at, "microseconds"), "event": event.name, **fields}
        line = json_line(record)
        if self._redactor.suspects(line):
            line = json_line(self._redactor.value(json.loads(line)))
        self.write(line)


def json_line(value: object) -> str:
    """Return JSON that is one line for every reader; NaN and infinities, which JSON lacks, become null.

    pydantic_core takes 1.6 us for an attempt where `json` takes 5.8.

    Raises:
        TypeError: something in it has no JSON form.
    """
    try:
        line = to_json(value, inf_nan_mode="null").decode()
    except (PydanticSerializationError, UnicodeEncodeError):
        # Half a surrogate pair, which models do produce; `json` writes it as an escape.
        return json.dumps(value, allow_nan=False, default=to_jsonable_python)
    if line.isascii():
        return line
    return line.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")
