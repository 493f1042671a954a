"""What goes over the wire, free of I/O: a request, and a reply as steps that some player performs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator.json_values import JsonObject, dumps

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""A request body longer than this is answered with 413."""

Headers = tuple[tuple[str, str], ...]
Ending = Literal["complete", "reset", "hang"]
"""How a reply ends: the message is whole; the connection is reset; nothing more ever comes."""


@dataclass(frozen=True, slots=True)
class SimulatorRequest:
    """One HTTP request, its body complete; header names in lower case, `path` may carry a query."""

    method: str
    path: str
    headers: Headers = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class BodyStep:
    """Bytes of a body, and the seconds to wait before they are sent."""

    data: bytes
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class SimulatorReply:
    """One HTTP reply as a player performs it: wait `delay`, send the head, then each step, then the ending.

    Attributes:
        status: HTTP status; None where nothing at all is sent before the ending.
        headers: names in lower case; without `content-length` the body is sent chunked.
        steps: the body; may be lazy, can be walked more than once.
        ending: `complete` ends the message and keeps the connection.
        delay: seconds before the head.
    """

    status: int | None
    headers: Headers = ()
    steps: Sequence[BodyStep] = ()
    ending: Ending = "complete"
    delay: float = 0.0

    @property
    def body(self) -> bytes:
        """All bytes of the body that are sent."""
        return b"".join(step.data for step in self.steps)

    def whole_at(self, start: float) -> float:
        """Return when a reply that begins at `start` is whole, if the client takes all as it comes; inf for a hang."""
        if self.ending == "hang":
            return math.inf
        at = start + self.delay
        for step in self.steps:
            at += step.delay  # one by one, as a player waits: the sum would round differently
        return at

    def header(self, name: str) -> str | None:
        """Return the first value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key == name), None)


class BadRequestError(Exception):
    """A request that the API refuses; becomes the error reply it describes."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code


def plain_reply(status: int, content_type: str, body: bytes, headers: Headers = ()) -> SimulatorReply:
    """Return a reply of known length, sent in one step."""
    head = (("content-type", content_type), ("content-length", str(len(body))), *headers)
    return SimulatorReply(status, head, (BodyStep(body),))


def json_reply(value: JsonValue, status: int = 200, headers: Headers = ()) -> SimulatorReply:
    """Return a JSON reply."""
    return plain_reply(status, "application/json", dumps(value).encode(), headers)


def stream_reply(events: Sequence[bytes], chunk_delay: float = 0.0) -> SimulatorReply:
    """Return server-sent events, one step each, `chunk_delay` seconds apart."""
    steps = tuple(BodyStep(event, chunk_delay if index else 0.0) for index, event in enumerate(events))
    head = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))
    return SimulatorReply(200, head, steps)


def server_sent_event(data: JsonValue, name: str | None = None) -> bytes:
    """Encode one server-sent event."""
    prefix = f"event: {name}\n" if name else ""
    return f"{prefix}data: {dumps(data)}\n\n".encode()


_ERROR_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    408: "timeout_error",
    429: "rate_limit_error",
}


def error_reply(error: BadRequestError, headers: Headers = ()) -> SimulatorReply:
    """Return an error as the OpenAI API words it."""
    by_class = "server_error" if error.status >= 500 else "invalid_request_error"
    kind = error.code if error.code == "insufficient_quota" else _ERROR_TYPES.get(error.status, by_class)
    detail: JsonObject = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    return json_reply({"error": detail}, error.status, headers)
