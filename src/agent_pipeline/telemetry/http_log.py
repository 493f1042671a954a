"""Each HTTP attempt as a record of the stdlib logger `openai.agents.http`."""

import logging
from collections.abc import Mapping
from datetime import datetime

from agent_pipeline.domain.events import AttemptFinished, Event
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.telemetry.log_line import quoted, text_of
from agent_pipeline.telemetry.redaction import PATTERNS_ONLY, Redactor
from agent_pipeline.telemetry.run_log import attempt_fields

HTTP_LOGGER = "openai.agents.http"

_FIRST = (
    "method",
    "path",
    "role",
    "attempt",
    "status",
    "outcome",
    "latency",
    "wait",
    "wait_reason",
    "error_code",
    "error",
)


class HttpLogSink:
    """Hand attempts to whoever listens to the logger; the values are attributes of the record too.

    A record's attributes are named as in the run log (`doc`, `stage`, `role`, `attempt`, `status`, `latency`, `wait`,
    `wait_reason`, `error`, `request_id`, ...), and all of them are there, None included. Records are made on the
    writer's thread, with the time of the attempt's end.
    """

    name = "http_log"

    def __init__(self, *, redactor: Redactor = PATTERNS_ONLY) -> None:
        self._redactor = redactor
        self._logger = logging.getLogger(HTTP_LOGGER)
        # Where nobody listens at all, logging would print warnings to stderr.
        self._nobody = logging.NullHandler()

    def accepts(self, kind: type[Event]) -> bool:
        """Attempts."""
        return issubclass(kind, AttemptFinished)

    def start(self, _emit: Emit, /) -> None:
        """Keep logging's last resort off stderr."""
        self._logger.addHandler(self._nobody)

    def handle(self, event: Event, at: datetime) -> None:
        """Make one record, when its level is wanted."""
        if not isinstance(event, AttemptFinished):
            return
        level = _level(event.attempt)
        if not self._logger.isEnabledFor(level):
            return
        shown = dict(attempt_fields(event.attempt))
        message = _message(shown)
        if self._redactor.suspects(message):
            redact = self._redactor.text
            shown = {key: redact(value) if isinstance(value, str) else value for key, value in shown.items()}
            message = _message(shown)
        record = self._logger.makeRecord(HTTP_LOGGER, level, __file__, 0, message, (), None, extra=shown)
        record.created = at.timestamp()
        record.msecs = at.microsecond // 1000
        self._logger.handle(record)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing is held."""

    def stop(self) -> None:
        """Leave the logger as it was."""
        self._logger.removeHandler(self._nobody)


def _message(shown: Mapping[str, object]) -> str:
    order = dict.fromkeys((*_FIRST, *shown))
    return " ".join(f"{key}={quoted(text_of(shown[key]))}" for key in order if shown[key] is not None)


def _level(attempt: AttemptRecord) -> int:
    if attempt.outcome == "succeeded":
        return logging.DEBUG
    no_answer = attempt.status_code is None and attempt.outcome == "failed"
    return logging.ERROR if no_answer or (attempt.status_code or 0) >= 500 else logging.WARNING
