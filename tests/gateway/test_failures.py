"""What a provider or the way to it does wrong, as errors of ours: the one table."""

import errno
import ssl

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.errors import (
    AgentPipelineError,
    ConnectionLostError,
    LocalResourceError,
    QuotaExhaustedError,
    RateLimitedError,
    RequestRejectedError,
    ServerError,
)
from agent_pipeline.gateway.failures import (
    LONGEST_RETRY_AFTER,
    from_report,
    from_status,
    from_transport,
    quoted,
    read_retry_after,
)

DATE = "Fri, 20 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "90"}, 90.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e9"}, LONGEST_RETRY_AFTER),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "-1", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 09:00:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2099 10:00:00 GMT", "date": DATE}, LONGEST_RETRY_AFTER),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:30 -0000", "date": DATE}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2099 10:00:00 GMT", "date": "today"}, LONGEST_RETRY_AFTER),
        ({"retry-after": "Fri, 99 Nov 2026 10:00:00 GMT", "date": DATE}, None),
    ],
)
def test_pause_is_what_the_provider_asks_for(headers: dict[str, str], expected: float | None) -> None:
    """Seconds, milliseconds or a date by the provider's own clock; nonsense counts as unsaid."""
    assert read_retry_after(headers) == expected


@given(text=st.text(max_size=30), date=st.text(max_size=30))
def test_pause_is_always_finite_and_within_a_day(text: str, date: str) -> None:
    """Whatever the headers hold."""
    pause = read_retry_after({"retry-after": text, "retry-after-ms": date, "date": date})

    assert pause is None or 0 <= pause <= LONGEST_RETRY_AFTER


@given(status=st.integers(min_value=300, max_value=599), body=st.binary(max_size=50))
def test_every_bad_status_is_an_error_of_ours(status: int, body: bytes) -> None:
    """Whatever comes with it."""
    error = from_status(status, {}, body)

    assert isinstance(error, AgentPipelineError)
    assert str(status) in str(error)


@pytest.mark.parametrize(
    "body", [b'{"error": "because"}', b'{"message": "because"}', b'{"error": {"message": "because"}}']
)
def test_reason_is_found_in_each_providers_style(body: bytes) -> None:
    """OpenAI nests it, others don't."""
    assert str(from_status(400, {}, body)) == "the provider answered 400: because"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://lake/chat/completions", "; http://lake/chat/completions was asked: does base_url lack /v1?"),
        ("http://lake/v1/responses", "; http://lake/v1/responses was asked"),
        ("", ""),
    ],
)
def test_where_nothing_is_the_address_is_named(url: str, words: str) -> None:
    """Most often the address was written without its last part."""
    assert str(from_status(404, {}, b'{"message": "no such path"}', url=url)).endswith(f"404: no such path{words}")
    assert "asked" not in str(from_status(404, {}, b'{"error": {"code": "model_not_found"}}', url=url))
    assert "asked" not in str(from_status(400, {}, b'{"message": "no"}', url=url))


@pytest.mark.parametrize("status", [429, 503])
def test_pause_is_kept_with_the_error(status: int) -> None:
    """It is the gate who waits."""
    error = from_status(status, {"retry-after": "7"}, b"")

    assert isinstance(error, RateLimitedError | ServerError)
    assert error.retry_after == 7.0


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"code": "server_error", "message": "sad"}, ServerError),
        ({"code": 502}, ServerError),
        ({"code": "429"}, RateLimitedError),
        ({"code": "rate_limit_exceeded"}, RateLimitedError),
        ({"type": "insufficient_quota"}, QuotaExhaustedError),
        ({"type": "invalid_request_error"}, RequestRejectedError),
        ({"code": 99999999999}, ServerError),
        ({"code": "0429"}, ServerError),
        ({"code": "0500" + 5000 * "0"}, ServerError),
        ("sad", ServerError),
        (["sad"], ServerError),
        (7, ServerError),
    ],
)
def test_report_inside_an_answer_is_read_like_a_status(report: object, expected: type[AgentPipelineError]) -> None:
    """OpenRouter and streams have no other way to say it."""
    error = from_report(report)

    assert type(error) is expected


def test_server_error_inside_an_answer_keeps_the_status_it_came_with() -> None:
    """A model may have worked: the charge must not be given back as for a plain 502."""
    error = from_report({"code": 502})

    assert isinstance(error, ServerError)
    assert error.status_code == 200


@given(text=st.text())
def test_quoted_words_hold_no_control_characters(text: str) -> None:
    """They go to a terminal."""
    assert quoted(text).isprintable()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
def test_exhausted_machine_is_not_the_networks_fault(number: int) -> None:
    """Trying again makes it worse; found however deep it is wrapped."""
    exc = httpx2.ConnectError("all attempts failed")
    exc.__cause__ = ExceptionGroup("many", [ConnectionRefusedError(), OSError(number, "out of it")])

    error = from_transport(exc, number=1, timeouts={}, place="h:1")

    assert isinstance(error, LocalResourceError)
    assert "out of it" in str(error)


@pytest.mark.parametrize(
    "exc",
    [httpx2.ReadError(""), httpx2.WriteError("x"), httpx2.RemoteProtocolError("x"), ssl.SSLError("x"), OSError("x")],
)
def test_broken_connection_is_lost(exc: Exception) -> None:
    """Whoever noticed it."""
    error = from_transport(exc, number=1, timeouts={}, place="h:1")

    assert isinstance(error, ConnectionLostError)
    assert "the connection to h:1 broke: " in str(error)


def test_bug_of_ours_stays_what_it_is() -> None:
    """Called a network fault it would be retried, and never found."""
    exc = KeyError("x")

    assert from_transport(exc, number=1, timeouts={}, place="h:1") is exc


@pytest.mark.parametrize("kind", [httpx2.LocalProtocolError, httpx2.UnsupportedProtocol])
def test_request_that_is_not_http_repeats_no_header(kind: type[httpx2.TransportError]) -> None:
    """The library's words hold the header it did not like, which may be the key."""
    error = from_transport(kind("Illegal header value b'Bearer sk-1\\n'"), number=1, timeouts={}, place="h:1")

    assert isinstance(error, RequestRejectedError)
    assert "sk-1" not in str(error)
