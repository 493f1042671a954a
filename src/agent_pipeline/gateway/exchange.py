"""One request and its answer over the pool: what the answer's head says is noted, foreign errors become ours."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2

from agent_pipeline.control.call import Attempt
from agent_pipeline.gateway.asker import ASKER, Asker
from agent_pipeline.gateway.binding import Binding
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
    binding: Binding,
) -> AsyncGenerator[httpx2.Response]:
    """Send one request of this attempt; the answer's head has come when the block begins, its body is read inside.

    Args:
        request: as it leaves.
        attempt: takes status, the provider's id of the request, and what the head says about limits.
        pool: of connections; the place is given back at the end, also on error and cancellation.
        binding: has the timeouts, and takes the key out of what the other side said.

    Raises:
        ProviderError: whatever httpx2 raises, here or inside the block.
        LocalResourceError: this machine is out of descriptors or memory.
    """
    extensions = {
        "timeout": dict(binding.timeouts),
        "trace": DispatchNote(attempt, pool.connections),
        ASKER: Asker(binding.role, binding.provider, attempt),
    }
    request.extensions = {**request.extensions, **extensions}
    try:
        async with pool.exchange(request) as response:
            attempt.status_code = response.status_code
            attempt.provider_request_id = _request_id(response.headers, binding)
            attempt.rate_headers = read_rate_headers(response.headers)
            yield response
    except Exception as exc:
        place = f"{request.url.host}:{request.url.port or request.url.scheme}"
        error = from_transport(exc, number=attempt.number, timeouts=binding.timeouts, place=place, hide=binding.hide)
        if error is exc:
            raise
        raise error from exc


def _request_id(headers: httpx2.Headers, binding: Binding) -> str | None:
    named = binding.hide(headers.get("x-request-id", ""))[:_LONGEST_REQUEST_ID]
    return named if named and named.isascii() and named.isprintable() else None
