"""The one table from what httpx2 raises and what providers answer to errors of ours."""

import email.utils
import errno
import json
import math
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime

import httpx2

from agent_pipeline.errors import (
    AgentPipelineError,
    AttemptTimeoutError,
    CertificateError,
    ConnectionLostError,
    CredentialsRejectedError,
    LocalResourceError,
    ModelNotFoundError,
    ModelProtocolError,
    ProviderUnreachableError,
    QuotaExhaustedError,
    RateLimitedError,
    RequestRejectedError,
    ServerError,
)

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds; whoever asks for a longer pause is taken to mean a day."""

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_SNIPPET = 300


def _causes(exc: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    todo: list[BaseException | None] = [exc]
    while todo:
        one = todo.pop()
        if one is None or one in chain:
            continue
        chain.append(one)
        todo += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions
    return chain


def from_transport(exc: Exception, *, number: int, timeouts: Mapping[str, float | None], place: str) -> Exception:
    """Return the error of ours for what a transport raised, or `exc` itself where it is a bug of ours.

    Args:
        exc: what was raised.
        number: of the attempt.
        timeouts: seconds by httpx2's names, `connect` and `read`.
        place: `host:port`, for the message.
    """
    causes = _causes(exc)
    if any(isinstance(one, OSError) and one.errno in _OUT_OF_RESOURCES for one in causes):
        return LocalResourceError(f"this machine is out of file descriptors or memory: {exc}")
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in causes):
        return CertificateError(f"the certificate of {place} is not trusted: {exc}")
    if isinstance(exc, httpx2.ConnectTimeout):
        return AttemptTimeoutError(attempt=number, rung="connect", timeout=timeouts.get("connect") or 0.0)
    if isinstance(exc, httpx2.TimeoutException):
        return AttemptTimeoutError(attempt=number, rung="read", timeout=timeouts.get("read") or 0.0)
    if isinstance(exc, httpx2.ConnectError):
        return ProviderUnreachableError(f"no connection to {place}: {exc}")
    if isinstance(exc, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return RequestRejectedError(f"the request to {place} can't be sent: {exc}")
    if isinstance(exc, httpx2.TransportError | ssl.SSLError | OSError):
        return ConnectionLostError(f"the connection to {place} broke: {exc or type(exc).__name__}")
    return exc


def from_status(status: int, headers: Mapping[str, str], body: bytes) -> AgentPipelineError | None:
    """Return the error an answer's status stands for, None for success."""
    if 200 <= status < 300:  # noqa: PLR2004  (HTTP's success range)
        return None
    message, code = _read_error(body)
    said = f"the provider answered {status}" + (f": {message}" if message else "")
    retry_after = read_retry_after(headers)
    if status == 402 or code in _QUOTA_CODES:  # noqa: PLR2004
        return QuotaExhaustedError(f"{said}; add credit or raise the account's limit", status_code=status)
    if status == 429:  # noqa: PLR2004
        return RateLimitedError(said, retry_after=retry_after)
    if status in {401, 403}:
        return CredentialsRejectedError(f"{said}; check the provider's key", status_code=status)
    if status == 404 and code == "model_not_found":  # noqa: PLR2004
        return ModelNotFoundError(f"{said}; check the role's model", status_code=status)
    if status in {408, 409, 425} or status >= 500:  # noqa: PLR2004
        return ServerError(said, status_code=status, retry_after=retry_after)
    if status < 400:  # noqa: PLR2004
        return ModelProtocolError(f"{said}, a redirect, which is not followed; check base_url", status_code=status)
    return RequestRejectedError(said, status_code=status)


def _read_error(body: bytes) -> tuple[str, str | None]:
    """Return message and code of an OpenAI-style error body, or a snippet of whatever it is."""
    try:
        error = json.loads(body)["error"]
        code = error.get("code") or error.get("type")
        return str(error["message"])[:_SNIPPET], None if code is None else str(code)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return body[:_SNIPPET].decode("utf-8", "replace").strip(), None


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the pause a provider asks for in seconds, None where it says nothing usable.

    Understands `retry-after-ms`, and `retry-after` as seconds or an HTTP date (against the answer's own `date` where
    there is one, so a wrong clock here does no harm). Negative and non-finite values count as unsaid.
    """
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            seconds = float(text) / scale
        except ValueError:
            seconds = _until(text, headers.get("date"))
        if math.isfinite(seconds) and seconds >= 0:
            return min(seconds, LONGEST_RETRY_AFTER)
    return None


def _until(date: str, answered: str | None) -> float:
    try:
        end = email.utils.parsedate_to_datetime(date)
        begin = datetime.now(UTC) if answered is None else email.utils.parsedate_to_datetime(answered)
        return max(0.0, (end - begin).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return math.nan
