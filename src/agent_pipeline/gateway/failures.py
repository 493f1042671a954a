"""The one table from what httpx2 raises and what providers answer to errors of ours."""

import email.utils
import errno
import json
import math
import re
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

import httpx2

from agent_pipeline.control.deadline import time_left
from agent_pipeline.errors import (
    AgentPipelineError,
    AttemptTimeoutError,
    CertificateError,
    ConnectionLostError,
    CredentialsRejectedError,
    LocalResourceError,
    ModelNotFoundError,
    ProviderError,
    ProviderUnreachableError,
    QuotaExhaustedError,
    RateLimitedError,
    RequestRejectedError,
    ServerError,
    Unsuited,
)

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds; whoever asks for a longer pause is taken to mean a day."""

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_TOO_LONG_CODES = frozenset({"context_length_exceeded"})
_TOO_LONG = re.compile(
    r"(maximum|exceeds?|too long|larger).{0,40}context (length|window|size)|context (length|window|size).{0,40}exceed"
    r"|prompt is too long|token count.{0,40}exceeds the maximum number of tokens",
    re.IGNORECASE,
)
"""What servers say that know no code for it."""
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation"})
_REQUEST_CODES = frozenset({"invalid_request_error", "invalid_prompt"}) | _TOO_LONG_CODES | _FILTER_CODES
_VERSION = re.compile(r"/v\d")
_SNIPPET = 300


def quoted(text: object) -> str:
    """Return somebody else's words fit for a message: no control characters, not too long."""
    shown = str(text)[:_SNIPPET]
    return "".join(char if char.isprintable() else " " for char in shown).strip()


# --- the way there and back --------------------------------------------------------------------------------------

_BROKEN: tuple[tuple[tuple[type[Exception], ...], type[ProviderError], str], ...] = (
    ((httpx2.ConnectError, UnicodeError), ProviderUnreachableError, "no connection to {}"),
    ((httpx2.TransportError, ssl.SSLError, OSError), ConnectionLostError, "the connection to {} broke"),
)


def from_transport(
    exc: Exception, *, number: int, timeouts: Mapping[str, float | None], place: str, hide: Callable[[str], str] = str
) -> Exception:
    """Return the error of ours for what a transport raised, or `exc` itself where it is a bug of ours.

    Args:
        exc: what was raised.
        number: of the attempt.
        timeouts: seconds by httpx2's names, `connect` and `read`.
        place: `host:port`, for the message.
        hide: takes the key out of what the other side said.
    """
    causes = causes_of(exc)
    reason = reason_of(causes, hide)
    trouble = trouble_here(causes, reason, place)
    if trouble is not None:
        return trouble
    if isinstance(exc, httpx2.TimeoutException):
        rung: Literal["connect", "read"] = "connect" if isinstance(exc, httpx2.ConnectTimeout) else "read"
        return AttemptTimeoutError(attempt=number, rung=rung, timeout=timeouts.get(rung) or 0.0, left=time_left())
    if isinstance(exc, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        # What it says may repeat a header, and so the key.
        return RequestRejectedError(f"the request to {place} is not HTTP: check base_url and the key's characters")
    for kinds, error, words in _BROKEN:
        if isinstance(exc, kinds):
            return error(f"{words.format(place)}: {reason}")
    return exc


def trouble_here(causes: list[BaseException], reason: str, place: str) -> LocalResourceError | CertificateError | None:
    """Return the error where this machine is in the way, by what it has or whom it trusts; None where it is not."""
    if any(isinstance(one, OSError) and one.errno in _OUT_OF_RESOURCES for one in causes):
        return LocalResourceError(f"this machine is out of file descriptors or memory: {reason}")
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in causes):
        return CertificateError(f"the certificate of {place} is not trusted: {reason}")
    return None


def causes_of(exc: BaseException) -> list[BaseException]:
    """Return the exception, what caused it and what those groups hold, each once."""
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


def reason_of(causes: list[BaseException], hide: Callable[[str], str]) -> str:
    """Return what the operating system or OpenSSL said, else the first words there are."""
    said = [one.strerror for one in causes if isinstance(one, OSError) and one.strerror]
    if said:
        return "; ".join(dict.fromkeys(said))
    return next((quoted(hide(str(one))) for one in causes if str(one)), type(causes[0]).__name__)


# --- what the provider says --------------------------------------------------------------------------------------


def from_status(status: int, headers: Mapping[str, str], body: bytes, *, url: str = "") -> AgentPipelineError | None:
    """Return the error an answer's status stands for, None for success.

    Args:
        status: what was answered.
        headers: of the answer.
        body: likewise.
        url: that was asked for an answer of a model; where there is no such thing, the message names it.
    """
    if 200 <= status < 300:
        return None
    message, codes = _read_error(body)
    # Without its full stop, since words of ours follow.
    said = f"the provider answered {status}" + (f": {message.removesuffix('.')}" if message else "")
    if status < 400:
        said = f"{said}, a redirect, which is not followed; check base_url"
        return RequestRejectedError(said, status_code=status)
    if status == 404 and url and "model_not_found" not in codes:
        said = f"{said}; {url} was asked" + ("" if _VERSION.search(url) else ": does base_url lack /v1?")
    return failure_of(status, codes, said, retry_after=read_retry_after(headers), answered=status)


def from_report(error: object) -> AgentPipelineError:
    """Return the error for a failure that a provider reports inside an answer with status 200.

    Its `code` may be a name, or what the status would have been.
    """
    message, codes = describe(error)
    status = status_in(codes)
    if status is None:
        status = 400 if codes & _REQUEST_CODES else 500
    said = f"the provider reports an error inside its answer: {message or 'it does not say which'}"
    return failure_of(status, codes, said, retry_after=None, answered=200)


def status_in(codes: frozenset[str]) -> int | None:
    """Return what the status would have been, where a code beside a failure says so."""
    return next((int(code) for code in codes if len(code) == 3 and code.isdecimal() and 400 <= int(code) < 600), None)


def failure_of(
    status: int, codes: frozenset[str], said: str, *, retry_after: float | None, answered: int
) -> ProviderError:
    """Return the error that a status and the codes beside it stand for.

    Args:
        status: what the failure amounts to, 400 or more.
        codes: the provider's own words for it.
        said: for the message.
        retry_after: seconds the provider asks for.
        answered: the status that was really answered.
    """
    if status == 402 or codes & _QUOTA_CODES:
        return QuotaExhaustedError(f"{said}; add credit or raise the account's limit", status_code=answered)
    if status == 429 or "rate_limit_exceeded" in codes:
        return RateLimitedError(said, retry_after=retry_after)
    if status in {408, 409, 425} or status >= 500:
        return ServerError(said, status_code=answered, retry_after=retry_after)
    if "model_not_found" in codes:
        return ModelNotFoundError(f"{said}; check the role's model", status_code=answered)
    if status in {401, 403}:
        return CredentialsRejectedError(f"{said}; check the provider's key", status_code=answered)
    return RequestRejectedError(said, status_code=answered, unsuited=_unsuited(codes, said))


def _unsuited(codes: frozenset[str], said: str) -> Unsuited | None:
    """Return why another model might take a request that this one rejects."""
    if codes & _FILTER_CODES:
        return "refused"
    return "context_length" if codes & _TOO_LONG_CODES or _TOO_LONG.search(said) else None


def _read_error(body: bytes) -> tuple[str, frozenset[str]]:
    """Return message and codes of an OpenAI-style error body, or a snippet of whatever it is."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return quoted(body[: 4 * _SNIPPET].decode("utf-8", "replace")), frozenset()
    return describe(value.get("error") or value if isinstance(value, dict) else value)


def describe(error: object) -> tuple[str, frozenset[str]]:
    """Return the message and the codes of what a provider says about a failure."""
    if not isinstance(error, Mapping):
        return quoted(error), frozenset()
    codes = frozenset(str(value) for name in ("code", "type") if isinstance(value := error.get(name), str | int))
    message = error.get("message")
    return quoted(error if message is None else message), codes


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


def _until(text: str, answered: str | None) -> float:
    end, begin = _date(text), _date(answered or "") or datetime.now(UTC)
    return math.nan if end is None else max(0.0, (end - begin).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
