"""The asyncio side of the transport: one hop to Trio per request, where the gate answers whole."""

from dataclasses import replace

import httpx2
from agents.tracing import get_current_span
from trio_asyncio import trio_as_aio

from agent_pipeline.control.scope import call_scope, current_scope

NO_SPAN = "no-op"
"""What the SDK calls a span that goes nowhere, where tracing is off."""


class GuestTransport(httpx2.AsyncBaseTransport):
    """Gives a transport that runs under Trio to a client that runs in a document's asyncio loop.

    It has no connections of its own, so nothing of it belongs to any loop: one serves all documents. Cancelling the
    asyncio call cancels the Trio side, and waits for it.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request through the inner transport; its attempts name the span that asks."""
        span = get_current_span()
        span_id = None if span is None or span.span_id == NO_SPAN else span.span_id
        with call_scope(replace(current_scope(), span_id=span_id)):
            response: httpx2.Response = await trio_as_aio(self._inner.handle_async_request)(request)
            return response
