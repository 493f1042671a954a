"""Agent documents as a Trio program does them that has no pool: an asyncio loop for each, and keep-alive off.

A connection belongs to the loop it was made in. A client that many loops share may keep none, since the next request
would meet one of a closed loop; a client for each document has nobody to keep it for. Nothing is recorded.
"""

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from per_document_cpu import WARM_UP, text

if TYPE_CHECKING:
    import ssl

    from openai import AsyncOpenAI

SHARED, OWN = "shared-client", "own-client"


def _context(root_file: str) -> "ssl.SSLContext":
    import httpx2  # noqa: PLC0415 - the other processes do without

    made = httpx2.create_ssl_context(trust_env=False)
    made.load_verify_locations(root_file)
    return made


def _client(url: str, verify: "ssl.SSLContext", in_flight: int) -> "AsyncOpenAI":
    import httpx2  # noqa: PLC0415 - the other processes do without
    from openai import AsyncOpenAI  # noqa: PLC0415 - as above

    limits = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=0)
    http = httpx2.AsyncClient(verify=verify, limits=limits, trust_env=False, timeout=None)
    return AsyncOpenAI(api_key="none", base_url=url, http_client=http, max_retries=0, timeout=None)


def cpu(name: str, url: str, root_file: str, documents: int, in_flight: int) -> float:
    """Return CPU milliseconds per document, after a warm-up.

    Args:
        name: `SHARED` for one client and one TLS context, `OWN` for both anew with each document, as `AsyncOpenAI()`
            in the function that works on a document makes them.
        url: where the provider is.
        root_file: the certificate to trust besides the system's.
        documents: how many.
        in_flight: how many at once.
    """
    import agents  # noqa: PLC0415 - the other processes do without
    import trio  # noqa: PLC0415 - as above
    import trio_asyncio  # noqa: PLC0415 - as above

    def agent_of(client: "AsyncOpenAI") -> "agents.Agent[Any]":
        model = agents.OpenAIResponsesModel(model="gpt-5-mini", openai_client=client)
        settings = agents.ModelSettings(max_tokens=200)
        return agents.Agent(name="writer", instructions="Answer briefly.", model=model, model_settings=settings)

    agents.set_trace_processors([])
    shared = agent_of(_client(url, _context(root_file), in_flight)) if name == SHARED else None

    async def one(number: int) -> None:
        async with trio_asyncio.open_loop(), AsyncExitStack() as stack:
            agent = shared
            if agent is None:
                client = _client(url, _context(root_file), in_flight)
                stack.push_async_callback(trio_asyncio.aio_as_trio(client.close))
                agent = agent_of(client)
            await trio_asyncio.aio_as_trio(agents.Runner.run)(agent, text(number))

    async def work_on(count: int) -> None:
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await one(number)

        async with trio.open_nursery() as nursery:
            for _ in range(in_flight):
                nursery.start_soon(work)

    trio.run(work_on, WARM_UP)
    begun = time.process_time()
    trio.run(work_on, documents)
    return (time.process_time() - begun) / documents * 1000
