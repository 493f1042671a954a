"""Streams: one that is no whole answer never succeeds, and one of another style is understood."""

import pytest
from tests.gateway.bodies import APIS, Api, chunk, delta, events, good, response
from tests.gateway.wire_server import answer, say, wire_server
from tests.gateway.world import EVENT_STREAM, ask_badly, open_world, well

from agent_pipeline.errors import (
    AgentPipelineError,
    ConnectionLostError,
    IncompleteAnswerError,
    ModelProtocolError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerError,
    StreamTruncatedError,
)

STREAMED: dict[str, object] = {"stream": True}

CHAT_START = [delta(role="assistant", content=""), delta(content="Ja")]
STREAMS: list[tuple[Api, bytes, type[AgentPipelineError]]] = [
    ("responses", good("responses", streamed=True)[:200], StreamTruncatedError),
    ("responses", events({"type": "response.created", "response": {}}), StreamTruncatedError),
    ("responses", b"", StreamTruncatedError),
    ("responses", b'data: {"type": "response.completed", "resp', StreamTruncatedError),
    ("responses", events({"type": "response.completed"}), ModelProtocolError),
    ("responses", events({"type": "response.completed", "response": {}}), ModelProtocolError),
    ("responses", events(5, {"type": "response.completed", "response": response()}), ModelProtocolError),
    ("responses", b"data: junk\n\n" + good("responses", streamed=True), ModelProtocolError),
    ("responses", good("responses", streamed=True) + b"data: junk\n\n", StreamTruncatedError),
    ("responses", b": \xff\n\n" + good("responses", streamed=True), ModelProtocolError),
    ("responses", events({"type": "error", "code": "server_error", "message": "sad"}), ServerError),
    ("responses", events({"type": "error", "error": {"code": "rate_limit_exceeded"}}), RateLimitedError),
    ("responses", events({"type": "x", "error": "sad"}), ServerError),
    (
        "responses",
        events({"type": "response.failed", "response": {"status": "failed", "error": {"code": "insufficient_quota"}}}),
        QuotaExhaustedError,
    ),
    (
        "responses",
        events(
            {
                "type": "response.incomplete",
                "response": response(status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
            }
        ),
        IncompleteAnswerError,
    ),
    ("chat", good("chat", streamed=True)[:200], StreamTruncatedError),
    ("chat", events(*CHAT_START, delta("stop")), StreamTruncatedError),
    ("chat", events(*CHAT_START, done=True), StreamTruncatedError),
    ("chat", events(*CHAT_START, delta("stop", content="the token [DONE]")), StreamTruncatedError),
    ("chat", events(*CHAT_START, delta("length"), done=True), IncompleteAnswerError),
    ("chat", events(*CHAT_START, delta("content_filter"), done=True), IncompleteAnswerError),
    ("chat", events(delta(refusal="I "), delta(refusal="won't"), delta("stop"), done=True), IncompleteAnswerError),
    ("chat", events(delta(content=""), delta("stop"), done=True), ModelProtocolError),
    ("chat", events(chunk(choices="x"), done=True), ModelProtocolError),
    ("chat", events(chunk(choices=[{"finish_reason": "stop"}]), done=True), ModelProtocolError),
    ("chat", events(*CHAT_START, {"error": {"code": 502, "message": "sad"}}, done=True), ServerError),
    ("chat", events(*CHAT_START, {"error": {"code": 429, "message": "sad"}}, done=True), RateLimitedError),
    ("chat", events(*CHAT_START, delta("error"), done=True), ServerError),
]


@pytest.mark.parametrize(("api", "body", "expected"), STREAMS)
async def test_stream_that_is_no_whole_answer_never_succeeds(
    api: Api, body: bytes, expected: type[AgentPipelineError]
) -> None:
    """The client hands on what came as if it were all."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    rate_limited = answer(b"", status=400)
    plays = [say(head + body, hang_up=True)] + ([rate_limited] if expected is RateLimitedError else [])

    async with wire_server(*plays) as server, open_world(server.url, api=api, params=STREAMED) as world:
        with pytest.raises(AgentPipelineError):
            await world.role.ask("Well?")

    assert world.errors[0] == expected.code
    assert len(server.seen) == len(world.records) == len(plays)


async def test_stream_cut_between_two_chunks_is_a_lost_connection() -> None:
    """HTTP's own framing tells it, where there is any."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    piece = good("chat", streamed=True)
    error, _ = await ask_badly(
        say(head + f"{len(piece):x}\r\n".encode() + piece + b"\r\n", hang_up=True), api="chat", streamed=True
    )

    assert isinstance(error, ConnectionLostError)


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("responses", good("responses", streamed=True).rstrip(b"\n")),
        ("responses", good("responses", streamed=True).replace(b"\n", b"\r\n")),
        ("responses", good("responses", streamed=True) + b"data: [DONE]\n\n"),
        ("responses", good("responses", streamed=True) + events({"type": "ping"})),
        ("chat", good("chat", streamed=True).rstrip(b"\n")),
        ("chat", good("chat", streamed=True).replace(b"\n", b"\r")),
        ("chat", good("chat", streamed=True).replace(b'"id"', b'\ndata: "id"')),
        ("chat", good("chat", streamed=True) + b": bye" * 40 + b"\n\n"),
        ("chat", b": hello\n\nevent: x\nid: 1\nretry: 5\n" + good("chat", streamed=True)),
    ],
)
async def test_stream_of_another_style_is_understood(api: Api, body: bytes) -> None:
    """Line ends, comments, events over several lines, no last blank line: all within the standard, or in use."""
    play = answer(body, content_type=EVENT_STREAM)

    async with wire_server(play) as server, open_world(server.url, api=api, params=STREAMED) as world:
        assert await world.role.ask("Well?") == "yes"

    assert world.records[0].usage is not None


@pytest.mark.parametrize("api", APIS)
async def test_stream_that_broke_off_is_asked_for_again(api: Api) -> None:
    """No half answer was handed on, so it can be."""
    whole = good(api, streamed=True)
    plays = (answer(whole[:200], content_type=EVENT_STREAM), well(api, streamed=True))

    async with wire_server(*plays) as server, open_world(server.url, api=api, params=STREAMED, max_attempts=2) as world:
        assert await world.role.ask("Well?") == "yes"

    assert world.errors == ["stream_truncated", None]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_answer_in_the_other_form_is_refused(api: Api, *, streamed: bool) -> None:
    """Whoever asked for events and gets an object, or the other way round, talks to something else."""
    play = answer(good(api, streamed=not streamed), content_type="application/json" if streamed else EVENT_STREAM)
    error, _ = await ask_badly(play, api=api, streamed=streamed)

    assert isinstance(error, ModelProtocolError)
