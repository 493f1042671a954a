"""openai_agents-<run>.log: what the Agents SDK logs, at DEBUG, through the run's own queue."""

import functools
import logging
import re
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from agent_pipeline.domain.events import Event, SdkLogRecord
from agent_pipeline.domain.ports import Emit
from agent_pipeline.telemetry.line_file import LineSink
from agent_pipeline.telemetry.log_line import quoted, stamp, word
from agent_pipeline.telemetry.opening import OpenFile, create_file
from agent_pipeline.telemetry.redaction import PATTERNS_ONLY, Redactor

SDK_LOGGER = "openai.agents"

_NAME_LIKE = re.compile(r"[\w.:/@+-]{1,64}")
_LONGEST_MESSAGE = 200
_MOST_KNOWN = 256


class SdkLogCapture(LineSink):
    """Write all records of `openai.agents` and the loggers below it, lines in the form of the run log.

    While it is started, the logger's level is DEBUG and its records reach no handler of the root logger, which would
    otherwise show every DEBUG record. Two runs at once in one process each get the records of both.

    Args:
        path: folders above it are made.
        redactor: applied to every message.
        content: keep texts that are passed to the logger (prompts, answers, tool arguments, exceptions' messages).
            Without it they are replaced by their length, whatever OPENAI_AGENTS_DONT_LOG_MODEL_DATA says.
        open_with: how the file comes to be.
    """

    name = "sdk_log"

    def __init__(
        self,
        path: Path,
        *,
        redactor: Redactor = PATTERNS_ONLY,
        content: bool = False,
        open_with: Callable[[Path], OpenFile] = create_file,
    ) -> None:
        super().__init__(path, redactor=redactor, open_with=open_with)
        self._render = _full_text if content else _without_content
        self._handler: _QueueHandler | None = None
        # The SDK says the same few things for each document.
        self._encode_known = functools.lru_cache(_MOST_KNOWN)(self._encode)

    def accepts(self, kind: type[Event]) -> bool:
        """The SDK's records."""
        return issubclass(kind, SdkLogRecord)

    def start(self, emit: Emit, /) -> None:
        """Open the file, then listen."""
        super().start(emit)
        self._handler = _QueueHandler(emit, self._render, logging.DEBUG)
        _listeners.add(self._handler)

    def handle(self, event: Event, at: datetime) -> None:  # noqa: ARG002 - a record carries its own time
        """Format one line."""
        if not isinstance(event, SdkLogRecord):
            return
        created = stamp(datetime.fromtimestamp(event.created, UTC), "milliseconds")
        encode = self._encode_known if len(event.message) <= _LONGEST_MESSAGE else self._encode
        self.write(f"{created} {encode(event.severity, event.logger, event.message)}")

    def _encode(self, severity: str, logger: str, message: str) -> str:
        return f"{word(severity)} {word(logger)} message={quoted(self._redactor.text(message))}"

    def stop(self) -> None:
        """Stop listening; the logger is as it was before."""
        handler, self._handler = self._handler, None
        if handler is not None:
            _listeners.remove(handler)


class _QueueHandler(logging.Handler):
    """Format where the record is made (its arguments may change later) and go on; never blocks, prints or raises."""

    def __init__(self, emit: Emit, render: Callable[[logging.LogRecord], str], level: int) -> None:
        super().__init__(level)
        self._emit = emit
        self._render = render

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Do without: the queue needs none, and a lock could block the writer's thread."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record, without the lock of the original."""
        try:
            message = self._render(record)
        except Exception as error:  # noqa: BLE001 - a broken record must not end what logged it
            message = f"a record of {record.pathname}:{record.lineno} could not be formatted: {type(error).__name__}"
        self._emit(SdkLogRecord(record.created, record.levelname, record.name, message))
        return True


class _Listeners:
    """The handlers on the SDK's logger, whose level is their lowest; the last to go restores level and propagation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: list[logging.Handler] = []
        self._before = (logging.NOTSET, True)

    def add(self, handler: logging.Handler) -> None:
        logger = logging.getLogger(SDK_LOGGER)
        with self._lock:
            if not self._handlers:
                self._before = (logger.level, logger.propagate)
                logger.propagate = False
            self._handlers.append(handler)
            logger.setLevel(min(one.level for one in self._handlers))
            logger.addHandler(handler)

    def remove(self, handler: logging.Handler) -> None:
        logger = logging.getLogger(SDK_LOGGER)
        with self._lock:
            logger.removeHandler(handler)
            self._handlers.remove(handler)
            if self._handlers:
                logger.setLevel(min(one.level for one in self._handlers))
            else:
                level, logger.propagate = self._before
                logger.setLevel(level)


_listeners = _Listeners()


@contextmanager
def open_sdk_warnings(emit: Emit, *, content: bool) -> Generator[None]:
    """Tell of the SDK's warnings and errors while the block lasts, where no file is written: in a worker.

    The other records, some fifty for each document, are not even made: they would cost more than all else it reports.
    """
    handler = _QueueHandler(emit, _full_text if content else _without_content, logging.WARNING)
    _listeners.add(handler)
    try:
        yield
    finally:
        _listeners.remove(handler)


def _full_text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return text


def _without_content(record: logging.LogRecord) -> str:
    """The SDK's own words, numbers and names; every longer text and every exception is replaced by what it is."""
    if not record.args or not isinstance(record.args, tuple):
        text = str(record.msg)
    elif record.msg in ("%s", "%s: %s") and isinstance(record.args[0], str):
        # How the SDK's log_model_action_error and its like pass a message of their own, then the exception.
        first = record.args[0] if len(record.args[0]) <= _LONGEST_MESSAGE else _shown(record.args[0])
        text = str(record.msg) % (first, *map(_shown, record.args[1:]))
    else:
        text = str(record.msg) % tuple(map(_shown, record.args))
    kind = record.exc_info[0] if record.exc_info else None
    return f"{text} ({kind.__name__})" if kind is not None else text


def _shown(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, type):
        return value.__qualname__
    if isinstance(value, str):
        return value if _NAME_LIKE.fullmatch(value) else f"<{len(value)} characters>"
    return f"<{type(value).__name__}>"
