"""A provider made of bytes: says exactly what a test tells it to, on a socket of 127.0.0.1, and counts what it saw."""

import itertools
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

BACKLOG = 1024


class HangUpError(Exception):
    """Ends a connection after a reply."""


@dataclass(frozen=True)
class Seen:
    """One request, as it came."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header, None where it was not sent."""
        return dict(self.headers).get(name)


Play = Callable[[trio.abc.Stream], Awaitable[None]]


@dataclass
class WireServer:
    """Plays one script entry per request, the last one again and again."""

    script: Sequence[Play]
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    most_connections: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def url(self) -> str:
        """What a provider's `base_url` would be."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serve one connection."""
        self.connections += 1
        self.open_connections += 1
        self.most_connections = max(self.most_connections, self.open_connections)
        try:
            buffer = b""
            while True:
                request, buffer = await read_request(stream, buffer)
                await self._reply(stream, request)
        except (HangUpError, trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            pass
        finally:
            self.open_connections -= 1
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _reply(self, stream: trio.abc.Stream, request: Seen) -> None:
        play = self.script[min(len(self.seen), len(self.script) - 1)]
        self.seen.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        flight = _Flight(self)
        try:
            await play(_Landing(stream, flight))
        finally:
            flight.land()


@dataclass
class _Flight:
    server: WireServer
    is_open: bool = True

    def land(self) -> None:
        if self.is_open:
            self.is_open = False
            self.server.in_flight -= 1


class _Landing(trio.abc.Stream):
    """Counts a request as over once its reply is handed to the system, so that the next one is never counted twice."""

    def __init__(self, inner: trio.abc.Stream, flight: _Flight) -> None:
        self.inner = inner
        self._flight = flight

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._flight.land()
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.inner.aclose()


async def read_request(stream: trio.abc.Stream, buffer: bytes) -> tuple[Seen, bytes]:
    """Read one request with its body; return it and what came after it."""
    while b"\r\n\r\n" not in buffer:
        buffer += await _more(stream)
    head, _, rest = buffer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = tuple((name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    length = int(dict(headers).get("content-length", "0"))
    while len(rest) < length:
        rest += await _more(stream)
    method, target, _ = first.split(" ")
    return Seen(method, target, headers, rest[:length]), rest[length:]


async def _more(stream: trio.abc.Stream) -> bytes:
    data = bytes(await stream.receive_some(65536))
    if not data:
        raise HangUpError
    return data


@asynccontextmanager
async def wire_server(*script: Play, context: ssl.SSLContext | None = None) -> AsyncGenerator[WireServer]:
    """Serve until the block ends."""
    server = WireServer(script)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=BACKLOG)
    server.port = listeners[0].socket.getsockname()[1]

    async def handle(stream: trio.SocketStream) -> None:
        await server.handle(stream if context is None else trio.SSLStream(stream, context, server_side=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        yield server
        nursery.cancel_scope.cancel()


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that the other side does."""
    with trio.fail_after(10):
        while True:
            if condition():
                return
            await trio.sleep(0.001)


# --- plays -------------------------------------------------------------------------------------------------------


def http(
    body: bytes, *, status: int = 200, content_type: str | None = "application/json", headers: Sequence[str] = ()
) -> bytes:
    """Return a whole HTTP response with the length of its body."""
    lines = [f"HTTP/1.1 {status} Said", *headers, f"content-length: {len(body)}"]
    if content_type is not None:
        lines.append(f"content-type: {content_type}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def say(data: bytes, *, hang_up: bool = False) -> Play:
    """Send these bytes; then close the connection, or keep it."""

    async def play(stream: trio.abc.Stream) -> None:
        await stream.send_all(data)
        if hang_up:
            raise HangUpError

    return play


def answer(
    body: bytes, *, status: int = 200, content_type: str | None = "application/json", headers: Sequence[str] = ()
) -> Play:
    """Answer and keep the connection."""
    return say(http(body, status=status, content_type=content_type, headers=headers))


def reset_after(data: bytes) -> Play:
    """Send these bytes, then reset the connection."""

    async def play(stream: trio.abc.Stream) -> None:
        if data:
            await stream.send_all(data)
            await trio.sleep(0.05)  # let them arrive: a reset discards what is on its way
        assert isinstance(stream, _Landing)
        assert isinstance(stream.inner, trio.SocketStream)
        stream.inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise HangUpError

    return play


def drip(data: bytes, period: float) -> Play:
    """Send one byte per period."""

    async def play(stream: trio.abc.Stream) -> None:
        for position in range(len(data)):
            await stream.send_all(data[position : position + 1])
            await trio.sleep(period)

    return play


def hold(data: bytes, release: trio.Event) -> Play:
    """Send these bytes once released."""

    async def play(stream: trio.abc.Stream) -> None:
        await release.wait()
        await stream.send_all(data)

    return play


def hang(data: bytes = b"") -> Play:
    """Send these bytes, then nothing more, until the client leaves."""

    async def play(stream: trio.abc.Stream) -> None:
        if data:
            await stream.send_all(data)
        while await stream.receive_some(65536):
            pass
        raise HangUpError

    return play


def ping(body: bytes, *, every: float, before: int | None = None) -> Play:
    """Begin an event stream, send comments, then the body; without `before`, comments until the client leaves."""

    async def play(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for _ in itertools.count() if before is None else range(before):
            await stream.send_all(b": ping\n\n")
            await trio.sleep(every)
        await stream.send_all(body)
        raise HangUpError

    return play
