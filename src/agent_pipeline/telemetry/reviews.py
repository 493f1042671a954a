"""reviews.jsonl: every reviewer's verdict."""

import json
from datetime import datetime

from agent_pipeline.domain.events import Event, Review
from agent_pipeline.telemetry.events_file import json_line
from agent_pipeline.telemetry.line_file import LineSink
from agent_pipeline.telemetry.log_line import stamp
from agent_pipeline.telemetry.record import fields_of


class ReviewsSink(LineSink):
    """`{"at", "document_id", "stage", "cycle", "approved", "issues", "suggestions"}`, one line per verdict."""

    name = "reviews"

    def accepts(self, kind: type[Event]) -> bool:
        """Reviews."""
        return issubclass(kind, Review)

    def handle(self, event: Event, at: datetime) -> None:
        """Encode one verdict."""
        line = json_line({"at": stamp(at, "microseconds"), **fields_of(event)})
        if self._redactor.suspects(line):
            line = json_line(self._redactor.value(json.loads(line)))
        self.write(line)
