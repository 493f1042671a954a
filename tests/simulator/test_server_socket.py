"""The listening socket: loopback only, many at once, and gone when the server is."""

import json

import pytest
import trio
from tests.simulator.clients import ASK, Start, posting, raw

from agent_pipeline.errors import ConfigError
from agent_pipeline.simulator import Simulator, serve


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", ""])  # noqa: S104 - to be refused
async def test_only_loopback_is_served(host: str) -> None:
    """Nothing is opened; the message names the host."""
    with pytest.raises(ConfigError, match="loopback"):
        await serve(Simulator(), host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
async def test_loopback_is_served_and_cancelling_closes_everything(host: str) -> None:
    """Listener and connections alike."""
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve, Simulator(), host)
        address = "127.0.0.1" if host == "localhost" else host
        stream = await trio.open_tcp_stream(address, port)
        await stream.send_all(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        await stream.receive_some()
        nursery.cancel_scope.cancel()

    async with stream:
        with trio.fail_after(2):
            assert await _is_at_its_end(stream)
    with pytest.raises(OSError, match=r"connect|refused"):
        await trio.open_tcp_stream(address, port)


async def _is_at_its_end(stream: trio.SocketStream) -> bool:
    try:
        return await stream.receive_some() == b""
    except trio.BrokenResourceError:
        return True


async def test_a_storm_of_connections_is_taken(start: Start) -> None:
    """A backlog of five would reset most of them, and look like the client's fault."""
    simulator, port = await start()
    request = posting(json.dumps(ASK).encode(), "connection: close")
    answers: list[bytes] = []

    async def one() -> None:
        answers.append(await raw(port, request))

    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(one)

    assert sum(answer.startswith(b"HTTP/1.1 200") for answer in answers) == 200
    assert simulator.statistics.connections_opened == 200
