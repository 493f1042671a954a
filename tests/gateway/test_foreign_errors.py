"""Errors of clients nobody here imports, told by what they carry; in the shapes their libraries give them."""

import enum
import errno
import json
import ssl
from collections.abc import Mapping

import httpx
import pytest

from agent_pipeline.errors import (
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
from agent_pipeline.gateway.foreign.errors import classify


async def _classified(error: Exception) -> Exception | None:
    return classify(error, attempt=1, place="the provider p", elapsed=2.5, timeouts={"connect": 5.0})


class GoogleError(Exception):
    """As google-genai has it: the status under `code`, the word under `status`, the body under `details`."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(f"{code} {status}. {message}")
        self.code = code
        self.status = status
        self.details = {"error": {"code": code, "message": message, "status": status}}
        self.response = httpx.Response(code, headers={"retry-after": "7"})


class BotocoreError(Exception):
    """As botocore has it: a mapping under `response`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"An error occurred ({code}): {message}")
        self.response = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "3"}},
        }


class GrpcCode(enum.Enum):
    """Some of grpc's codes."""

    UNAVAILABLE = 14
    RESOURCE_EXHAUSTED = 8
    UNAUTHENTICATED = 16


class GrpcError(Exception):
    """As grpc.aio has it: methods."""

    def __init__(self, code: GrpcCode, details: str) -> None:
        super().__init__("<AioRpcError of RPC>")
        self._code, self._details = code, details

    def code(self) -> GrpcCode:
        return self._code

    def details(self) -> str:
        return self._details


class BodyError(Exception):
    """As mistralai and cohere have it: status, headers and body on the error itself."""

    def __init__(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"API error occurred: Status {status}")
        self.status_code = status
        self.body = body
        self.headers = headers or {}


class ResponseError(Exception):
    """As azure, huggingface and legacy httpx have it: a response."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.response = httpx.Response(status)


class StreamError(Exception):
    """As OpenAI's client has an error inside a stream: no response, and a number under `code`."""

    def __init__(self, code: object, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.body = {"message": message, "code": code}


@pytest.mark.parametrize(
    ("error", "wanted", "words"),
    [
        (GoogleError(429, "RESOURCE_EXHAUSTED", "Quota."), RateLimitedError, "answered 429: Quota"),
        (GoogleError(403, "PERMISSION_DENIED", "No."), CredentialsRejectedError, "answered 403: No"),
        (GoogleError(404, "NOT_FOUND", "models/x is not found"), ModelNotFoundError, "models/x"),
        (GoogleError(503, "UNAVAILABLE", "Overloaded."), ServerError, "answered 503: Overloaded"),
        (BotocoreError(429, "ThrottlingException", "Slow down."), RateLimitedError, "answered 429: Slow down"),
        (BotocoreError(403, "AccessDeniedException", "No."), CredentialsRejectedError, "answered 403"),
        (BotocoreError(400, "ValidationException", "Wrong."), RequestRejectedError, "answered 400: Wrong"),
        (GrpcError(GrpcCode.RESOURCE_EXHAUSTED, "Slow."), RateLimitedError, "reports an error: Slow"),
        (GrpcError(GrpcCode.UNAVAILABLE, "Down."), ServerError, "reports an error: Down"),
        (GrpcError(GrpcCode.UNAUTHENTICATED, "Who?"), CredentialsRejectedError, "reports an error: Who?"),
        (BodyError(422, json.dumps({"message": "wrong"})), RequestRejectedError, "answered 422: wrong"),
        (BodyError(402, {"message": "pay"}), QuotaExhaustedError, "answered 402: pay"),
        (BodyError(500, "not json"), ServerError, "answered 500: not json"),
        (ResponseError(401, "no"), CredentialsRejectedError, "answered 401: no"),
        (StreamError(502, "upstream"), ServerError, "reports an error: upstream"),
        (StreamError("rate_limit_exceeded", "slow"), RateLimitedError, "reports an error: slow"),
        (StreamError("insufficient_quota", "pay"), QuotaExhaustedError, "reports an error: pay"),
    ],
    ids=lambda value: repr(value)[:50] if isinstance(value, Exception) else "",
)
async def test_error_is_told_by_what_it_carries(error: Exception, wanted: type[Exception], words: str) -> None:
    """Each library has a place of its own for the same thing."""
    ours = await _classified(error)

    assert type(ours) is wanted
    assert words in str(ours)


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (GoogleError(429, "RESOURCE_EXHAUSTED", "Quota."), 7.0),
        (BotocoreError(429, "ThrottlingException", "Slow down."), 3.0),
        (BodyError(429, {}, {"Retry-After": "4"}), 4.0),
        (BodyError(429, {}, {"retry-after-ms": "1500"}), 1.5),
        (BodyError(429, {}), None),
    ],
)
async def test_pause_is_found_in_any_headers(error: Exception, pause: float | None) -> None:
    """Without it the lane would be back too soon."""
    ours = await _classified(error)

    assert isinstance(ours, RateLimitedError)
    assert ours.retry_after == pause


async def test_error_inside_a_stream_was_answered_with_200() -> None:
    """So it is charged: the model may have worked."""
    ours = await _classified(StreamError(502, "upstream"))

    assert isinstance(ours, ServerError)
    assert ours.status_code == 200


def _caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


class APIConnectionError(Exception):
    """As Stainless has it: whatever went wrong is the cause."""


class APITimeoutError(APIConnectionError):
    """Likewise."""


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (_caused(APIConnectionError(), httpx.ConnectError("refused")), ProviderUnreachableError),
        (_caused(APIConnectionError(), httpx.ReadError("reset")), ConnectionLostError),
        (_caused(APIConnectionError(), httpx.RemoteProtocolError("gone")), ConnectionLostError),
        (_caused(APIConnectionError(), httpx.LocalProtocolError("header x-api-key: secret")), RequestRejectedError),
        (APIConnectionError(), ConnectionLostError),
        (_caused(APITimeoutError(), httpx.ReadTimeout("")), AttemptTimeoutError),
        (TimeoutError(), AttemptTimeoutError),
        (ConnectionResetError(), ConnectionLostError),
        (ConnectionRefusedError(), ProviderUnreachableError),
        (json.JSONDecodeError("no", "{", 1), ModelProtocolError),
        (_caused(APIConnectionError(), OSError(errno.EMFILE, "Too many open files")), LocalResourceError),
        (
            _caused(
                APIConnectionError(), _caused(httpx.ConnectError("x"), ssl.SSLCertVerificationError("self-signed"))
            ),
            CertificateError,
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception) else "",
)
async def test_broken_way_is_told_by_the_classes_of_http_libraries(error: Exception, wanted: type[Exception]) -> None:
    """The legacy httpx is not ours to import."""
    ours = await _classified(error)

    assert type(ours) is wanted
    assert "secret" not in str(ours)


async def test_timeout_is_told_with_its_length_or_else_how_long_it_took() -> None:
    """Clients we could not give a timeout have one of their own."""
    connect = await _classified(_caused(APITimeoutError(), httpx.ConnectTimeout("")))
    read = await _classified(_caused(APITimeoutError(), httpx.ReadTimeout("")))

    assert isinstance(connect, AttemptTimeoutError)
    assert isinstance(read, AttemptTimeoutError)
    assert (connect.rung, connect.timeout) == ("connect", 5.0)
    assert (read.rung, read.timeout) == ("read", 2.5)


@pytest.mark.parametrize("error", [KeyError("x"), ZeroDivisionError(), RuntimeError("no")])
async def test_bug_is_nobodys_answer(error: Exception) -> None:
    """Whoever asks has to say what becomes of it."""
    assert await _classified(error) is None


async def test_one_of_ours_stays_as_it_is() -> None:
    """It was told by somebody who knew more."""
    error = ServerError("down", status_code=500)

    assert await _classified(error) is error


async def test_number_that_is_no_status_says_nothing() -> None:
    """However long it is: Python refuses to read such a one."""
    assert await _classified(StreamError("0500" + 5000 * "0", "sad")) is None


async def test_what_merely_happened_before_says_nothing() -> None:
    """A client may have met a 500 long before the bug."""
    error = KeyError("x")
    error.__context__ = ResponseError(500, "down")

    assert await _classified(error) is None


async def test_group_of_one_is_looked_into() -> None:
    """Libraries with task groups wrap what they raise."""
    assert type(await _classified(ExceptionGroup("g", [ResponseError(500, "down")]))) is ServerError


async def test_secret_in_what_was_said_is_hidden() -> None:
    """Providers repeat keys."""
    ours = classify(
        BodyError(401, {"message": "no such key: abc123"}),
        attempt=1,
        place="p",
        elapsed=0.0,
        hide=lambda text: text.replace("abc123", "<hidden>"),
    )

    assert "no such key: <hidden>" in str(ours)
