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

SHARD_CONNECTIONS = 16
"""The pool of httpx2 looks at all its connections on each request, so many small pools cost less than a large one."""

KEEPALIVE_EXPIRY = 4.0
"""Seconds an idle connection is kept. Uvicorn and Node close theirs after 5, and a request that crosses such a close
is lost unanswered, to be paid in full; a handshake costs less."""


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A snapshot: exchanges going on, the most at once so far, and shards made."""

    active: int
    peak: int
    shards: int


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Build the process's one TLS context, as httpx2 does by default; costs tens of milliseconds, once."""
    return httpx2.create_ssl_context(trust_env=False)


def _shard() -> httpx2.AsyncBaseTransport:
    limits = httpx2.Limits(
        max_connections=SHARD_CONNECTIONS,
        max_keepalive_connections=SHARD_CONNECTIONS,
        keepalive_expiry=KEEPALIVE_EXPIRY,
    )
    return httpx2.AsyncHTTPTransport(verify=tls_context(), trust_env=False, limits=limits, retries=0)


class ConnectionPool:
    """Shards of a few connections each; the lowest free place is used first.

    So successive requests share one connection, and one host never has more connections than requests at once.

    Args:
        make_shard: builds one shard's transport; another one is given where no network is wanted.

    Attributes:
        connections: the sockets opened for its exchanges.
    """

    def __init__(self, make_shard: Callable[[], httpx2.AsyncBaseTransport] = _shard) -> None:
        self.connections = Connections()
        self._make_shard = make_shard
        self._shards: list[httpx2.AsyncBaseTransport] = []
        self._free: list[int] = []
        self._places = 0

    @asynccontextmanager
    async def exchange(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Response]:
        """Send one request; the response is closed and its place free when the block ends, however it ends."""
        place = self._take()
        try:
            response = await self._shards[place // SHARD_CONNECTIONS].handle_async_request(request)
            try:
                yield response
            finally:
                await response.aclose()
        finally:
            heapq.heappush(self._free, place)

    def _take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        place = self._places
        if place // SHARD_CONNECTIONS == len(self._shards):
            self._shards.append(self._make_shard())
        self._places += 1
        return place

    async def aclose(self) -> None:
        """Close all connections."""
        for shard in self._shards:
            await shard.aclose()

    def statistics(self) -> PoolStatistics:
        """Snapshot of the pool."""
        return PoolStatistics(active=self._places - len(self._free), peak=self._places, shards=len(self._shards))


@asynccontextmanager
async def open_pool(make_pool: Callable[[], ConnectionPool] = ConnectionPool) -> AsyncGenerator[ConnectionPool]:
    """Open a pool; all its connections are closed at the end, also on cancellation."""
    pool = make_pool()
    try:
        yield pool
    finally:
        with trio.CancelScope(shield=True):
            await pool.aclose()
