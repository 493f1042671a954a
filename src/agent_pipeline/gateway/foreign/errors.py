"""The one table from errors of somebody else's client to errors of ours, by what they carry, not whose they are."""

import re
from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import ValidationError

from agent_pipeline.control.deadline import time_left
from agent_pipeline.errors import (
    AgentPipelineError,
    AttemptTimeoutError,
    ConnectionLostError,
    ModelProtocolError,
    ProviderError,
    ProviderUnreachableError,
    RequestRejectedError,
)
from agent_pipeline.gateway.failures import (
    causes_of,
    failure_of,
    read_retry_after,
    reason_of,
    status_in,
    trouble_here,
)
from agent_pipeline.gateway.foreign.facts import ErrorFacts, read_facts

_STATUS_OF_CODE: Mapping[str, int] = {
    **dict.fromkeys(("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error"), 402),
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "rate_limited", "too_many_requests"), 429),
    **dict.fromkeys(("resource_exhausted", "throttlingexception", "toomanyrequestsexception"), 429),
    **dict.fromkeys(("authentication_error", "invalid_api_key", "unauthenticated"), 401),
    **dict.fromkeys(("permission_denied", "permission_error", "accessdeniedexception"), 403),
    **dict.fromkeys(("model_not_found", "not_found_error", "not_found"), 404),
    "request_too_large": 413,
    **dict.fromkeys(("invalid_request_error", "invalid_argument", "failed_precondition", "validationexception"), 400),
    **dict.fromkeys(("context_length_exceeded", "content_filter"), 400),
    **dict.fromkeys(("timeout_error", "deadline_exceeded", "modeltimeoutexception"), 504),
    **dict.fromkeys(("overloaded_error", "unavailable", "serviceunavailableexception", "modelnotreadyexception"), 503),
    **dict.fromkeys(("api_error", "server_error", "internal", "internalserverexception"), 500),
}
"""What a code amounts to where no status says it, as inside a stream; the first that is there counts."""

_NO_CREDIT = re.compile(r"credit balance is too low", re.IGNORECASE)
_THE_MODEL = re.compile(r"\bmodels?\b", re.IGNORECASE)

Kind = Literal["unreachable", "connect", "read", "lost", "not_http", "bad_answer"]

_KIND_OF_CLASS: tuple[tuple[Kind, frozenset[str]], ...] = (
    ("connect", frozenset({"ConnectTimeout", "ConnectTimeoutError", "ConnectionTimeoutError"})),
    ("not_http", frozenset({"UnsupportedProtocol", "LocalProtocolError", "InvalidURL"})),
    (
        "unreachable",
        frozenset({"ConnectError", "ClientConnectorError", "EndpointConnectionError", "NewConnectionError"})
        | {"ConnectionRefusedError", "gaierror", "ServiceRequestError"},
    ),
    (
        "read",
        frozenset({"TimeoutException", "TimeoutError", "Timeout", "APITimeoutError", "ReadTimeout", "ReadTimeoutError"})
        | {"ServerTimeoutError", "InferenceTimeoutError", "ServiceResponseTimeoutError"},
    ),
    (
        "bad_answer",
        frozenset({"JSONDecodeError", "ValidationError", "APIResponseValidationError", "ResponseValidationError"})
        | {"UnicodeDecodeError", "DecodingError", "UnexpectedModelBehavior", "ModelBehaviorError"},
    ),
    (
        "lost",
        frozenset({"TransportError", "NetworkError", "ConnectionError", "APIConnectionError", "ClientConnectionError"})
        | {"ClientPayloadError", "ConnectionClosed", "ConnectionClosedError", "ServiceResponseError", "ProtocolError"}
        | {"IncompleteRead", "SSLError", "BrokenResourceError"},
    ),
)
"""What classes of HTTP libraries stand for; of an error and its causes, the first line that fits counts."""


def classify(
    error: Exception,
    *,
    attempt: int,
    place: str,
    elapsed: float,
    timeouts: Mapping[str, float | None] | None = None,
    hide: Callable[[str], str] = str,
) -> AgentPipelineError | None:
    """Return the error of ours that a foreign one stands for; None where it is no provider's.

    Args:
        error: what a client raised; one of ours is returned as it is.
        attempt: its number.
        place: who was asked, for the message.
        elapsed: seconds the attempt had taken.
        timeouts: of the client, in seconds, by `connect` and `read`; what is not there is told as `elapsed`.
        hide: takes secrets out of what the other side said.
    """
    if isinstance(error, AgentPipelineError):
        return error
    facts = read_facts(error)
    said = hide(facts.message)
    status = facts.status if facts.status is not None else _status_of(facts)
    if status is not None:
        return _refused(status, facts, said)
    causes = causes_of(error)
    reason = reason_of(causes, hide)
    trouble = trouble_here(causes, reason, place)
    if trouble is not None:
        return trouble
    kind = next((kind for kind, classes in _KIND_OF_CLASS if classes & facts.classes), None)
    if kind in ("connect", "read"):
        timeout = (timeouts or {}).get(kind) or elapsed
        return AttemptTimeoutError(attempt=attempt, rung=kind, timeout=timeout, left=time_left())
    return _broken(kind, place, reason=reason, said=said)


def _status_of(facts: ErrorFacts) -> int | None:
    known = (status for code, status in _STATUS_OF_CODE.items() if code in facts.codes)
    return next(known, None) or status_in(facts.codes)


def _refused(status: int, facts: ErrorFacts, said: str) -> ProviderError:
    answered = 200 if facts.status is None else facts.status
    words = said.removesuffix(".")
    if facts.status is None:
        told = f"the provider reports an error: {words}"
    else:
        told = f"the provider answered {status}: {words}"
    if status < 400:
        return RequestRejectedError(f"{told}, a redirect, which is not followed", status_code=status)
    codes = facts.codes
    if status == 400 and _NO_CREDIT.search(said):
        status = 402
    if status == 404 and _THE_MODEL.search(said):
        codes |= {"model_not_found"}
    return failure_of(status, codes, told, retry_after=read_retry_after(facts.headers), answered=answered)


def _broken(kind: Kind | None, place: str, *, reason: str, said: str) -> ProviderError | None:
    match kind:
        case "unreachable":
            return ProviderUnreachableError(f"no connection to {place}: {reason}")
        case "lost":
            return ConnectionLostError(f"the connection to {place} broke: {reason}")
        case "not_http":
            # What it says may repeat a header, and so the key.
            return RequestRejectedError(
                f"the request to {place} is not HTTP: check its address and the key's characters"
            )
        case "bad_answer":
            return ModelProtocolError(f"the answer of {place} can't be read: {said}")
        case _:
            return None


# --- what any-llm refuses by itself ------------------------------------------------------------------------------

_WRONG_CALL = re.compile(r"unexpected keyword argument|multiple values for|required (positional|keyword-only) argument")


def refusal_of(error: Exception) -> str | None:
    """Return why any-llm, or the client below it, did not send a request; None where it may have sent it."""
    original: object = getattr(error, "original_exception", None)
    said = str(error) if original is None else str(original)
    if hasattr(error, "parameter_name"):  # says that a param is not supported
        return said
    leaf = error if original is None else original
    if isinstance(leaf, NotImplementedError) or type(leaf) is ValueError:
        return said
    if isinstance(leaf, TypeError) and _WRONG_CALL.search(said):
        return said
    if isinstance(leaf, ValidationError) and leaf.title.endswith("Params"):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in leaf.errors(include_input=False))
    return None


def is_unreadable(error: Exception) -> bool:
    """Tell whether any-llm fell over an answer, or says itself that there is nothing in it."""
    original: object = getattr(error, "original_exception", None)
    is_any_llms = original is None and hasattr(error, "original_exception")
    return is_any_llms or isinstance(original, TypeError | AttributeError | LookupError)
