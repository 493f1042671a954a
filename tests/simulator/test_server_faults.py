"""Faults on the wire: what a client sees of each of them."""

import errno
import json

import httpx
import openai
import pytest
import trio
from tests.simulator.clients import ASK, PATH, STREAM, TEXT, Start, client_of, openai_of, wait_connections_closed

from agent_pipeline.simulator.json_values import JsonObject


async def test_a_status_fault_reaches_the_openai_client_as_its_own_error(start: Start) -> None:
    """With the header and the code it needs to decide."""
    _, port = await start(
        {"kind": "status", "status": 429, "retry_after": 7, "code": "insufficient_quota", "script": [1]},
        {"kind": "status", "status": 500, "script": [2]},
        {"kind": "status", "status": 401, "script": [3]},
    )

    async with openai_of(port) as client:
        with pytest.raises(openai.RateLimitError) as limited:
            await client.responses.create(model="m", input=TEXT)
        with pytest.raises(openai.InternalServerError):
            await client.responses.create(model="m", input=TEXT)
        with pytest.raises(openai.AuthenticationError):
            await client.responses.create(model="m", input=TEXT)

    assert limited.value.response.headers["retry-after"] == "7"
    assert limited.value.code == "insufficient_quota"
    assert limited.value.request_id


@pytest.mark.parametrize("body", [ASK, STREAM])
async def test_a_reset_before_the_body_is_a_broken_connection(start: Start, body: JsonObject) -> None:
    """No status, no bytes: RST."""
    simulator, port = await start({"kind": "reset_before_body"})

    async with client_of(port) as client:
        with pytest.raises(httpx.ReadError) as caught:
            await client.post(PATH, json=body)

    assert "reset" in _causes(caught.value) or str(errno.ECONNRESET) in _causes(caught.value)
    assert simulator.statistics.requests_in_flight == 0


def _causes(error: BaseException) -> str:
    words = []
    cause: BaseException | None = error
    while cause is not None:
        words.append(f"{cause} {getattr(cause, 'errno', '')}")
        cause = cause.__cause__ or cause.__context__
    return " ".join(words).lower()


@pytest.mark.parametrize("body", [ASK, STREAM])
async def test_a_reset_in_the_body_comes_after_some_of_it(start: Start, body: JsonObject) -> None:
    """Head and half of the bytes, then RST."""
    _, port = await start({"kind": "reset_mid_body"})
    received = bytearray()

    async def read(client: httpx.AsyncClient) -> None:
        async with client.stream("POST", PATH, json=body) as response:
            assert response.status_code == 200
            async for chunk in response.aiter_bytes():
                received.extend(chunk)

    async with client_of(port) as client:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await read(client)

    assert received


@pytest.mark.parametrize("kind", ["hang", "hang_mid_body"])
async def test_a_hang_lasts_until_the_client_leaves(start: Start, kind: str) -> None:
    """The client's own timeout is what ends it; the server is not held."""
    simulator, port = await start({"kind": kind})

    async with client_of(port) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(PATH, json=ASK, timeout=httpx.Timeout(5, read=0.1))
        assert simulator.statistics.requests_in_flight in {0, 1}

    await wait_connections_closed(simulator)
    assert simulator.statistics.requests_in_flight == 0


async def test_a_truncated_stream_ends_without_an_error_on_the_wire(start: Start) -> None:
    """Only its missing terminal event tells."""
    _, port = await start({"kind": "truncate_stream"})

    async with client_of(port) as client:
        response = await client.post(PATH, json=STREAM)

    assert response.status_code == 200
    assert "response.created" in response.text
    assert "response.completed" not in response.text


async def test_wrong_content_with_status_200(start: Start) -> None:
    """HTML, an empty object, broken JSON: all are well-formed HTTP."""
    _, port = await start(
        {"kind": "html_200", "script": [1]},
        {"kind": "empty_object", "script": [2]},
        {"kind": "malformed_json", "script": [3]},
    )

    async with client_of(port) as client:
        html, empty, malformed = [await client.post(PATH, json=ASK) for _ in range(3)]

    assert html.headers["content-type"].startswith("text/html")
    assert empty.json() == {}
    with pytest.raises(json.JSONDecodeError):
        malformed.json()


async def test_a_slow_drip_arrives_in_pieces(start: Start) -> None:
    """Each piece is a write of its own."""
    _, port = await start({"kind": "slow_drip", "bytes": 400, "delay": 0.01})
    pieces = 0

    async with client_of(port) as client, client.stream("POST", PATH, json=ASK) as response:
        started = trio.current_time()
        async for _ in response.aiter_raw():
            pieces += 1

    assert pieces >= 3
    assert trio.current_time() - started >= 0.01 * (pieces - 1)


async def test_latency_comes_before_the_head_and_chunk_delay_between_events(start: Start) -> None:
    """In the order in which a slow model makes them felt."""
    _, port = await start(latency=0.1, chunk_delay=0.01)

    async with client_of(port) as client:
        started = trio.current_time()
        async with client.stream("POST", PATH, json=STREAM) as response:
            head = trio.current_time()
            await response.aread()
        end = trio.current_time()

    assert head - started >= 0.1
    assert end - head >= 0.01 * 5


async def test_pings_keep_a_stream_open_that_says_nothing(start: Start) -> None:
    """Bytes keep coming, so that no read timeout ends it; the events have stopped."""
    simulator, port = await start({"kind": "ping", "delay": 0.02, "events": 2})
    received = b""

    async with client_of(port) as client:
        with trio.move_on_after(0.25) as scope:
            async with client.stream("POST", PATH, json=STREAM, timeout=httpx.Timeout(5, read=0.15)) as response:
                async for chunk in response.aiter_raw():
                    received += chunk

    assert scope.cancelled_caught
    assert received.count(b"event: ") == 2
    assert received.endswith(b": ping\n\n: ping\n\n")
    await wait_connections_closed(simulator)
    assert simulator.statistics.requests_in_flight == 0


async def test_the_openai_client_reads_through_pings(start: Start) -> None:
    """Comments are no events to it."""
    _, port = await start({"kind": "ping", "delay": 0.002})

    async with openai_of(port) as client:
        events = [event.type async for event in await client.responses.create(model="m", input=TEXT, stream=True)]

    assert events[0] == "response.created"
    assert events[-1] == "response.completed"
