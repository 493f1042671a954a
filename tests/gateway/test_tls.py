"""TLS: who is not who it says, what is not TLS at all, and that it works where it should."""

import httpx2
import pytest
import trio
from tests.gateway.bodies import APIS, Api
from tests.gateway.certificates import server_context, trusting_context
from tests.gateway.wire_server import wire_server
from tests.gateway.world import open_world, well

from agent_pipeline.errors import CertificateError, ProviderUnreachableError
from agent_pipeline.gateway.pool import ConnectionPool, tls_context


@pytest.mark.parametrize("api", APIS)
async def test_trusted_server_is_asked_over_one_connection(api: Api) -> None:
    """The handshake is what keep-alive saves most of."""
    async with wire_server(well(api), context=server_context()) as server:
        url = server.url.replace("http://", "https://")
        async with open_world(url, api=api, make_pool=trusting_pool) as world:
            for _ in range(5):
                assert await world.role.ask("Well?") == "yes"

    assert server.connections == 1


async def test_untrusted_certificate_is_named_and_not_tried_again() -> None:
    """Time cures no certificate, and whoever sits in between gets neither key nor text."""
    async with wire_server(well("responses"), context=server_context()) as server:
        url = server.url.replace("http://", "https://")
        async with open_world(url, max_attempts=5) as world:
            with pytest.raises(CertificateError, match=rf"127\.0\.0\.1:{server.port} is not trusted: .*self-signed"):
                await world.role.ask("Well?")

    assert not server.seen
    assert [record.sent for record in world.records] == [False]
    assert world.budget.tokens.statistics().spent == 0


async def test_certificate_for_another_name_is_refused() -> None:
    """A certificate that is trusted, but not for this host, is how one server poses as another."""
    async with (
        wire_server(well("responses"), context=server_context()) as server,
        open_world(f"https://localhost:{server.port}/v1", make_pool=trusting_pool) as world,
    ):
        with pytest.raises(CertificateError, match="localhost"):
            await world.role.ask("Well?")

    assert not server.seen


async def test_tls_to_a_plain_port_names_the_cause() -> None:
    """`https` where `http` was meant should not look like a network that is down."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer_in_plain_http, listeners)
        async with open_world(f"https://127.0.0.1:{port}/v1") as world:
            with pytest.raises(ProviderUnreachableError, match=rf"127\.0\.0\.1:{port}: .*WRONG_VERSION_NUMBER"):
                await world.role.ask("Well?")
        nursery.cancel_scope.cancel()

    assert not world.records[0].sent


async def answer_in_plain_http(stream: trio.SocketStream) -> None:
    """Say what any web server says to a TLS handshake."""
    async with stream:
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


def test_one_tls_context_serves_the_process() -> None:
    """Building one costs tens of milliseconds."""
    assert tls_context() is tls_context()


def trusting_pool() -> ConnectionPool:
    """Return a pool that trusts the test's certificate and no other."""
    return ConnectionPool(lambda: httpx2.AsyncHTTPTransport(verify=trusting_context(), trust_env=False))
