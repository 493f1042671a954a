"""Listens to httpx2 while it makes one exchange: whether bytes may have left, and that no socket is left behind."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from agent_pipeline.control.gate import Attempt


@runtime_checkable
class _Connected(Protocol):
    """A connection as httpx2's trace gives it."""

    def get_extra_info(self, info: str, /) -> object: ...


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> object: ...


class DispatchNote:
    """The `trace` of one request.

    A request counts as dispatched from the moment its first byte is about to be sent. A TLS handshake that is cancelled
    leaves its socket to the garbage collector (httpcore2 closes it on errors only), so it is closed here.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._connection: object = None

    async def __call__(self, event: str, info: Mapping[str, object]) -> None:
        """Take one event."""
        match event.partition(".")[2]:
            case "send_request_headers.started":
                self._attempt.dispatched = True
            case "connect_tcp.complete":
                self._connection = info.get("return_value")
            case "start_tls.complete":
                self._connection = None
            case "start_tls.failed":
                self._close()

    def _close(self) -> None:
        if isinstance(self._connection, _Connected):
            socket = self._connection.get_extra_info("socket")
            if isinstance(socket, _Closable):
                socket.close()
