"""One request and its answer over the pool: what the answer's head says is noted, foreign errors become ours."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

import httpx2

from agent_pipeline.control.call import Attempt
from agent_pipeline.gateway.dispatch import DispatchNote
from agent_pipeline.gateway.failures import from_transport
from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.gateway.rate_headers import read_rate_headers

_LONGEST_REQUEST_ID = 200


@asynccontextmanager
async def exchanged(
    request: httpx2.Request,
    attempt: Attempt,
    *,
    pool: ConnectionPool,
    timeouts: Mapping[str, float | None],
    hide: Callable[[str], str],
) -> AsyncGenerator[httpx2.Response]:
    """Send one request of this attempt; the answer's head has come when the block begins, its body is read inside.

    Args:
        request: as it leaves.
        attempt: takes status, the provider's id of the request, and what the head says about limits.
        pool: of connections; the place is given back at the end, also on error and cancellation.
        timeouts: seconds by httpx2's names; None is unlimited.
        hide: takes the key out of what the other side said.

    Raises:
        ProviderError: whatever httpx2 raises, here or inside the block.
        LocalResourceError: this machine is out of descriptors or memory.
    """
    extensions = {"timeout": dict(timeouts), "trace": DispatchNote(attempt, pool.connections)}
    request.extensions = {**request.extensions, **extensions}
    try:
        async with pool.exchange(request) as response:
            attempt.status_code = response.status_code
            attempt.provider_request_id = _request_id(response.headers, hide)
            attempt.rate_headers = read_rate_headers(response.headers)
            yield response
    except Exception as exc:
        place = f"{request.url.host}:{request.url.port or request.url.scheme}"
        error = from_transport(exc, number=attempt.number, timeouts=timeouts, place=place, hide=hide)
        if error is exc:
            raise
        raise error from exc


def _request_id(headers: httpx2.Headers, hide: Callable[[str], str]) -> str | None:
    named = hide(headers.get("x-request-id", ""))[:_LONGEST_REQUEST_ID]
    return named if named and named.isascii() and named.isprintable() else None
