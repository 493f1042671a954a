"""What a provider can do wrong on the wire, over real sockets: each ends in one clear error of ours, never in data."""

import gzip
import time
import zlib
from collections.abc import Callable

import pytest
import trio
from tests.gateway.bodies import APIS, Api, completion, dump, good, response
from tests.gateway.wire_server import Play, answer, drip, hang, http, ping, reset_after, say, wire_server
from tests.gateway.world import EVENT_STREAM, ask_badly, closed_port, open_world, well

from agent_pipeline.errors import (
    AgentPipelineError,
    AnswerTooLargeError,
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

# --- the way there and back --------------------------------------------------------------------------------------


async def test_refused_connection_is_retried_and_names_place_and_cause() -> None:
    """Nothing was sent, so it costs nothing; who reads the message has to know which server was meant."""
    port = await closed_port()

    async with open_world(f"http://127.0.0.1:{port}/v1", max_attempts=3) as world:
        with pytest.raises(ProviderUnreachableError, match=rf"127\.0\.0\.1:{port}: .*[Rr]efused"):
            await world.role.ask("Well?")

    assert [record.sent for record in world.records] == [False] * 3
    assert world.budget.tokens.statistics().spent == 0


async def test_unknown_host_is_retried_and_names_the_cause() -> None:
    """A wrong base_url is the commonest mistake of a first run."""
    async with open_world("http://nowhere.invalid/v1", max_attempts=2) as world:
        with pytest.raises(ProviderUnreachableError, match=r"nowhere\.invalid:http: Name or service not known"):
            await world.role.ask("Well?")

    assert len(world.records) == 2


async def test_host_that_no_resolver_takes_is_unreachable_like_any_other() -> None:
    """The resolver answers with a UnicodeError, which would otherwise leave as it is."""
    async with open_world(f"http://{'a' * 70}.invalid/v1") as world:
        with pytest.raises(ProviderUnreachableError):
            await world.role.ask("Well?")


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-", http(good("responses"))[:-5]])
async def test_reset_is_retried_and_the_unanswered_attempt_stays_charged(sent: bytes) -> None:
    """The provider may have done the work and bill it, wherever the connection broke."""
    async with (
        wire_server(reset_after(sent), well("responses")) as server,
        open_world(server.url, max_attempts=2) as world,
    ):
        assert await world.role.ask("Well?") == "yes"

    assert world.errors == [ConnectionLostError.code, None]
    lost = world.records[0]
    assert lost.sent
    assert lost.charged_tokens == lost.reserved_tokens > 0
    assert world.budget.tokens.statistics().unknown == lost.reserved_tokens
    assert "Connection reset by peer" in (lost.error or "")


async def test_body_shorter_than_announced_is_a_lost_connection() -> None:
    """A JSON answer that happens to be whole in its first half would otherwise pass."""
    error, _ = await ask_badly(say(http(good("responses"))[:-5], hang_up=True))

    assert isinstance(error, ConnectionLostError)


@pytest.mark.slow
async def test_slow_drip_ends_at_the_attempt_timeout() -> None:
    """One byte per 50 ms defeats every read timeout; over by 10 % at most."""
    begun = time.monotonic()
    async with (
        wire_server(drip(http(good("responses")), 0.05)) as server,
        open_world(server.url, attempt_timeout=1.0, read_timeout=0.5) as world,
    ):
        with pytest.raises(AttemptTimeoutError, match="1 s attempt timeout") as caught:
            await world.role.ask("Well?")

    assert caught.value.rung == "attempt"
    assert world.records[0].latency_seconds <= 1.1
    assert time.monotonic() - begun >= 1.0
    assert world.records[0].charged_tokens == world.records[0].reserved_tokens


async def test_silence_ends_at_the_read_timeout() -> None:
    """A server that accepted and then died is found out before the attempt's time is up."""
    async with wire_server(hang()) as server, open_world(server.url, read_timeout=0.2) as world:
        with pytest.raises(AttemptTimeoutError) as caught:
            await world.role.ask("Well?")

    assert caught.value.rung == "read"
    assert world.records[0].sent


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_answer_that_stops_after_its_head_is_asked_for_again(api: Api, *, streamed: bool) -> None:
    """Headers are no sign of life for long; the second attempt has a read timeout of its own."""
    kind = EVENT_STREAM if streamed else "application/json"
    stuck = hang(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: 999\r\n\r\n".encode())

    async with (
        wire_server(stuck, well(api, streamed=streamed)) as server,
        open_world(server.url, api=api, params={"stream": streamed}, read_timeout=0.2, max_attempts=2) as world,
    ):
        assert await world.role.ask("Well?") == "yes"

    first, second = world.records
    assert (first.error_code, first.status_code) == ("attempt_timeout", 200)
    assert "0.2 s read timeout" in (first.error or "")
    assert first.charged_tokens == first.reserved_tokens
    assert second.outcome == "succeeded"


@pytest.mark.parametrize("api", APIS)
async def test_stream_of_comments_is_cut_off_and_asked_for_again(api: Api) -> None:
    """`: ping` keeps the bytes coming while the model says nothing; each of them is well within the read timeout."""
    body = good(api, streamed=True)

    async with (
        wire_server(ping(body, every=0.02), ping(body, every=0.02, before=3)) as server,
        open_world(server.url, api=api, params={"stream": True}, read_timeout=0.2, max_attempts=2) as world,
    ):
        assert await world.role.ask("Well?") == "yes"

    assert world.errors == ["attempt_timeout", None]
    assert "0.2 s read timeout" in (world.records[0].error or "")
    assert len(server.seen) == 2


async def test_connecting_ends_at_the_connect_timeout() -> None:
    """A full backlog swallows connections without a word; nothing was sent, so nothing is charged."""
    listener = trio.socket.socket()
    async with trio.open_nursery() as nursery:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [trio.socket.socket() for _ in range(3)]
        for filler in fillers:
            nursery.start_soon(filler.connect, ("127.0.0.1", port))
        await trio.sleep(0.05)

        async with open_world(f"http://127.0.0.1:{port}/v1", connect_timeout=0.2) as world:
            with pytest.raises(AttemptTimeoutError) as caught:
                await world.role.ask("Well?")

        nursery.cancel_scope.cancel()
    for one in (listener, *fillers):
        one.close()
    assert caught.value.rung == "connect"
    assert not world.records[0].sent
    assert world.budget.tokens.statistics().spent == 0


async def test_server_that_reads_nothing_ends_at_the_read_timeout() -> None:
    """A large request fills the buffers in between; silence is silence in both directions."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]

    async with open_world(f"http://127.0.0.1:{port}/v1", read_timeout=0.2) as world:
        with pytest.raises(AttemptTimeoutError) as caught:
            await world.role.ask("x" * 20_000_000)

    for listener in listeners:
        await listener.aclose()
    assert caught.value.rung == "read"
    assert world.records[0].sent


SAID = [{"type": "message", "content": [{"type": "output_text", "text": "yes"}]}]
CALL = {"name": "f", "arguments": "{}", "call_id": "c"}


# --- 200, but no answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "play",
    [
        answer(b"<html>Welcome to the hotel's wireless network</html>", content_type="text/html"),
        answer(good("responses"), content_type=None),
        answer(b""),
        answer(b"", status=204, content_type=None),
        answer(b"{}"),
        answer(b"[]"),
        answer(b"null"),
        answer(b'{"id": '),
        answer(b"\xff\xfe" + good("chat")),
        answer(b'{"output": [' * 100_000),
        answer(b'{"x": ' * 100_000 + b"1" + b"}" * 100_000),
        answer(dump(completion(choices=None))),
        answer(dump(completion(choices=[]))),
        answer(dump(completion(choices=[None]))),
        answer(dump(completion(None))),
        answer(dump(completion(""))),
        answer(dump(response(output=None))),
        answer(dump(response(output=[]))),
        answer(dump(response(output=["yes"]))),
        answer(dump(response(output=[{"type": "message", "content": "yes"}]))),
        answer(dump(response(output=[{"type": "message"}, {"type": "function_call", **CALL}]))),
        answer(dump(response(output=[{"type": "function_call", **CALL, "name": None}]))),
        answer(dump(response(output=[{"type": "message", "content": [{"type": "output_text"}]}]))),
        answer(dump(response(""))),
        answer(dump(response(output=[*SAID, {"type": "message", "content": [{"type": "output_text"}]}]))),
        answer(dump(response(status="queued"))),
        answer(dump(response(status=["completed"]))),
        answer(dump(completion(["yes"]))),
        answer(dump(completion(finish={"reason": "stop"}))),
        answer(good("responses"), headers=["content-encoding: br"]),
        answer(good("responses"), headers=["content-encoding: gzip"]),
        answer(gzip.compress(good("responses"))[:-9], headers=["content-encoding: gzip"]),
        answer(gzip.compress(good("responses")) + b"more", headers=["content-encoding: gzip"]),
    ],
)
async def test_what_is_no_answer_is_a_protocol_error(api: Api, play: Play) -> None:
    """Unchecked, these come out as a str, an object of Nones, an AttributeError or a JSONDecodeError."""
    error, world = await ask_badly(play, api=api)

    assert type(error) is ModelProtocolError
    assert world.errors == ["bad_answer"]


async def test_bad_answer_is_asked_for_once_more() -> None:
    """A model that answers wrongly twice will again; the third request would be paid for nothing."""
    async with wire_server(answer(b"{}")) as server, open_world(server.url, max_attempts=5) as world:
        with pytest.raises(ModelProtocolError):
            await world.role.ask("Well?")

    assert len(server.seen) == 2


@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress])
async def test_compressed_answer_is_unpacked(encode: Callable[[bytes], bytes]) -> None:
    """It is asked for, so it has to be understood."""
    name = "gzip" if encode is gzip.compress else "DEFLATE"
    play = answer(encode(good("responses")), headers=[f"content-encoding: {name}"])

    async with wire_server(play) as server, open_world(server.url) as world:
        assert await world.role.ask("Well?") == "yes"

    assert server.seen[0].header("accept-encoding") == "gzip"


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "klingon", "ü"])
async def test_declared_charset_changes_nothing(charset: str) -> None:
    """JSON is UTF-8 whatever the header says, and a strange header breaks nothing."""
    play = answer(good("responses", "naïve"), content_type=f"application/json; charset={charset}")

    async with wire_server(play) as server, open_world(server.url) as world:
        assert await world.role.ask("Well?") == "naïve"


async def test_huge_body_is_refused_before_it_is_taken_in() -> None:
    """50 MB of text took 256 MB of memory unprotected."""
    begun = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 52428800\r\n\r\n"
    sent = 0

    async def play(stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(begun)
        for _ in range(800):
            await stream.send_all(b" " * 65536)
            sent += 65536

    error, world = await ask_badly(play)

    assert isinstance(error, AnswerTooLargeError)
    assert sent < 40 * 1024 * 1024
    assert world.errors == ["answer_too_large"]


# --- statuses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (302, {}, RequestRejectedError),
        (400, {"code": "context_length_exceeded"}, RequestRejectedError),
        (401, {"code": "invalid_api_key"}, CredentialsRejectedError),
        (402, {}, QuotaExhaustedError),
        (403, {}, CredentialsRejectedError),
        (404, {}, RequestRejectedError),
        (404, {"code": "model_not_found"}, ModelNotFoundError),
        (403, {"code": "model_not_found"}, ModelNotFoundError),
        (413, {}, RequestRejectedError),
        (422, {}, RequestRejectedError),
        (429, {"code": "insufficient_quota"}, QuotaExhaustedError),
        (429, {"code": 429, "type": "insufficient_quota"}, QuotaExhaustedError),
    ],
)
async def test_status_that_time_does_not_cure_is_asked_once(
    status: int, said: dict[str, object], expected: type[AgentPipelineError]
) -> None:
    """Each further request would be refused, and may lock the account."""
    play = answer(dump({"error": {"message": "because", **said}}), status=status, headers=["location: /elsewhere"])

    async with wire_server(play) as server, open_world(server.url, max_attempts=5) as world:
        with pytest.raises(expected, match="because") as caught:
            await world.role.ask("Well?")

    assert type(caught.value) is expected
    assert len(server.seen) == len(world.records) == 1
    assert world.records[0].status_code == status


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504, 529])
async def test_failure_of_the_server_is_retried(status: int) -> None:
    """They pass."""
    async with (
        wire_server(answer(b"oops", status=status, content_type="text/plain"), well("chat")) as server,
        open_world(server.url, api="chat", max_attempts=2) as world,
    ):
        assert await world.role.ask("Well?") == "yes"

    assert world.errors == [ServerError.code, None]
    assert "oops" in (world.records[0].error or "")


async def test_redirect_is_not_followed() -> None:
    """A body re-sent to wherever a server points would carry documents and key along."""
    async with wire_server(well("responses")) as elsewhere:
        play = answer(b"", status=307, headers=[f"location: {elsewhere.url}/responses"])
        async with wire_server(play) as server, open_world(server.url) as world:
            with pytest.raises(RequestRejectedError, match="a redirect, which is not followed"):
                await world.role.ask("Well?")

        assert not elsewhere.seen


@pytest.mark.parametrize(
    "play",
    [
        answer(b"?", status=429, headers=["content-encoding: br", "retry-after: 0"]),
        answer(b"?", status=429, headers=["content-encoding: gzip", "retry-after: 0"]),
        answer(b"x" * 200_000, status=429, headers=["retry-after: 0"]),
        say(http(b"too fast", status=429, headers=["retry-after: 0"])[:-2], hang_up=True),
    ],
)
async def test_status_counts_whatever_its_body_is(play: Play) -> None:
    """A proxy's page in a strange encoding must not turn a 429 into a broken answer, nor into an attempt used up."""
    async with (
        wire_server(play, well("responses")) as server,
        open_world(server.url, max_attempts=1) as world,
    ):
        assert await world.role.ask("Well?") == "yes"

    assert world.errors == [RateLimitedError.code, None]
    assert [record.number for record in world.records] == [1, 1]
