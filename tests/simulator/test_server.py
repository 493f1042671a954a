"""The server on real sockets, seen by clients that are not ours: httpx, AsyncOpenAI and raw bytes."""

import errno
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import openai
import pytest
import trio
from openai import AsyncOpenAI
from pydantic import BaseModel

from agent_pipeline.errors import ConfigError
from agent_pipeline.simulator import FaultPlan, Simulator, serve
from agent_pipeline.simulator.json_values import JsonObject
from agent_pipeline.simulator.wire import MAX_BODY_BYTES

Start = Callable[..., Awaitable[tuple[Simulator, int]]]
TEXT = "# Tides\n\nThe moon pulls the sea. The sun helps. Wind does the rest.\n"
ASK: JsonObject = {"model": "m", "input": TEXT}
STREAM: JsonObject = {**ASK, "stream": True}
PATH = "/v1/responses"


@asynccontextmanager
async def client_of(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=5) as client:
        yield client


@asynccontextmanager
async def openai_of(port: int) -> AsyncIterator[AsyncOpenAI]:
    client = AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0, timeout=5)
    async with client:
        yield client


async def raw(port: int, *parts: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server closes."""
    received = b""
    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            for part in parts:
                await stream.send_all(part)
            async for data in stream:
                received += data
    return received


def posting(body: bytes, *headers: str) -> bytes:
    head = ["POST /v1/responses HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


# --- answers -----------------------------------------------------------------------------------------------------


class Extract(BaseModel):
    title: str
    summary: str


async def test_the_openai_client_gets_text_from_both_apis(start: Start) -> None:
    """By base_url alone."""
    simulator, port = await start()

    async with openai_of(port) as client:
        response = await client.responses.create(model="m", input=TEXT)
        completion = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": TEXT}])
        models = await client.models.list()

    assert response.output_text == "The moon pulls the sea. The sun helps."
    assert completion.choices[0].message.content == response.output_text
    assert [model.id for model in models.data] == ["simulator"]
    assert simulator.statistics.requests == 3


# The client breaks out of its own and the transport's generators at [DONE] and leaves them to the garbage collector.
@pytest.mark.filterwarnings("ignore:Async generator :ResourceWarning")
async def test_the_openai_client_streams_from_both_apis(start: Start) -> None:
    """The client's own accumulation gives the whole answer."""
    _, port = await start()
    said = ""

    async with openai_of(port) as client:
        async with client.responses.stream(model="m", input=TEXT) as stream:
            final = await stream.get_final_response()
        chunks = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": TEXT}],
            stream=True,
            stream_options={"include_usage": True},
        )
        usage = None
        async with chunks:
            async for chunk in chunks:
                said += (chunk.choices[0].delta.content or "") if chunk.choices else ""
                usage = chunk.usage or usage

    assert final.output_text == said == "The moon pulls the sea. The sun helps."
    assert usage is not None
    assert final.usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (final.usage.input_tokens, final.usage.output_tokens)


async def test_the_openai_client_parses_structured_output_from_both_apis(start: Start) -> None:
    """With the client's own strict schemas, streamed and not."""
    _, port = await start()
    expected = Extract(title="Tides", summary="The moon pulls the sea. The sun helps.")

    async with openai_of(port) as client:
        response = await client.responses.parse(model="m", input=TEXT, text_format=Extract)
        async with client.responses.stream(model="m", input=TEXT, text_format=Extract) as stream:
            streamed = await stream.get_final_response()
        completion = await client.chat.completions.parse(
            model="m", messages=[{"role": "user", "content": TEXT}], response_format=Extract
        )

    assert response.output_parsed == expected
    assert streamed.output_parsed == expected
    assert completion.choices[0].message.parsed == expected


async def test_the_openai_client_goes_through_a_tool_in_both_apis(start: Start) -> None:
    """One call, its output, an answer that uses it."""
    _, port = await start()
    parameters: dict[str, object] = {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "required": ["title"],
        "additionalProperties": False,
    }

    async with openai_of(port) as client:
        first = await client.responses.create(
            model="m",
            input=TEXT,
            tools=[{"type": "function", "name": "height_of", "parameters": parameters, "strict": True}],
        )
        call = first.output[0]
        assert call.type == "function_call"
        answer = await client.responses.create(
            model="m",
            input=[
                {"role": "user", "content": TEXT},
                {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
                {"type": "function_call_output", "call_id": call.call_id, "output": "4 metres"},
            ],
        )
        chat = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": TEXT}],
            tools=[{"type": "function", "function": {"name": "height_of", "parameters": parameters}}],
        )

    assert json.loads(call.arguments) == {"title": "Tides"}
    assert "According to height_of: 4 metres" in answer.output_text
    calls = chat.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls if call.type == "function"] == ["height_of"]


# --- counting ----------------------------------------------------------------------------------------------------


async def test_one_connection_serves_many_requests(start: Start) -> None:
    """Keep-alive holds, for plain and streamed replies and for errors."""
    simulator, port = await start({"kind": "status", "status": 503, "script": [3]})

    async with client_of(port) as client:
        statuses = [(await client.post(PATH, json=body)).status_code for body in (ASK, STREAM, ASK, ASK)]
        seen = (await client.get("/simulator/statistics")).json()

    assert statuses == [200, 200, 503, 200]
    assert (seen["connections_opened"], seen["max_connections_open"]) == (1, 1)
    assert seen["requests_by_path"] == {PATH: {"200": 3, "503": 1}}
    assert (seen["requests_in_flight"], seen["max_requests_in_flight"]) == (0, 1)
    assert simulator.statistics.requests == 4


async def test_looking_at_the_statistics_changes_nothing(start: Start) -> None:
    """An outside process compares counts: its own connection must not be among them."""
    _, port = await start()
    async with client_of(port) as client:
        await client.post(PATH, json=ASK)

        async with client_of(port) as observer:
            for _ in range(2):
                seen = (await observer.get("/simulator/statistics")).json()

    assert (seen["requests"], seen["connections_opened"], seen["max_connections_open"]) == (1, 1, 1)
    assert seen["connections_open"] == 1


async def test_requests_at_once_are_counted(start: Start) -> None:
    """The figure that shows whether a client keeps its own limit."""
    simulator, port = await start(latency=0.1)

    async with client_of(port) as client, trio.open_nursery() as nursery:
        for number in range(7):
            nursery.start_soon(lambda number: client.post(PATH, json={**ASK, "user": str(number)}), number)

    assert simulator.statistics.max_requests_in_flight == 7
    assert simulator.statistics.max_connections_open == 7
    assert simulator.statistics.requests_in_flight == 0


async def test_a_request_stops_counting_before_its_last_byte_can_be_seen(start: Start) -> None:
    """A client that keeps to one request at a time, over any connections, is never counted as two."""
    simulator, port = await start()
    request = posting(json.dumps(ASK).encode())
    seen = []

    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for _ in range(60):
            await stream.send_all(request)
            await stream.receive_some(65536)
            seen.append(simulator.statistics.requests_in_flight)

    assert seen == [0] * 60
    assert simulator.statistics.max_requests_in_flight == 1


async def test_a_client_that_leaves_stops_counting(start: Start) -> None:
    """Also in the middle of a long wait: a cancelled attempt is over at the server too."""
    simulator, port = await start(latency=60)

    async with client_of(port) as client:
        with trio.move_on_after(0.1):
            await client.post(PATH, json=ASK)

    with trio.fail_after(2):
        while simulator.statistics.connections_open:
            await trio.sleep(0.01)
    assert simulator.statistics.requests_in_flight == 0
    assert simulator.statistics.requests == 1


# --- faults on the wire ------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("body", [ASK, STREAM])
async def test_a_reset_in_the_body_comes_after_some_of_it(start: Start, body: JsonObject) -> None:
    """Head and half of the bytes, then RST."""
    _, port = await start({"kind": "reset_mid_body"})
    received = b""

    async with client_of(port) as client:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            async with client.stream("POST", PATH, json=body) as response:
                assert response.status_code == 200
                async for chunk in response.aiter_bytes():
                    received += chunk

    assert received


@pytest.mark.parametrize("kind", ["hang", "hang_mid_body"])
async def test_a_hang_lasts_until_the_client_leaves(start: Start, kind: str) -> None:
    """The client's own timeout is what ends it; the server is not held."""
    simulator, port = await start({"kind": kind})

    async with client_of(port) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(PATH, json=ASK, timeout=0.1)
        assert simulator.statistics.requests_in_flight in {0, 1}

    with trio.fail_after(2):
        while simulator.statistics.connections_open:
            await trio.sleep(0.01)
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


def _causes(error: BaseException) -> str:
    words = []
    cause: BaseException | None = error
    while cause is not None:
        words.append(f"{cause} {getattr(cause, 'errno', '')}")
        cause = cause.__cause__ or cause.__context__
    return " ".join(words).lower()


# --- HTTP --------------------------------------------------------------------------------------------------------


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
    """curl does so for larger bodies."""
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

    with trio.fail_after(2):
        while simulator.statistics.connections_open:
            await trio.sleep(0.01)
    assert simulator.statistics.requests_in_flight == 0
    async with client_of(port) as client:
        assert (await client.post(PATH, json=ASK)).status_code == 200


async def test_a_bug_in_the_rules_costs_one_request(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    """And is heard: status 500 and a traceback in the log."""

    class Buggy(Simulator):
        def _answer(self, *_: object) -> object:  # type: ignore[override]
            raise ZeroDivisionError

    simulator = Buggy()
    port: int = await nursery.start(serve, simulator)
    async with client_of(port) as client:
        broken = await client.post(PATH, json=ASK)
        listed = await client.get("/v1/models")
    nursery.cancel_scope.cancel()

    assert (broken.status_code, listed.status_code) == (500, 200)
    assert "ZeroDivisionError" in caplog.text


# --- the socket --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", ""])
async def test_only_loopback_is_served(host: str) -> None:
    """Nothing is opened; the message names the host."""
    with pytest.raises(ConfigError, match="loopback"):
        await serve(Simulator(), host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
async def test_loopback_is_served_and_cancelling_closes_everything(host: str) -> None:
    """Listener and connections alike."""
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve, Simulator(), host)
        address = "127.0.0.1" if host == "localhost" else host
        stream = await trio.open_tcp_stream(address, port)
        await stream.send_all(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        await stream.receive_some()
        nursery.cancel_scope.cancel()

    async with stream:
        with trio.fail_after(2):
            assert await _is_at_its_end(stream)
    with pytest.raises(OSError, match=r"connect|refused"):
        await trio.open_tcp_stream(address, port)


async def _is_at_its_end(stream: trio.SocketStream) -> bool:
    try:
        return await stream.receive_some() == b""
    except trio.BrokenResourceError:
        return True


async def test_a_storm_of_connections_is_taken(start: Start) -> None:
    """A backlog of five would reset most of them, and look like the client's fault."""
    simulator, port = await start()
    request = posting(json.dumps(ASK).encode(), "connection: close")
    answers: list[bytes] = []

    async def one() -> None:
        answers.append(await raw(port, request))

    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(one)

    assert sum(answer.startswith(b"HTTP/1.1 200") for answer in answers) == 200
    assert simulator.statistics.connections_opened == 200


def test_a_plan_with_no_faults_is_the_default() -> None:
    """Nothing goes wrong unless it is asked for."""
    assert FaultPlan() == FaultPlan.from_mapping({})
