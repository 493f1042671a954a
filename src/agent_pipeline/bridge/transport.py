"""The asyncio side of the transport: one hop to Trio per request, where the gate answers whole."""

import httpx2
from trio_asyncio import trio_as_aio


class GuestTransport(httpx2.AsyncBaseTransport):
    """Gives a transport that runs under Trio to a client that runs in a document's asyncio loop.

    It has no connections of its own, so nothing of it belongs to any loop: one serves all documents. Cancelling the
    asyncio call cancels the Trio side, and waits for it.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request through the inner transport."""
        response: httpx2.Response = await trio_as_aio(self._inner.handle_async_request)(request)
        return response
