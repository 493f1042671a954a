"""How an exchange went wrong, kept in words, and raised again as what it was."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx2
import trio

from agent_pipeline.control.call import Attempt
from agent_pipeline.control.deadline import time_left
from agent_pipeline.errors import AnswerTooLargeError, AttemptTimeoutError, ModelProtocolError
from agent_pipeline.gateway.failures import causes_of, reason_of, trouble_here
from agent_pipeline.telemetry import SecretValues

_OF_CONNECTIONS: Mapping[str, type[httpx2.TransportError]] = {
    kind.__name__: kind
    for kind in (
        httpx2.ConnectError,
        httpx2.ConnectTimeout,
        httpx2.ReadError,
        httpx2.ReadTimeout,
        httpx2.WriteError,
        httpx2.WriteTimeout,
        httpx2.CloseError,
        httpx2.RemoteProtocolError,
    )
}
_OF_ANSWERS: Mapping[str, type[ModelProtocolError | AnswerTooLargeError]] = {
    kind.__name__: kind for kind in (ModelProtocolError, AnswerTooLargeError)
}
_TIMEOUT = AttemptTimeoutError.__name__
_KEPT_AS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    *(((kind,), name) for name, kind in _OF_CONNECTIONS.items()),
    ((UnicodeError,), httpx2.ConnectError.__name__),  # of a host that no resolver takes
    ((OSError,), httpx2.ReadError.__name__),  # of TLS, which httpx2 lets through
)
KINDS = frozenset({*_OF_CONNECTIONS, *_OF_ANSWERS, _TIMEOUT})


@dataclass(frozen=True, slots=True)
class Break:
    """How an exchange went wrong.

    Attributes:
        kind: one of `KINDS`.
        message: what was said of it.
        timeout: seconds of the attempt, where it was that.
    """

    kind: str
    message: str = ""
    timeout: float | None = None


def break_of(exc: BaseException, attempt: Attempt, secrets: SecretValues) -> Break | None:
    """Return what is kept of an exception that ended an exchange.

    None where it tells of this machine or this run, and so would not come again with the same answer: no descriptors,
    a certificate that is not trusted, a stop, a timeout above the attempt's.
    """
    if isinstance(exc, trio.Cancelled):
        if attempt.timeout is None or trio.current_time() < attempt.deadline:
            return None
        return Break(_TIMEOUT, timeout=attempt.timeout)
    causes = causes_of(exc)
    reason = reason_of(causes, secrets.text)
    if trouble_here(causes, reason, "") is not None:
        return None
    name = type(exc).__name__
    if name in _OF_ANSWERS:
        return Break(name, secrets.text(str(exc)))
    return next((Break(kept, reason) for kinds, kept in _KEPT_AS if isinstance(exc, kinds)), None)


def as_raised(broken: Break, attempt: Attempt) -> Exception:
    """Return the exception that ends an exchange as it once ended."""
    if broken.kind == _TIMEOUT:
        return AttemptTimeoutError(
            attempt=attempt.number, rung="attempt", timeout=broken.timeout or 0.0, left=time_left()
        )
    if broken.kind in _OF_ANSWERS:
        return _OF_ANSWERS[broken.kind](broken.message)
    return _OF_CONNECTIONS[broken.kind](broken.message)
