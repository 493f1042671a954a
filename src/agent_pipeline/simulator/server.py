"""The simulator on a socket: a thin Trio server over h11, loopback only."""

import ipaddress
import logging
import socket
import struct
from collections.abc import Iterable
from typing import Final

import h11
import trio

from agent_pipeline.errors import ConfigError
from agent_pipeline.simulator.rules import STATISTICS_PATH, Simulator
from agent_pipeline.simulator.statistics import Statistics
from agent_pipeline.simulator.wire import MAX_BODY_BYTES, SimulatorReply, SimulatorRequest

MAX_HEAD_BYTES: Final = 64 * 1024
BACKLOG: Final = 4096
IDLE_TIMEOUT: Final = 300.0
"""Seconds a connection may be silent between two requests."""
RECEIVE_TIMEOUT: Final = 60.0
"""Seconds a request may take from its first byte to its last."""
SEND_TIMEOUT: Final = 60.0
"""Seconds a client may take to accept one piece of a reply."""
_READ_BYTES: Final = 64 * 1024
_JOIN_BYTES: Final = 64 * 1024
_DRAIN_TIMEOUT: Final = 1.0

_logger = logging.getLogger(__name__)


class _ClientGoneError(Exception):
    """The client closed its connection, or does not take part any more."""


class _RefusedError(Exception):
    """The request can't be taken in; the connection ends after the reply."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


async def serve(
    simulator: Simulator,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; `nursery.start` returns the port once connections are accepted.

    On cancellation every socket is closed, replies under way are cut off.

    Raises:
        ConfigError: `host` is not a loopback address; nothing was opened.
        OSError: the port can't be bound.
    """
    listeners = await trio.open_tcp_listeners(port, host=_loopback(host), backlog=BACKLOG)

    async def handle(stream: trio.SocketStream) -> None:
        await _Connection(simulator, stream).run()

    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(handle, listeners)


def _loopback(host: str) -> str:
    address = "127.0.0.1" if host == "localhost" else host
    try:
        is_loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ConfigError(f"the simulator listens on a loopback address only, not on {host!r}", key="host")
    return address


class _Tally:
    """What one connection adds to the statistics; every step may be repeated and counts once."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._is_open = False
        self._in_flight = False

    def open(self) -> None:
        if not self._is_open:
            self._is_open = True
            self._statistics.connection_opened()

    def start_request(self) -> None:
        self.open()
        self._in_flight = True
        self._statistics.request_started()

    def end_request(self) -> None:
        if self._in_flight:
            self._in_flight = False
            self._statistics.request_ended()

    def close(self) -> None:
        self.end_request()
        if self._is_open:
            self._is_open = False
            self._statistics.connection_closed()


class _Connection:
    """One client. Whatever it does wrong ends this connection and nothing else."""

    def __init__(self, simulator: Simulator, stream: trio.SocketStream) -> None:
        self._simulator = simulator
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._tally = _Tally(simulator.statistics)
        self._path = ""

    async def run(self) -> None:
        try:
            while await self._serve_one():
                self._http.start_next_cycle()
        except (_ClientGoneError, trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            _logger.debug("a client left before its reply was whole")
        except h11.LocalProtocolError:
            _logger.exception("the simulator could not frame a reply")
        finally:
            self._tally.close()
            await trio.aclose_forcefully(self._stream)

    async def _serve_one(self) -> bool:
        """Serve one request; False when the connection is at its end."""
        try:
            request = await self._receive()
        except h11.RemoteProtocolError as exc:
            await self._refuse(exc.error_status_hint, f"The request is not HTTP: {exc}.")
            return False
        except _RefusedError as exc:
            await self._refuse(exc.status, exc.message)
            return False
        if request is None:
            return False
        if not request.path.startswith(STATISTICS_PATH):
            self._tally.start_request()
        try:
            reply = self._simulator.respond(request)
        except Exception:
            # The border of the process: a bug in the rules costs this one request, loudly.
            _logger.exception("the simulator failed on %s %s", request.method, request.path)
            reply = self._simulator.refuse(500, "The simulator itself failed.", path=request.path)
        await self._play(reply, is_head=request.method == "HEAD")
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    # --- receiving -----------------------------------------------------------------------------------------------

    async def _receive(self) -> SimulatorRequest | None:
        """Return the next request with its whole body, None when the client closed between requests."""
        self._path = ""
        event = await self._first_event()
        if not isinstance(event, h11.Request):
            return None
        self._path = event.target.decode("ascii", "replace")
        if not self._path.startswith(STATISTICS_PATH):
            self._tally.open()
        parts: list[bytes] = []
        with trio.move_on_after(RECEIVE_TIMEOUT):
            await self._receive_body(event, parts)
            headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers)
            return SimulatorRequest(event.method.decode("ascii"), self._path, headers, b"".join(parts))
        raise _RefusedError(408, "The request did not arrive in time.")

    async def _first_event(self) -> h11.Event:
        with trio.move_on_after(IDLE_TIMEOUT) as scope:
            while True:
                event = self._next_event()
                if event is not None:
                    return event
                await self._read()
                scope.deadline = min(scope.deadline, trio.current_time() + RECEIVE_TIMEOUT)
        raise _ClientGoneError

    async def _receive_body(self, request: h11.Request, parts: list[bytes]) -> None:
        declared = next((int(value) for name, value in request.headers if name == b"content-length"), 0)
        if declared > MAX_BODY_BYTES:
            raise _RefusedError(413, f"The body is longer than {MAX_BODY_BYTES} bytes.")
        size = 0
        while True:
            event = self._next_event()
            if event is None:
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
                await self._read()
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > MAX_BODY_BYTES:
                    raise _RefusedError(413, f"The body is longer than {MAX_BODY_BYTES} bytes.")
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise _ClientGoneError

    def _next_event(self) -> h11.Event | None:
        event = self._http.next_event()
        return event if isinstance(event, h11.Event) else None

    async def _read(self) -> None:
        self._http.receive_data(await self._stream.receive_some(_READ_BYTES))

    # --- replying ------------------------------------------------------------------------------------------------

    async def _refuse(self, status: int, message: str) -> None:
        """Answer a request that could not be taken in, and let the client read that before the connection ends."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        self._tally.open()
        reply = self._simulator.refuse(status, message, path=self._path)
        await self._play(SimulatorReply(reply.status, (*reply.headers, ("connection", "close")), reply.steps))
        with trio.move_on_after(_DRAIN_TIMEOUT):
            await self._stream.send_eof()
            while await self._stream.receive_some(_READ_BYTES):
                pass  # closing on unread bytes would reset the connection under the reply

    async def _play(self, reply: SimulatorReply, *, is_head: bool = False) -> None:
        await self._wait(reply.delay)
        pending = b""
        if reply.status is not None:
            pending = self._http.send(h11.Response(status_code=reply.status, headers=list(reply.headers))) or b""
        for data, delay in () if is_head else _joined(reply):
            if delay > 0:
                await self._send(pending)
                pending = b""
                await self._wait(delay)
            elif len(pending) >= _JOIN_BYTES:
                await self._send(pending)
                pending = b""
            pending += self._http.send(h11.Data(data=data)) or b""
        if reply.ending == "complete":
            pending += self._http.send(h11.EndOfMessage()) or b""
            self._tally.end_request()
            await self._send(pending)
            return
        await self._send(pending)
        if reply.ending == "hang":
            await self._until_client_leaves()
        await self._reset()

    async def _send(self, data: bytes | None) -> None:
        if not data:
            return
        with trio.move_on_after(SEND_TIMEOUT):
            await self._stream.send_all(data)
            return
        raise _ClientGoneError

    async def _wait(self, delay: float) -> None:
        """Sleep, but not for a client that has gone: what it waited for is over."""
        if delay <= 0:
            return
        until = trio.current_time() + delay
        with trio.move_on_at(until):
            await trio.lowlevel.wait_readable(self._stream.socket)
            if await self._is_closed():
                raise _ClientGoneError
            await trio.sleep_until(until)  # it sent the next request already

    async def _is_closed(self) -> bool:
        return not await self._stream.socket.recv(1, socket.MSG_PEEK)

    async def _until_client_leaves(self) -> None:
        while await self._stream.receive_some(_READ_BYTES):
            pass

    async def _reset(self) -> None:
        self._tally.end_request()
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _ClientGoneError


def _joined(reply: SimulatorReply) -> Iterable[tuple[bytes, float]]:
    """Yield the steps, those without a delay joined to the one before: one chunk, one write."""
    parts: list[bytes] = []
    size, delay = 0, 0.0
    for step in reply.steps:
        if parts and (step.delay > 0 or size >= _JOIN_BYTES):
            yield b"".join(parts), delay
            parts, size, delay = [], 0, step.delay
        elif not parts:
            delay = step.delay
        parts.append(step.data)
        size += len(step.data)
    if parts:
        yield b"".join(parts), delay
