"""Streams of providers behind any-llm: chunks come as they are said, and what was handed on is never said again."""

from functools import partial

import pytest
import trio
from any_llm.types.completion import ChatCompletionChunk
from tests.gateway.anthropic_bodies import beginning, end, head, refusal, trouble
from tests.gateway.foreign_world import KEY, KEY_VARIABLE, open_foreign
from tests.gateway.wire_server import HangUpError, Play, WireServer, hang, reset_after, say, wait_until, wire_server

from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import CredentialsRejectedError, ServerError, StreamBrokenError, StreamTruncatedError

OPEN = partial(open_foreign, "anthropic", params={"max_tokens": 64})
WELL = say(head() + beginning("one ", "two ", "three") + end(), hang_up=True)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


def _at(server: WireServer) -> str:
    return server.url.removesuffix("/v1")


class Words:
    """Takes chunks; remembers their words, and in which task's loop they came."""

    def __init__(self) -> None:
        self.chunks: list[object] = []
        self.said: list[str] = []

    def __call__(self, chunk: object) -> None:
        trio.lowlevel.current_clock()  # raises where this is not Trio's thread
        assert isinstance(chunk, ChatCompletionChunk)
        self.chunks.append(chunk)
        self.said += [choice.delta.content for choice in chunk.choices if choice.delta.content]


async def test_chunks_come_as_they_are_in_order_and_are_charged_as_reported() -> None:
    """The usage is in the last one."""
    words = Words()
    async with wire_server(WELL) as server, OPEN(_at(server)) as world:
        await world.stream(words)

    assert words.said == ["one ", "two ", "three"]
    (record,) = world.records
    assert (record.path, record.usage, record.charged_tokens) == ("any-llm/stream", Usage(11, 5), 16)


async def test_chunk_is_there_before_the_next_one_was_said() -> None:
    """Whoever shows words as they come waits for none that are not there yet."""
    release, words = trio.Event(), Words()

    async def play(stream: trio.abc.Stream) -> None:
        await stream.send_all(head() + beginning("one "))
        await release.wait()
        await stream.send_all(beginning("two").split(b"\n\n", 2)[2] + end())
        raise HangUpError

    async with wire_server(play) as server, OPEN(_at(server)) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.stream, words)
        await wait_until(lambda: words.said == ["one "])
        release.set()

    assert words.said == ["one ", "two"]


@pytest.mark.parametrize(
    "play",
    [
        reset_after(head() + beginning("one ")),
        say(head() + beginning("one ") + trouble("overloaded_error", "Overloaded"), hang_up=True),
        say(head() + beginning("one "), hang_up=True),
    ],
    ids=["reset", "error inside", "without its end"],
)
async def test_stream_that_breaks_after_its_first_chunk_is_not_asked_for_again(play: Play) -> None:
    """The words before would be said twice."""
    words = Words()
    async with wire_server(play) as server, OPEN(_at(server), max_attempts=3) as world:
        with pytest.raises(StreamBrokenError) as caught:
            await world.stream(words)

        assert len(server.seen) == 1
    assert words.said == ["one "]
    assert (caught.value.code, caught.value.disposition) == ("stream_broken", "fail_document")
    (record,) = world.records
    assert (record.outcome, record.charged_tokens) == ("failed", record.reserved_tokens)


async def test_stream_that_takes_too_long_is_not_asked_for_again() -> None:
    """The bound on an attempt is the gate's, which has to know of the first chunk."""
    words = Words()
    async with (
        wire_server(hang(head() + beginning("one "))) as server,
        OPEN(_at(server), max_attempts=3, attempt_timeout=0.3) as world,
    ):
        with pytest.raises(StreamBrokenError, match="attempt timeout"):
            await world.stream(words)

        assert len(server.seen) == 1
        await wait_until(lambda: server.open_connections == 0)
    assert (words.said, world.errors) == (["one "], ["attempt_timeout"])


@pytest.mark.parametrize(
    "play",
    [
        say(refusal(529, "overloaded_error", "Overloaded")),
        say(head() + trouble("overloaded_error", "Overloaded"), hang_up=True),
        say(head(), hang_up=True),
        reset_after(head()),
    ],
    ids=["status", "error at once", "nothing", "reset"],
)
async def test_stream_that_fails_before_its_first_chunk_is_asked_for_again(play: Play) -> None:
    """Nothing was handed on."""
    words = Words()
    async with wire_server(play, WELL) as server, OPEN(_at(server), max_attempts=2) as world:
        await world.stream(words)

        assert len(server.seen) == 2
    assert words.said == ["one ", "two ", "three"]


@pytest.mark.parametrize(
    ("kind", "wanted"), [("overloaded_error", ServerError), ("authentication_error", CredentialsRejectedError)]
)
async def test_error_inside_a_stream_is_told_by_its_type(kind: str, wanted: type[Exception]) -> None:
    """Its status says 200."""
    async with (
        wire_server(say(head() + trouble(kind, "No."), hang_up=True)) as server,
        OPEN(_at(server)) as world,
    ):
        with pytest.raises(wanted):
            await world.stream(Words())

    (record,) = world.records
    assert record.charged_tokens == record.reserved_tokens, "it was answered, and may be billed"


async def test_empty_stream_is_truncated() -> None:
    """No chunk is no answer."""
    async with wire_server(say(head(), hang_up=True)) as server, OPEN(_at(server)) as world:
        with pytest.raises(StreamTruncatedError):
            await world.stream(Words())


async def test_what_the_taker_raises_ends_the_stream_and_comes_out() -> None:
    """It wants no more; the rest is not waited for."""
    error = KeyError("enough")

    def take(chunk: object) -> None:
        if isinstance(chunk, ChatCompletionChunk) and chunk.choices and chunk.choices[0].delta.content:
            raise error

    async with wire_server(hang(head() + beginning("one "))) as server, OPEN(_at(server)) as world:
        with pytest.raises(KeyError) as caught:
            await world.stream(take)

        assert caught.value is error
        await wait_until(lambda: server.open_connections == 0)
    assert world.errors == ["KeyError"]


async def test_cancelled_stream_hands_nothing_on_any_more() -> None:
    """Whoever left is not told of what came later; the other side has ended by then."""
    words = Words()
    async with wire_server(hang(head() + beginning("one "))) as server, OPEN(_at(server)) as world:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.stream, words)
            await wait_until(lambda: words.said)
            nursery.cancel_scope.cancel()
        count = len(words.chunks)
        await wait_until(lambda: server.open_connections == 0)
        await trio.sleep(0.05)

    assert len(words.chunks) == count
    assert world.records[0].outcome == "cancelled"


async def test_streams_at_once_keep_their_chunks_apart() -> None:
    """They share one loop."""

    def play(word: str) -> Play:
        return say(head() + beginning(*[word] * 50) + end(), hang_up=True)

    takers = [Words() for _ in range(8)]
    script = [play(str(number)) for number in range(8)]
    async with wire_server(*script) as server, OPEN(_at(server)) as world, trio.open_nursery() as nursery:
        for taker in takers:
            nursery.start_soon(world.stream, taker)

    assert sorted(taker.said[0] for taker in takers) == [str(number) for number in range(8)]
    assert all(len(taker.said) == 50 and len(set(taker.said)) == 1 for taker in takers)
