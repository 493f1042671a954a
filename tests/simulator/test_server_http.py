"""HTTP as odd clients speak it: what is understood, what is refused, and that the server goes on."""

import json
import socket
from collections.abc import AsyncIterator

import pytest
import trio
from tests.simulator.clients import ASK, PATH, STREAM, Start, client_of, posting, raw, wait_connections_closed

from agent_pipeline.simulator import Simulator, SimulatorReply, SimulatorRequest, serve
from agent_pipeline.simulator.wire import MAX_BODY_BYTES


async def test_a_chunked_request_is_read(start: Start) -> None:
    """A streamed upload has no length."""
    _, port = await start()

    async def pieces() -> AsyncIterator[bytes]:
        for byte in json.dumps(ASK).encode():
            yield bytes([byte])

    async with client_of(port) as client:
        response = await client.post(PATH, content=pieces())

    assert response.status_code == 200


async def test_a_client_that_expects_100_continue_gets_it_before_it_sends(start: Start) -> None:
    """As curl does for larger bodies."""
    _, port = await start()
    body = json.dumps(ASK).encode()
    request = posting(body, "expect: 100-continue", "connection: close")

    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request[: -len(body)])
        with trio.fail_after(2):
            interim = await stream.receive_some()
        await stream.send_all(body)
        final = b"".join([part async for part in stream])

    assert interim.startswith(b"HTTP/1.1 100")
    assert final.startswith(b"HTTP/1.1 200")


async def test_requests_sent_ahead_are_answered_in_turn(start: Start) -> None:
    """Pipelining: all at once, or while the first one is still waited for."""
    simulator, port = await start(latency=0.04)
    body = json.dumps(ASK).encode()
    started = trio.current_time()

    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(posting(body) + posting(body))
        await trio.sleep(0.01)
        await stream.send_all(posting(body, "connection: close"))
        answer = b"".join([part async for part in stream])

    assert trio.current_time() - started >= 3 * 0.04
    assert answer.count(b"HTTP/1.1 200") == 3
    assert simulator.statistics.max_requests_in_flight == 1


async def test_an_http_1_0_client_gets_a_stream_that_ends_with_the_connection(start: Start) -> None:
    """No chunks for one who does not know them."""
    _, port = await start()
    body = json.dumps(STREAM).encode()

    answer = await raw(port, posting(body).replace(b"HTTP/1.1", b"HTTP/1.0"))

    head, _, events = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert events.startswith(b"event: response.created")
    assert b"response.completed" in events


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n", b"400"),
        (b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: gzip\r\n\r\n", b"501"),
        (b"GET /v1/models HTTP/1.1\r\nhost: x\r\nfiller: " + b"x" * 200_000 + b"\r\n\r\n", b"431"),
        (f"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode(), b"413"),
    ],
)
async def test_a_broken_request_is_refused_and_the_server_goes_on(
    start: Start, request_bytes: bytes, status: bytes
) -> None:
    """With a reason, where the client still listens."""
    _, port = await start()

    answer = await raw(port, request_bytes)

    assert answer.startswith(b"HTTP/1.1 " + status)
    async with client_of(port) as client:
        assert (await client.post(PATH, json=ASK)).status_code == 200


async def test_a_body_that_grows_past_the_cap_is_refused_while_it_comes(start: Start) -> None:
    """Memory is bounded by the cap also where no length was declared; the client can still read why."""
    simulator, port = await start()
    piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    head = b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"

    answer = await raw(port, head, *[piece] * (MAX_BODY_BYTES // 0x100000 + 1))

    assert answer.startswith(b"HTTP/1.1 413")
    assert simulator.statistics.ends[PATH, "413"] == 1


async def test_clients_that_break_off_anywhere_do_no_harm(start: Start) -> None:
    """Half a head, half a body, a reset in the middle of a reply."""
    simulator, port = await start(chunk_delay=0.01)
    whole = posting(json.dumps(STREAM).encode())

    for length in (1, 30, len(whole) - 5, len(whole)):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(whole[:length])
        await trio.sleep(0.02)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        await trio.aclose_forcefully(stream)

    await wait_connections_closed(simulator)
    assert simulator.statistics.requests_in_flight == 0
    async with client_of(port) as client:
        assert (await client.post(PATH, json=ASK)).status_code == 200


async def test_a_bug_in_the_rules_costs_one_request(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    """And is heard: status 500 and a traceback in the log."""

    class Buggy(Simulator):
        def respond(self, request: SimulatorRequest) -> SimulatorReply:
            if request.path == PATH:
                raise ZeroDivisionError
            return super().respond(request)

    simulator = Buggy()
    port: int = await nursery.start(serve, simulator)
    async with client_of(port) as client:
        broken = await client.post(PATH, json=ASK)
        listed = await client.get("/v1/models")
    nursery.cancel_scope.cancel()

    assert (broken.status_code, listed.status_code) == (500, 200)
    assert "ZeroDivisionError" in caplog.text
