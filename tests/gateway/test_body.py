"""Bodies are unpacked in bounded steps, up to the cap, and whatever comes with an error status never hides it."""

import gzip
import itertools
import zlib
from collections.abc import AsyncIterator

import httpx2
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from agent_pipeline.errors import AnswerTooLargeError, ModelProtocolError
from agent_pipeline.gateway.body import (
    REFUSAL_BYTES_CAP,
    REFUSAL_PATIENCE,
    BodyDecoder,
    EventWatch,
    read_answer,
    read_refusal,
)


class Wire(httpx2.AsyncByteStream):
    """A body that comes in pieces, each after a delay."""

    def __init__(self, *pieces: bytes, delay: float = 0.0, breaks: bool = False) -> None:
        self.pieces = pieces
        self.delay = delay
        self.breaks = breaks
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces until closed."""
        for piece in self.pieces:
            await trio.sleep(self.delay)
            if self.closed:
                raise httpx2.ReadError("closed")
            yield piece
        if self.breaks:
            raise httpx2.RemoteProtocolError("cut off")

    async def aclose(self) -> None:
        """Remember it."""
        self.closed = True


def reply(
    wire: Wire, *, status: int = 200, encoding: str | None = None, content_type: str | None = None
) -> httpx2.Response:
    """Return a response with this body."""
    named = {"content-encoding": encoding, "content-type": content_type}
    headers = {name: value for name, value in named.items() if value is not None}
    return httpx2.Response(status, headers=headers, stream=wire)


@given(data=st.binary(max_size=2000), step=st.integers(min_value=1, max_value=500), packed=st.booleans())
def test_decoder_gives_back_what_was_packed(data: bytes, step: int, *, packed: bool) -> None:
    """However it is cut into pieces."""
    wire = gzip.compress(data) if packed else data
    decoder = BodyDecoder("gzip" if packed else None)

    for start in range(0, len(wire), step):
        decoder.feed(wire[start : start + step])

    assert decoder.body() == data


@given(size=st.integers(min_value=0, max_value=3_000_000), cap=st.integers(min_value=1, max_value=3_000_000))
def test_cap_counts_unpacked_bytes_exactly(size: int, cap: int) -> None:
    """One byte more is too much, one less is not; also past the steps it is unpacked in."""
    decoder = BodyDecoder("gzip", cap)
    wire = gzip.compress(bytes(size), compresslevel=1)

    if size > cap or len(wire) > cap:
        with pytest.raises(AnswerTooLargeError):
            decoder.feed(wire)
    else:
        decoder.feed(wire)
        assert len(decoder.body()) == size


def test_packed_bytes_that_unpack_to_nothing_are_counted_too() -> None:
    """Empty blocks without end would otherwise never pass the cap."""
    decoder = BodyDecoder("deflate", 10_000)
    empty_block = b"\x00\x00\x00\xff\xff"
    decoder.feed(b"\x78\x01" + empty_block * 1999)

    with pytest.raises(AnswerTooLargeError):
        decoder.feed(empty_block)


PACKED = gzip.compress(bytes(range(256)) * 20)


@given(cut=st.integers(min_value=1, max_value=len(PACKED) - 1))
def test_beginning_of_a_packed_body_is_no_body(cut: int) -> None:
    """A server that closes early ends a body without length just as well as one that is done."""
    decoder = BodyDecoder("gzip")
    decoder.feed(PACKED[:cut])

    with pytest.raises(ModelProtocolError, match="too early"):
        decoder.body()


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "gzip;q=1"])
def test_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    """Its bytes would be taken for text."""
    with pytest.raises(ModelProtocolError, match="not asked for"):
        BodyDecoder(encoding)


@pytest.mark.parametrize("encoding", ["GZIP", " gzip ", "x-gzip"])
def test_name_of_an_encoding_has_no_case(encoding: str) -> None:
    """RFC 9110, 8.4.1."""
    decoder = BodyDecoder(encoding)
    decoder.feed(gzip.compress(b"yes"))

    assert decoder.body() == b"yes"


async def test_answer_too_large_is_not_read_to_its_end() -> None:
    """The connection is closed first: nobody pays for the rest."""
    wire = Wire(*[bytes(1024 * 1024)] * 40)

    with pytest.raises(AnswerTooLargeError):
        await read_answer(reply(wire))

    assert wire.closed


@pytest.mark.parametrize(
    ("wire", "encoding", "expected"),
    [
        (Wire(b"because"), None, b"because"),
        (Wire(gzip.compress(b"because")), "gzip", b"because"),
        (Wire(b"because"), "gzip", b""),
        (Wire(b"because"), "br", b""),
        (Wire(b"be", b"cause", breaks=True), None, b"because"),
        (Wire(*[bytes(REFUSAL_BYTES_CAP)] * 9), None, bytes(REFUSAL_BYTES_CAP)),
    ],
)
async def test_reading_a_refusal_never_fails(wire: Wire, encoding: str | None, expected: bytes) -> None:
    """The status has said what matters; its text is a courtesy."""
    assert await read_refusal(reply(wire, status=429, encoding=encoding)) == expected


async def test_refusal_is_waited_for_a_little(mock_clock: MockClock) -> None:
    """A body that drips for an hour must not make a 401 an hour long."""
    mock_clock.autojump_threshold = 0
    wire = Wire(*[b"x"] * 1000, delay=0.3)

    text = await read_refusal(reply(wire, status=401))

    assert trio.current_time() == REFUSAL_PATIENCE
    assert text == b"x" * 6


async def test_cancelled_reading_stays_cancelled() -> None:
    """Cancelled is never turned into an error of ours."""
    for read in (read_answer, read_refusal):
        with trio.move_on_after(0.01) as scope:
            await read(reply(Wire(b"x", delay=60)))
        assert scope.cancelled_caught


async def test_only_an_async_stream_can_be_read() -> None:
    """A transport of the wrong kind is a bug of ours, and says so."""
    with pytest.raises(TypeError, match="can't be read"):
        await read_answer(httpx2.Response(200, stream=httpx2.SyncByteStream()))


# --- streams that go on without an event -------------------------------------------------------------------------

EVENT, PING = b'data: {"type": "x"}\n\n', b": ping\n\n"
LINES = [b": ping", b":", b"", b"", b"data: x", b"event: y", b"id"]


@given(
    lines=st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=12),
    cuts=st.lists(st.integers(min_value=0, max_value=100), max_size=12),
)
def test_only_lines_of_events_are_heard_however_they_are_cut(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    """Comments and blank lines keep a connection open, and say nothing of the model."""
    body = b"".join(line + end for line, end in lines)
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    watch = EventWatch()

    heard = [watch.hears(body[begin:end]) for begin, end in itertools.pairwise(places)]

    assert any(heard) == any(line and not line.startswith(b":") for line, _ in lines)
    assert not watch.hears(b"")
    assert not watch.hears(b"\n" + PING)


def test_line_that_goes_on_is_heard_for_as_long_as_it_does() -> None:
    """A large event comes in many pieces; so does a comment, which stays one."""
    watch = EventWatch()

    assert watch.hears(b"da")
    assert not watch.hears(b"")  # a packed body may bring bytes that unpack to nothing
    assert [watch.hears(part) for part in (b"ta", b": x", b":", b"\n")] == [True] * 4
    assert [watch.hears(part) for part in (b"\n", b":", b" pi", b"data: ng", b"\n")] == [False] * 5


@pytest.mark.parametrize("encoding", [None, "gzip"])
async def test_stream_without_an_event_ends_exactly_at_the_timeout(mock_clock: MockClock, encoding: str | None) -> None:
    """A proxy that keeps the connection open is not the model at work; packed or not."""
    mock_clock.autojump_threshold = 0
    pieces = [PING] * 1000
    if encoding:
        packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
        pieces = [packer.compress(PING) + packer.flush(zlib.Z_SYNC_FLUSH) for _ in pieces]
    wire = Wire(*pieces, delay=3)

    with pytest.raises(httpx2.ReadTimeout):
        await read_answer(reply(wire, encoding=encoding, content_type="text/event-stream"), event_timeout=20)

    assert trio.current_time() == 20


async def test_each_event_begins_the_timeout_anew(mock_clock: MockClock) -> None:
    """A model that thinks for long between two events is at work; the last silence is one too long."""
    mock_clock.autojump_threshold = 0
    wire = Wire(PING, PING, EVENT, *[PING, EVENT] * 9, *[PING] * 100, delay=6)

    with pytest.raises(httpx2.ReadTimeout):
        await read_answer(reply(wire, content_type="Text/Event-Stream; charset=utf-8"), event_timeout=20)

    assert trio.current_time() == 21 * 6 + 20


@pytest.mark.parametrize(
    ("content_type", "timeout"), [("application/json", 20), (None, 20), ("text/event-stream", None)]
)
async def test_only_event_streams_are_held_to_events(
    mock_clock: MockClock, content_type: str | None, timeout: float | None
) -> None:
    """Other bodies have none; without a read timeout nobody minds."""
    mock_clock.autojump_threshold = 0
    wire = Wire(*[PING] * 50, delay=6)

    assert await read_answer(reply(wire, content_type=content_type), event_timeout=timeout) == PING * 50

    assert trio.current_time() == 300


async def test_stream_that_is_too_large_is_not_read_to_its_end() -> None:
    """The cap holds while events are watched for, too."""
    wire = Wire(*[EVENT * 60_000] * 40)

    with pytest.raises(AnswerTooLargeError):
        await read_answer(reply(wire, content_type="text/event-stream"), event_timeout=20)

    assert wire.closed
