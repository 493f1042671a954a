"""What a foreign error means, told from what it carries (status, headers, codes), not from the library it is of."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from agent_pipeline.errors import (
    AgentPipelineError,
    AttemptTimeoutError,
    ConnectionLostError,
    ModelProtocolError,
    ProviderError,
    ProviderUnreachableError,
)
from agent_pipeline.gateway.failures import failure_of, quoted, read_retry_after

_STATUS_OF_CODE: Mapping[str, int] = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "rate_limited": 429,
    "too_many_requests": 429,
    "resource_exhausted": 429,
    "throttlingexception": 429,
    "insufficient_quota": 402,
    "billing_hard_limit_reached": 402,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "unauthenticated": 401,
    "permission_denied": 403,
    "permission_error": 403,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "model_not_found": 404,
    "overloaded_error": 503,
    "unavailable": 503,
    "api_error": 500,
    "internal": 500,
    "server_error": 500,
    "deadline_exceeded": 504,
}
"""What words of providers amount to, in lower case: OpenAI's, Anthropic's, Google's, Amazon's."""

_STATUS_OF_NAME: tuple[tuple[str, int], ...] = (
    ("ratelimit", 429),
    ("toomanyrequests", 429),
    ("resourceexhausted", 429),
    ("throttl", 429),
    ("quota", 402),
    ("authenticationerror", 401),
    ("unauthorized", 401),
    ("unauthenticated", 401),
    ("permissiondenied", 403),
    ("badrequest", 400),
    ("invalidargument", 400),
    ("overloaded", 503),
    ("serviceunavailable", 503),
    ("internalserver", 500),
    ("servererror", 500),
)
"""Parts of names of exception classes, the last resort, where an error carries nothing else."""

_UNREACHABLE_NAMES = ("connecterror", "connecttimeout", "connectionrefused", "gaierror", "clientconnector")
_LOST_NAMES = ("connectionerror", "connectionreset", "readerror", "writeerror", "remoteprotocol", "brokenresource")
_TIMEOUT_NAMES = ("timeout", "tooslow", "deadlineexceeded")
_BAD_ANSWER_NAMES = (
    "validationerror",
    "jsondecodeerror",
    "unexpectedmodelbehavior",
    "modelbehaviorerror",
    "outputparser",
    "emptyresponse",
)
_MOST_CAUSES = 8


@dataclass(frozen=True, slots=True)
class _Facts:
    """What an error carries, itself or in what caused it; the outermost that knows counts.

    Attributes:
        codes: the provider's words, as they are.
        names: of the classes of the error itself, in lower case, the most special first.
    """

    status: int | None
    codes: frozenset[str]
    headers: Mapping[str, str]
    retry_after: float | None
    names: tuple[str, ...]


def classify(error: Exception, attempt: int, *, timeout: float) -> AgentPipelineError | None:
    """Return the error of ours that a foreign one stands for; None where it is no provider's, but the code's own.

    Args:
        error: what an item's code raised; one of ours is returned as it is.
        attempt: its number.
        timeout: seconds after which it came, if it is a timeout.
    """
    leaf = _leaf(error)
    if isinstance(leaf, AgentPipelineError):
        return leaf
    facts = _read(leaf)
    said = f"{type(leaf).__name__}: {quoted(leaf)}".removesuffix(": ").removesuffix(".")
    ours = _by_status(facts, said) or _by_name(facts, said, attempt, timeout)
    if ours is not None:
        ours.__cause__ = error
    return ours


def _leaf(error: BaseException) -> BaseException:
    """Return the one error in groups that hold one; where they hold several, none speaks for all."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _by_status(facts: _Facts, said: str) -> ProviderError | None:
    status = facts.status
    if status is None:
        known = [_STATUS_OF_CODE[code.lower()] for code in facts.codes if code.lower() in _STATUS_OF_CODE]
        status = min(known, default=None)
    if status is None:
        status = next((status for part, status in _STATUS_OF_NAME if _is_named(facts, (part,))), None)
    if status is None:
        return None
    return failure_of(status, facts.codes, said, retry_after=facts.retry_after, answered=status)


def _by_name(facts: _Facts, said: str, attempt: int, timeout: float) -> ProviderError | None:
    makers: tuple[tuple[tuple[str, ...], Callable[[], ProviderError]], ...] = (
        (_UNREACHABLE_NAMES, lambda: ProviderUnreachableError(said)),
        (_TIMEOUT_NAMES, lambda: _timed_out(said, attempt, timeout)),
        (_LOST_NAMES, lambda: ConnectionLostError(said)),
        (_BAD_ANSWER_NAMES, lambda: ModelProtocolError(said)),
    )
    return next((make() for parts, make in makers if _is_named(facts, parts)), None)


def _timed_out(said: str, attempt: int, timeout: float) -> AttemptTimeoutError:
    error = AttemptTimeoutError(attempt=attempt, rung="attempt", timeout=timeout)
    error.args = (said,)  # the library's own words; how long it waited is its own affair
    return error


def _is_named(facts: _Facts, parts: tuple[str, ...]) -> bool:
    return any(part in name for name in facts.names for part in parts)


# --- what an error carries ---------------------------------------------------------------------------------------


def _read(error: BaseException) -> _Facts:
    causes = list(_causes(error))
    status = next((found for one in causes if (found := _status(one)) is not None), None)
    codes = frozenset(code for one in causes for code in _codes(one))
    headers: Mapping[str, str] = next((some for one in causes if (some := _headers(one))), {})
    asked = next((pause for one in causes if (pause := _asked(one)) is not None), None)
    names = tuple(
        kind.__name__.lower() for kind in type(error).__mro__ if kind not in {Exception, BaseException, object}
    )
    return _Facts(status, codes, headers, read_retry_after(headers) if asked is None else asked, names)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it was raised from; what merely happened before it says nothing of it."""
    one: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if one is None:
            return
        yield one
        one = one.__cause__


def _status(error: BaseException) -> int | None:
    for owner in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "http_status", "code"):
            value = getattr(owner, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
                return int(value)
    return None


def _codes(error: BaseException) -> Iterator[str]:
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, Mapping) else None
    for owner in (error, inner):
        for name in ("code", "type", "status"):
            value = owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)
            if isinstance(value, str):
                yield value


def _headers(error: BaseException) -> Mapping[str, str]:
    for owner in (getattr(error, "response", None), error):
        headers = getattr(owner, "headers", None)
        if headers is not None and hasattr(headers, "items"):
            return {str(name).lower(): str(value) for name, value in headers.items()}
    return {}


def _asked(error: BaseException) -> float | None:
    """Return the pause that an error names itself, in seconds."""
    value = getattr(error, "retry_after", None)
    if value is None or isinstance(value, bool):
        return None
    return read_retry_after({"retry-after": str(value)})
