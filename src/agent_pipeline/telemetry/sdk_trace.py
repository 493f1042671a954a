"""trace_dump-<run>.jsonl: every trace and span of the Agents SDK, as the bridge encoded it."""

import json
from datetime import datetime

from agent_pipeline.domain.events import Event, SdkTraceItem
from agent_pipeline.telemetry.events_file import json_line
from agent_pipeline.telemetry.line_file import LineSink


class SdkTraceSink(LineSink):
    """One line per item; a line that is not JSON is lost, and counted."""

    name = "sdk_trace"

    def accepts(self, kind: type[Event]) -> bool:
        """Trace items."""
        return issubclass(kind, SdkTraceItem)

    def handle(self, event: Event, at: datetime) -> None:  # noqa: ARG002 - an item carries its own times
        """Write the line, decoded and encoded again only where there is something to redact or to mend."""
        if not isinstance(event, SdkTraceItem):
            return
        line = event.line
        if "\n" in line or not line.startswith("{") or self._redactor.suspects(line):
            line = json_line(self._redactor.value(json.loads(line)))
        self.write(line)
