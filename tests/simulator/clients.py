"""Clients of the simulator's server that are not ours: httpx, AsyncOpenAI and raw bytes."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import trio
from openai import AsyncOpenAI

from agent_pipeline.simulator import Simulator
from agent_pipeline.simulator.json_values import JsonObject

Start = Callable[..., Awaitable[tuple[Simulator, int]]]


TEXT = "# Tides\n\nThe moon pulls the sea. The sun helps. Wind does the rest.\n"


ASK: JsonObject = {"model": "m", "input": TEXT}


STREAM: JsonObject = {**ASK, "stream": True}


PATH = "/v1/responses"


@asynccontextmanager
async def client_of(port: int) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=5) as client:
        yield client


@asynccontextmanager
async def openai_of(port: int) -> AsyncGenerator[AsyncOpenAI]:
    client = AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0, timeout=5)
    async with client:
        yield client


async def raw(port: int, *parts: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server closes."""
    received = b""
    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            for part in parts:
                await stream.send_all(part)
            async for data in stream:
                received += data
    return received


def posting(body: bytes, *headers: str) -> bytes:
    head = ["POST /v1/responses HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds of the statistics, which are figures without an event to wait for."""
    with trio.fail_after(10):
        while not holds():  # noqa: ASYNC110 - see above
            await trio.sleep(0.01)


async def wait_connections_closed(simulator: Simulator) -> None:
    """Wait until the server has seen all its clients leave."""
    await wait_until(lambda: simulator.statistics.connections_open == 0)
