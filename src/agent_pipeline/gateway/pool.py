"""HTTP connections owned by Trio: they outlive every document's loop, and one TLS context serves them all."""

import functools
import heapq
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
import trio

from agent_pipeline.gateway.dispatch import Connections

KEEPALIVE_EXPIRY = 4.0
"""Seconds an idle connection is kept. Uvicorn and Node close theirs after 5, and a request that crosses such a close
is lost unanswered, to be paid in full; a handshake costs less."""


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A snapshot: exchanges going on, the most at once so far, and transports made."""

    active: int
    peak: int
    transports: int


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Build the process's one TLS context, as httpx2 does by default; costs tens of milliseconds, once."""
    return httpx2.create_ssl_context(trust_env=False)


def one_connection(context: ssl.SSLContext | None = None, *, keepalive: int = 1) -> httpx2.AsyncBaseTransport:
    """Return a transport of one connection; `context` is whom it trusts, `keepalive` 0 closes it after each answer."""
    limits = httpx2.Limits(max_connections=1, max_keepalive_connections=keepalive, keepalive_expiry=KEEPALIVE_EXPIRY)
    return httpx2.AsyncHTTPTransport(verify=context or tls_context(), trust_env=False, limits=limits, retries=0)


class _Places:
    """One host's transports, of which the first free one is used."""

    def __init__(self) -> None:
        self.transports: list[httpx2.AsyncBaseTransport] = []
        self.free: list[int] = []


class ConnectionPool:
    """A transport for each exchange at once with a host; the first free one is used first.

    So successive requests share one connection, and one host never has more connections than requests at once. A
    pool of httpx2 looks at all its connections on each request (is it still open?), so each of ours holds one.

    Args:
        make_transport: builds one; another is given where no network is wanted.

    Attributes:
        connections: the sockets opened for its exchanges.
    """

    def __init__(self, make_transport: Callable[[], httpx2.AsyncBaseTransport] = one_connection) -> None:
        self.connections = Connections()
        self._make_transport = make_transport
        self._hosts: dict[tuple[str, str, int | None], _Places] = {}
        self._active = 0
        self._peak = 0

    @asynccontextmanager
    async def exchange(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Response]:
        """Send one request; the response is closed and its place free when the block ends, however it ends."""
        url = request.url
        places = self._hosts.get(host := (url.scheme, url.host, url.port))
        if places is None:
            places = self._hosts[host] = _Places()
        if not places.free:
            places.transports.append(self._make_transport())
            places.free.append(len(places.transports) - 1)
        place = heapq.heappop(places.free)
        self._active += 1
        self._peak = max(self._peak, self._active)
        try:
            response = await places.transports[place].handle_async_request(request)
            try:
                yield response
            finally:
                await response.aclose()
        finally:
            heapq.heappush(places.free, place)
            self._active -= 1

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._transports():
            await transport.aclose()

    def statistics(self) -> PoolStatistics:
        """Snapshot of the pool."""
        return PoolStatistics(active=self._active, peak=self._peak, transports=len(self._transports()))

    def _transports(self) -> list[httpx2.AsyncBaseTransport]:
        return [transport for places in self._hosts.values() for transport in places.transports]


@asynccontextmanager
async def open_pool(make_pool: Callable[[], ConnectionPool] = ConnectionPool) -> AsyncGenerator[ConnectionPool]:
    """Open a pool; all its connections are closed at the end, also on cancellation."""
    pool = make_pool()
    try:
        yield pool
    finally:
        with trio.CancelScope(shield=True):
            await pool.aclose()
