"""Errors of no library, and of all of them, mean what they carry."""

from collections.abc import Mapping

import httpx2
import openai
import pytest
from pydantic import BaseModel, ValidationError

from agent_pipeline.batch.classification import classify
from agent_pipeline.errors import (
    AgentPipelineError,
    AttemptTimeoutError,
    ConnectionLostError,
    CredentialsRejectedError,
    ModelNotFoundError,
    ModelProtocolError,
    ProviderUnreachableError,
    QuotaExhaustedError,
    RateLimitedError,
    RequestRejectedError,
    ServerError,
)


class Carrying(Exception):  # noqa: N818 - its name must say nothing
    """Carries what it is given as attributes."""

    def __init__(self, message: str = "it said", **carried: object) -> None:
        super().__init__(message)
        for name, value in carried.items():
            setattr(self, name, value)


class Response:
    def __init__(self, status_code: int, headers: Mapping[str, str] | None = None) -> None:
        self.status_code = status_code
        self.headers = dict(headers or {})


def named(name: str, base: type[Exception] = Exception) -> Exception:
    """Return an error that says nothing but its name."""
    kind: type[Exception] = type(name, (base,), {})
    return kind("it said")


def ours(error: Exception) -> AgentPipelineError | None:
    return classify(error, 1, timeout=2.0)


def of_openai(status: int, kind: type[openai.APIStatusError], code: str, headers: Mapping[str, str] = {}) -> Exception:
    request = httpx2.Request("POST", "http://127.0.0.1/v1/responses")
    response = httpx2.Response(status, headers=dict(headers), request=request)
    return kind("it said", response=response, body={"code": code, "type": code, "message": "it said"})


class Answer(BaseModel):
    number: int


def invalid() -> Exception:
    with pytest.raises(ValidationError) as caught:
        Answer.model_validate({"number": "many"})
    return caught.value


CASES: list[tuple[Exception, type[AgentPipelineError] | None]] = [
    (Carrying(status_code=429), RateLimitedError),
    (Carrying(status=503), ServerError),
    (Carrying(http_status=401), CredentialsRejectedError),
    (Carrying(code=529), ServerError),
    (Carrying(response=Response(500)), ServerError),
    (Carrying(status_code=400), RequestRejectedError),
    (Carrying(status_code=402), QuotaExhaustedError),
    (Carrying(status_code=429, code="insufficient_quota"), QuotaExhaustedError),
    (Carrying(status_code=404, code="model_not_found"), ModelNotFoundError),
    (Carrying(status_code=True), None),
    (Carrying(status_code=200), None),
    (Carrying(code="overloaded_error"), ServerError),
    (Carrying(type="rate_limit_error"), RateLimitedError),
    (Carrying(status="RESOURCE_EXHAUSTED"), RateLimitedError),
    (Carrying(body={"error": {"type": "authentication_error"}}), CredentialsRejectedError),
    (named("RateLimitError"), RateLimitedError),
    (named("ServiceUnavailableError"), ServerError),
    (named("AuthenticationError"), CredentialsRejectedError),
    (named("ReadTimeout"), AttemptTimeoutError),
    (named("ConnectTimeout"), AttemptTimeoutError),
    (named("MyOwn", TimeoutError), AttemptTimeoutError),
    (named("UnexpectedModelBehavior"), ModelProtocolError),
    (ConnectionRefusedError("no"), ProviderUnreachableError),
    (ConnectionResetError("cut"), ConnectionLostError),
    (TimeoutError(), AttemptTimeoutError),
    (invalid(), ModelProtocolError),
    (ValueError("x"), None),
    (KeyError("x"), None),
    (OSError("disk"), None),
    (ExceptionGroup("g", [Carrying(status_code=500)]), ServerError),
    (ExceptionGroup("g", [Carrying(status_code=500), ValueError("x")]), None),
    (of_openai(429, openai.RateLimitError, "rate_limit_exceeded"), RateLimitedError),
    (of_openai(401, openai.AuthenticationError, "invalid_api_key"), CredentialsRejectedError),
    (of_openai(500, openai.InternalServerError, "server_error"), ServerError),
    (openai.APITimeoutError(httpx2.Request("GET", "http://127.0.0.1")), AttemptTimeoutError),
    (openai.APIConnectionError(request=httpx2.Request("GET", "http://127.0.0.1")), ConnectionLostError),
]


@pytest.mark.parametrize(("error", "kind"), CASES, ids=lambda case: getattr(case, "__name__", repr(case)[:40]))
async def test_an_error_is_what_it_carries(error: Exception, kind: type[AgentPipelineError] | None) -> None:
    """Status before codes, codes before names; what carries nothing is the code's own."""
    found = ours(error)

    assert type(found) is (type(None) if kind is None else kind)
    if found is not None:
        assert found.__cause__ is error
        assert str(found)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Carrying(status_code=429, headers={"Retry-After": "12"}), 12),
        (Carrying(response=Response(429, {"retry-after-ms": "250"})), 0.25),
        (Carrying(status_code=429, retry_after=7), 7),
        (Carrying(status_code=429, retry_after="nonsense"), None),
        (Carrying(status_code=429), None),
        (Carrying(status_code=429, headers={"Retry-After": "-3"}), None),
        (of_openai(429, openai.RateLimitError, "rate_limit_exceeded", {"retry-after": "5"}), 5),
    ],
)
async def test_the_pause_that_is_asked_for_is_read(error: Exception, seconds: float | None) -> None:
    found = ours(error)

    assert isinstance(found, RateLimitedError)
    assert found.retry_after == seconds


@pytest.mark.parametrize("inner", [Carrying(headers={"retry-after": "9"}), Carrying(retry_after=9)])
async def test_what_wraps_an_error_need_not_repeat_it(inner: Exception) -> None:
    """A library's own error tells the status, the one inside the pause."""
    outer = Carrying("the agent failed", status_code=429)
    outer.__cause__ = inner

    found = ours(outer)

    assert isinstance(found, RateLimitedError)
    assert found.retry_after == 9


async def test_the_words_of_a_foreign_error_are_kept() -> None:
    assert "it said" in str(ours(Carrying(status_code=500)))
    assert "RateLimitError: it said" in str(ours(named("RateLimitError")))


async def test_an_error_of_ours_is_itself() -> None:
    error = ServerError("broken", status_code=500)

    assert ours(error) is error
    assert ours(ExceptionGroup("g", [error])) is error
