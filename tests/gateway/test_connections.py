"""Connections outlive loops: few are opened, none breaks its successor, and none is left behind."""

import gc
import ssl
import warnings

import httpx2
import pytest
import trio
import trio.testing
from tests.gateway.bodies import APIS, Api, good
from tests.gateway.certificates import server_context
from tests.gateway.wire_server import Play, answer, hang, http, say, wait_until, wire_server
from tests.gateway.world import open_world, well

from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.gateway.pool import ConnectionPool, PoolStatistics


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_successive_requests_share_one_connection(api: Api, *, streamed: bool) -> None:
    """A handshake per request is what keep-alive off costs; also a stream has to be read to its end for that."""
    async with (
        wire_server(well(api, streamed=streamed)) as server,
        open_world(server.url, api=api, params={"stream": streamed}) as world,
    ):
        for _ in range(200):
            assert await world.role.ask("Well?") == "yes"

    assert server.connections <= 2
    assert len(server.seen) == len(world.records) == 200


async def test_two_hundred_at_once_stay_within_the_places_in_flight() -> None:
    """The server counts: it is the one who would complain."""

    async def play(stream: trio.abc.Stream) -> None:
        await trio.sleep(0.002)
        await stream.send_all(http(good("responses")))

    async with wire_server(play) as server, open_world(server.url, requests_in_flight=20) as world:
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(world.role.ask, "Well?")

        assert world.pool.statistics().peak == 20
        assert world.pool.statistics().transports == 20
    assert server.connections <= 20
    assert server.most_in_flight <= 20
    assert len(server.seen) == len(world.records) == 200


async def test_connection_closed_between_requests_is_noticed_before_the_next() -> None:
    """A server may close whenever it likes while nothing is asked: that is no failed attempt."""
    async with wire_server(say(http(good("responses")), hang_up=True)) as server, open_world(server.url) as world:
        for _ in range(5):
            assert await world.role.ask("Well?") == "yes"
            await wait_until(lambda: not server.open_connections)

    assert world.errors == [None] * 5
    assert server.connections == 5


async def test_connection_that_dies_under_a_request_costs_an_attempt() -> None:
    """The server has read the request: it may have worked on it, whatever it says. So it counts, and is charged."""
    async with (
        wire_server(well("responses"), say(b"", hang_up=True), well("responses")) as server,
        open_world(server.url, max_attempts=2) as world,
    ):
        for _ in range(2):
            assert await world.role.ask("Well?") == "yes"

    assert world.errors == [None, "connection_lost", None]
    assert len(server.seen) == len(world.records) == 3
    assert world.records[1].charged_tokens == world.records[1].reserved_tokens


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n", http(good("responses"))[:-9]])
async def test_cancelled_request_leaves_nothing_behind(begun: bytes) -> None:
    """Its connection can't be used again: the rest of the old answer would be taken for the new one."""
    async with (
        wire_server(hang(begun), well("responses", "second")) as server,
        open_world(server.url) as world,
    ):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.role.ask, "First?")
                await wait_until(lambda: server.seen)
                await trio.testing.wait_all_tasks_blocked(0.01)
                scope.cancel()
        collect()

        assert world.pool.statistics().active == 0
        assert await world.role.ask("Second?") == "second"

    assert [record.outcome for record in world.records] == ["cancelled", "succeeded"]
    assert server.connections == 2


async def test_many_cancelled_at_random_leave_the_pool_whole() -> None:
    """Two hundred requests, each cancelled at another point of its way; then the pool works as on its first day."""
    async with (
        wire_server(well("responses")) as server,
        open_world(server.url, requests_in_flight=40) as world,
    ):

        async def ask(checkpoints: int) -> None:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(world.role.ask, "Well?")
                    for _ in range(checkpoints):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(ask, number % 50)
        collect()

        assert world.pool.statistics().active == 0
        for _ in range(20):  # meanwhile the server takes in the connections that were cancelled
            assert await world.role.ask("Well?") == "yes"
        before = server.connections
        for _ in range(20):
            assert await world.role.ask("Well?") == "yes"
        assert server.connections <= before + 1
    assert {record.outcome for record in world.records} == {"cancelled", "succeeded"}


async def test_refused_answer_frees_its_connection_and_place() -> None:
    """What is not read to its end can't be kept."""
    plays: list[Play] = [
        answer(good("responses"), headers=["content-encoding: br"]),
        answer(b"x" * 100_000, status=503),
        well("responses"),
    ]
    async with wire_server(*plays) as server, open_world(server.url, max_attempts=3) as world:
        assert await world.role.ask("Well?") == "yes"
        collect()

    assert world.errors == ["bad_answer", "server_error", None]
    assert len(server.seen) == 3


async def test_cancelled_tls_handshake_closes_its_socket() -> None:
    """httpcore2 leaves that socket to the garbage collector."""
    async with wire_server(hang()) as server:
        url = server.url.replace("http://", "https://")
        async with open_world(url, attempt_timeout=0.1) as world:
            with pytest.raises(AgentPipelineError, match="attempt timeout"):
                await world.role.ask("Well?")
            collect()
            await wait_until(lambda: not server.open_connections)

    assert not world.records[0].sent


class Counted(httpx2.AsyncBaseTransport):
    """Counts its requests in a list for all of its kind."""

    def __init__(self, made: list[int]) -> None:
        self._made, self._number = made, len(made)
        made.append(0)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer at once."""
        self._made[self._number] += 1
        return httpx2.Response(200, request=request)


async def use_at_once(pool: ConnectionPool, *urls: str) -> None:
    """Begin these exchanges one after another, then end them."""
    release = trio.Event()

    async def use(url: str, task_status: trio.TaskStatus[None]) -> None:
        async with pool.exchange(httpx2.Request("GET", url)):
            task_status.started()
            await release.wait()

    async with trio.open_nursery() as nursery:
        for url in urls:
            await nursery.start(use, url)
        release.set()


async def test_places_are_taken_lowest_first() -> None:
    """So idle connections stay idle, and what was used last is used next."""
    made: list[int] = []
    pool = ConnectionPool(lambda: Counted(made))

    await use_at_once(pool, *["http://h/"] * 3)
    for _ in range(5):
        await use_at_once(pool, *["http://h/"] * 2)

    assert made == [6, 6, 1]
    assert pool.statistics() == PoolStatistics(active=0, peak=3, transports=3)


async def test_hosts_share_no_place() -> None:
    """A connection that leads elsewhere would have to be closed for each request to the other host."""
    made: list[int] = []
    pool = ConnectionPool(lambda: Counted(made))

    for _ in range(5):
        await use_at_once(pool, "http://h/", "https://h/", "http://h:81/")
        await use_at_once(pool, "http://h:81/v1")

    assert made == [5, 5, 10]
    assert pool.statistics() == PoolStatistics(active=0, peak=3, transports=3)


async def test_transport_that_can_not_be_made_takes_no_place() -> None:
    """Out of file descriptors, the TLS context can't be read; the next request has to try again."""
    broken = True

    def make() -> httpx2.AsyncBaseTransport:
        if broken:
            raise OSError(24, "Too many open files")
        return httpx2.MockTransport(lambda _: httpx2.Response(200))

    pool = ConnectionPool(make)
    with pytest.raises(OSError, match="Too many"):
        async with pool.exchange(httpx2.Request("GET", "http://h/")):
            pass
    broken = False

    async with pool.exchange(httpx2.Request("GET", "http://h/")) as response:
        assert response.status_code == 200
    assert pool.statistics().active == 0


async def test_tls_peer_that_stops_reading_does_not_hold_a_cancelled_request() -> None:
    """Closing a TLS connection says goodbye first, which nobody may wait for here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def pool() -> ConnectionPool:
        return ConnectionPool(lambda: httpx2.AsyncHTTPTransport(verify=context, trust_env=False))

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, read_nothing_more, listeners)
        port = listeners[0].socket.getsockname()[1]
        async with open_world(f"https://127.0.0.1:{port}/v1", attempt_timeout=0.25, make_pool=pool) as world:
            with trio.fail_after(5), pytest.raises(AgentPipelineError, match="attempt timeout"):
                await world.role.ask("x" * 20_000_000)
        nursery.cancel_scope.cancel()

    assert world.records[0].sent


async def read_nothing_more(stream: trio.SocketStream) -> None:
    """Shake hands, then go silent."""
    secured = trio.SSLStream(stream, server_context(), server_side=True)
    await secured.do_handshake()
    await trio.sleep_forever()


def collect() -> None:
    """Collect garbage now: what was left behind complains here, as an error, not in some later test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
