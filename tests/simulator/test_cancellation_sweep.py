"""The simulator's connections cancelled at every scheduler step: nothing stays open, and nothing stays counted."""

import json
from pathlib import Path

import pytest
import trio
from tests.simulator.clients import STREAM, posting, raw, wait_until

from agent_pipeline.simulator import FaultPlan, Simulator, serve
from agent_pipeline.testing import cancel_at_every_step

STRIDES = pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
STREAMED = posting(json.dumps(STREAM).encode(), "connection: close")


def slow_simulator() -> Simulator:
    """Return a simulator that waits before a reply, and between its pieces."""
    return Simulator(faults=FaultPlan.from_mapping({"latency": 0.001, "chunk_delay": 0.0001}))


def descriptors() -> int:
    """Count the open descriptors."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


def assert_balanced(simulator: Simulator) -> None:
    """No connection and no request is counted as going on."""
    counts = simulator.statistics
    assert (counts.connections_open, counts.requests_in_flight) == (0, 0)
    assert counts.connections_opened >= counts.max_connections_open
    assert sum(counts.ends.values()) >= counts.max_requests_in_flight


async def talk(port: int) -> None:
    """Ask for a streamed answer, and read it to its end."""
    reply = await raw(port, STREAMED)
    assert (reply.startswith(b"HTTP/1.1 200 "), b"response.completed" in reply) == (True, True)


@STRIDES
def test_server_cancelled_at_every_step(stride: int) -> None:
    """With clients in the middle of it, as when a run is cancelled: the port is free and every socket closed."""
    ends: set[tuple[int, int]] = set()

    async def operation(scope: trio.CancelScope) -> None:
        simulator, before, ports = slow_simulator(), descriptors(), list[int]()
        with scope:
            async with trio.open_nursery() as nursery:
                ports.append(await nursery.start(serve, simulator))
                async with trio.open_nursery() as clients:
                    clients.start_soon(talk, ports[0])
                    clients.start_soon(raw, ports[0], STREAMED[:40], STREAMED[40:])
                    clients.start_soon(raw, ports[0], b"GET / HTTP/9\r\n\r\n")
                nursery.cancel_scope.cancel()

        assert_balanced(simulator)
        assert descriptors() == before
        for port in ports:
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream("127.0.0.1", port)
        ends.add((simulator.statistics.connections_opened, sum(simulator.statistics.ends.values())))

    assert cancel_at_every_step(operation, stride=stride, clock=None) > 10
    assert {(0, 0), (3, 3)} <= ends


@STRIDES
def test_client_cancelled_at_every_step(stride: int) -> None:
    """A client that leaves at any moment ends its own connection; the next one is served as if nothing had been."""
    ends: set[int] = set()

    async def operation(scope: trio.CancelScope) -> None:
        simulator = slow_simulator()
        async with trio.open_nursery() as nursery:
            port: int = await nursery.start(serve, simulator)
            before = descriptors()
            with scope:
                await talk(port)
            ends.add(sum(simulator.statistics.ends.values()))
            await talk(port)
            await wait_until(lambda: descriptors() == before)  # the server's end of a connection outlives the client's
            assert_balanced(simulator)
            nursery.cancel_scope.cancel()

    assert cancel_at_every_step(operation, stride=stride, clock=None) > 10
    assert ends == {0, 1}
