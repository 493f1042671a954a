"""The run log: one readable line per event, which `parse_line` reads back."""

from collections.abc import Iterable
from datetime import datetime

from agent_pipeline.domain.events import AttemptFinished, Event, StageMessage
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.telemetry.line_file import LineSink
from agent_pipeline.telemetry.log_line import format_line, text_of, word
from agent_pipeline.telemetry.record import RAW, fields_of
from agent_pipeline.telemetry.redaction import Redactor

_LEVELS = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR"}


class RunLogSink(LineSink):
    """`<name>.log`: everything but the raw lines of the Agents SDK."""

    name = "run_log"

    def accepts(self, kind: type[Event]) -> bool:
        """All but raw lines."""
        return not issubclass(kind, RAW)

    def handle(self, event: Event, at: datetime) -> None:
        """Format one line."""
        level, name, fields = _parts(event, self._redactor)
        line = format_line(at, level, name, fields)
        if self._redactor.suspects(line):
            redact = self._redactor
            # Value by value, before quoting: a replacement in the finished line could break its quotes.
            clean = [
                (word(redact.text(key)), redact.value(text_of(value), key))
                for key, value in fields
                if value is not None
            ]
            line = format_line(at, level, " ".join(word(redact.text(part)) for part in name.split(" ")), clean)
        self.write(line)


def _parts(event: Event, redactor: Redactor) -> tuple[str, str, Iterable[tuple[str, object]]]:
    """Return level, name and fields as the log shows them."""
    if isinstance(event, AttemptFinished):
        failed = event.attempt.outcome == "failed"
        return "WARNING" if failed else _LEVELS[event.level], event.name, attempt_fields(event.attempt)
    if isinstance(event, StageMessage):
        return _LEVELS[event.level], word(redactor.text(event.message)), _message_fields(event, redactor)
    fields = fields_of(event)
    if "document_id" in fields:
        return _LEVELS[event.level], event.name, [("doc" if k == "document_id" else k, v) for k, v in fields.items()]
    return _LEVELS[event.level], event.name, list(fields.items())


def _message_fields(event: StageMessage, redactor: Redactor) -> list[tuple[str, object]]:
    """A stage's own values become keys; one that is taken gets a `_`, so that no value hides another."""
    shown: dict[str, object] = {"doc": event.document_id, "stage": event.stage}
    for name, value in event.values.items():
        key = word(redactor.text(name))  # first: as a word, a secret with a space in it would no longer be found
        while key in shown:
            key += "_"
        shown[key] = value
    return list(shown.items())


def attempt_fields(attempt: AttemptRecord) -> tuple[tuple[str, object], ...]:
    """What the logs show of an attempt, under the logs' names, seconds to the millisecond."""
    usage = attempt.usage
    return (
        ("doc", attempt.document_id),
        ("stage", attempt.stage),
        ("cycle", attempt.cycle),
        ("role", attempt.role),
        ("attempt", attempt.number),
        ("sent", None if attempt.sent else False),
        ("status", attempt.status_code),
        ("outcome", attempt.outcome),
        ("latency", round(attempt.latency_seconds, 3)),
        ("wait", round(attempt.wait_seconds, 3)),
        ("wait_reason", attempt.wait_reason),
        ("error_code", attempt.error_code),
        ("error", attempt.error),
        ("input_tokens", None if usage is None else usage.input_tokens),
        ("output_tokens", None if usage is None else usage.output_tokens),
        ("charged_tokens", attempt.charged_tokens),
        ("cost_micro_usd", attempt.cost_micro_usd),
        ("provider", attempt.provider),
        ("model", attempt.model),
        ("method", attempt.method),
        ("path", attempt.path),
        ("request_id", attempt.provider_request_id),
        ("attempt_id", attempt.attempt_id),
    )
