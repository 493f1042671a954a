"""Listens to httpx2 while it makes one exchange: whether bytes may have left, and that no socket is left behind."""

import weakref
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from agent_pipeline.control.call import Attempt


@runtime_checkable
class _Connected(Protocol):
    """A connection as httpx2's trace gives it."""

    def get_extra_info(self, info: str, /) -> object: ...


@runtime_checkable
class _Socket(Protocol):
    def close(self) -> object: ...

    def fileno(self) -> int: ...


class Connections:
    """Counts the sockets that were opened for requests; they are looked at, not held.

    Attributes:
        opened: so far.
    """

    def __init__(self) -> None:
        self.opened = 0
        self._sockets: weakref.WeakSet[_Socket] = weakref.WeakSet()

    def add(self, socket: _Socket) -> None:
        """Count one that was just opened."""
        self.opened += 1
        self._sockets.add(socket)

    @property
    def closed(self) -> int:
        """Those that are closed by now; one that is gone from memory took its descriptor along."""
        return self.opened - sum(socket.fileno() != -1 for socket in self._sockets)


class DispatchNote:
    """The `trace` of one request.

    A request counts as dispatched from the moment its first byte is about to be sent. A TLS handshake that is cancelled
    leaves its socket to the garbage collector (httpcore2 closes it on errors only), so it is closed here.
    """

    def __init__(self, attempt: Attempt, connections: Connections) -> None:
        self._attempt = attempt
        self._connections = connections
        self._socket: _Socket | None = None

    async def __call__(self, event: str, info: Mapping[str, object]) -> None:
        """Take one event."""
        match event.partition(".")[2]:
            case "send_request_headers.started":
                self._attempt.dispatch()
            case "connect_tcp.complete":
                connection = info.get("return_value")
                socket = connection.get_extra_info("socket") if isinstance(connection, _Connected) else None
                if isinstance(socket, _Socket):
                    self._socket = socket
                    self._connections.add(socket)
            case "start_tls.complete":
                self._socket = None
            case "start_tls.failed" if self._socket is not None:
                self._socket.close()
