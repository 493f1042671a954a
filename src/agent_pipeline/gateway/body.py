"""Takes an answer's body off the wire: unpacked in bounded steps, never more of it than the cap, never in silence."""

import math
import re
import zlib
from collections.abc import AsyncIterator, Callable

import httpx2
import trio

from agent_pipeline.errors import AnswerTooLargeError, ModelProtocolError

DECODED_BYTES_CAP = 16 * 1024 * 1024
"""Longest answer taken, after decompression."""

REFUSAL_BYTES_CAP = 64 * 1024
"""As much is read of the text that comes with an error status."""

REFUSAL_PATIENCE = 2.0
"""Seconds that text may take: the status has said what matters."""

_STEP_BYTES = 256 * 1024


class BodyDecoder:
    """Collects a body up to the cap, unpacking gzip in bounded steps so that a bomb never unfolds."""

    def __init__(self, encoding: str | None, cap_bytes: int = DECODED_BYTES_CAP) -> None:
        encoding = (encoding or "identity").strip().lower()
        if encoding not in {"identity", "gzip", "x-gzip", "deflate"}:
            raise ModelProtocolError(f"the answer has content-encoding {encoding[:40]!r}, which was not asked for")
        self._unpack = None if encoding == "identity" else zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        self._cap_bytes = cap_bytes
        self._parts: list[bytes] = []
        self._wire_bytes = 0
        self._size_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next raw bytes; return what they unpack to.

        Raises:
            AnswerTooLargeError: the body passed the cap, packed or unpacked.
            ModelProtocolError: the body is not what its content-encoding says.
        """
        self._wire_bytes += len(data)
        self._check_cap(self._wire_bytes)
        known = len(self._parts)
        if self._unpack is None:
            self._keep(data)
            return self._parts[known:]
        try:
            self._keep(self._unpack.decompress(data, _STEP_BYTES))
            while self._unpack.unconsumed_tail:
                self._keep(self._unpack.decompress(self._unpack.unconsumed_tail, _STEP_BYTES))
        except zlib.error as exc:
            raise ModelProtocolError(f"the answer can't be decompressed: {exc}") from exc
        if self._unpack.unused_data:
            raise ModelProtocolError("the compressed answer goes on after its end")
        return self._parts[known:]

    def body(self) -> bytes:
        """Return the whole body.

        Raises:
            ModelProtocolError: it is packed, and its end is missing.
        """
        if self._unpack is not None and self._wire_bytes and not self._unpack.eof:
            raise ModelProtocolError("the compressed answer ends too early")
        return self.read_so_far()

    def read_so_far(self) -> bytes:
        """Return what has come, whole or not."""
        return b"".join(self._parts)

    def _keep(self, part: bytes) -> None:
        self._size_bytes += len(part)
        self._check_cap(self._size_bytes)
        self._parts.append(part)

    def _check_cap(self, size_bytes: int) -> None:
        if size_bytes > self._cap_bytes:
            raise AnswerTooLargeError(f"the answer is longer than {self._cap_bytes} bytes")


class EventWatch:
    """Tells events from what is sent only to keep a connection open: comments (`: ping`) and blank lines."""

    def __init__(self) -> None:
        self._line = b""

    def hears(self, part: bytes) -> bool:
        """Take the next part of an event stream; return whether any of it belongs to an event."""
        begun = self._line + part
        self._line = begun[max(begun.rfind(b"\n"), begun.rfind(b"\r")) + 1 :][:1]  # what kind of line goes on
        return bool(part) and _EVENT_LINE.search(begun) is not None


_EVENT_LINE = re.compile(rb"(?:\A|[\r\n])[^:\r\n]")


async def read_answer(
    response: httpx2.Response, *, event_timeout: float | None = None, take: Callable[[bytes], None] | None = None
) -> bytes:
    """Return the whole body of an answer.

    Args:
        response: its head has come.
        event_timeout: seconds an event stream may go on without an event; None is unlimited.
        take: given an event stream's parts too, as they come.

    Raises:
        AnswerTooLargeError: it passed the cap; the rest was not read.
        ModelProtocolError: it is not what its content-encoding says.
        httpx2.ReadTimeout: bytes came, but no event.
        httpx2.TransportError: it broke off.
    """
    stream = stream_of(response)
    decoder = BodyDecoder(response.headers.get("content-encoding"))
    chunks = aiter(stream)
    is_event_stream = response.headers.get("content-type", "").lower().startswith("text/event-stream")
    try:
        if is_event_stream:
            await _take_events(chunks, decoder, math.inf if event_timeout is None else event_timeout, take)
        else:
            async for chunk in chunks:
                decoder.feed(chunk)
    except (AnswerTooLargeError, ModelProtocolError):
        await abandon(stream, chunks)
        raise
    return decoder.body()


async def _take_events(
    chunks: AsyncIterator[bytes], decoder: BodyDecoder, timeout: float, take: Callable[[bytes], None] | None
) -> None:
    watch = EventWatch()
    with trio.move_on_after(timeout) as scope:
        async for chunk in chunks:
            part = b"".join(decoder.feed(chunk))
            if watch.hears(part):
                scope.deadline = trio.current_time() + timeout
            if take is not None:
                take(part)
    if scope.cancelled_caught:
        raise httpx2.ReadTimeout("the stream went on without an event")


async def read_refusal(response: httpx2.Response) -> bytes:
    """Return what can be had of the text that comes with an error status: not much, not for long, never an error."""
    stream = stream_of(response)
    try:
        decoder = BodyDecoder(response.headers.get("content-encoding"), REFUSAL_BYTES_CAP)
    except ModelProtocolError:
        return b""
    chunks = aiter(stream)
    with trio.move_on_after(REFUSAL_PATIENCE):
        try:
            async for chunk in chunks:
                decoder.feed(chunk)
        except (AnswerTooLargeError, ModelProtocolError):
            await abandon(stream, chunks)
        except httpx2.TransportError:
            pass  # the status has said what matters
    return decoder.read_so_far()


def stream_of(response: httpx2.Response) -> httpx2.AsyncByteStream:
    """Return what an answer's body is read from."""
    stream = response.stream
    if not isinstance(stream, httpx2.AsyncByteStream):
        raise TypeError("the transport gave a response that can't be read under Trio")
    return stream


async def abandon(stream: httpx2.AsyncByteStream, chunks: AsyncIterator[bytes]) -> None:
    """Close the connection, then run the iteration into its end.

    A chain of generators that is merely left would be finalized by the garbage collector, which Trio warns of.
    """
    await stream.aclose()
    try:
        async for _ in chunks:
            pass
    except httpx2.TransportError:
        pass  # it is closed: that is the point
