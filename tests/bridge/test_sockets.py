"""Documents over real sockets: connections outlive the loops, and nothing leaks."""

import subprocess
import sys
from pathlib import Path

import pytest
import trio
from tests.bridge.world import make_roles, open_world
from trio.testing import MockClock

from agent_pipeline.gateway import ConnectionPool, open_pool
from agent_pipeline.simulator import Simulator, serve


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _count_connections(documents: int, *, at_once: int, stream: bool) -> Simulator:
    """Run one-call documents against the served simulator with retries off; return what it saw."""
    simulator = Simulator()
    places = trio.CapacityLimiter(at_once)

    async def work(number: int) -> None:
        async with places, world.bridge.document(str(number)) as session:
            await session.run_agent("writer", f"Document {number}.")

    async with trio.open_nursery() as outer:
        port = await outer.start(serve, simulator)
        async with open_pool(ConnectionPool) as pool:
            roles = make_roles({"stream": stream})
            url = f"http://127.0.0.1:{port}/v1"
            async with open_world(base_url=url, pool=pool, roles=roles, in_flight=5) as world:
                async with trio.open_nursery() as nursery:
                    for number in range(documents):
                        nursery.start_soon(work, number)
                assert [record.outcome for record in world.records] == ["succeeded"] * documents
                assert world.bridge.loops_opened == world.bridge.loops_closed == documents
        outer.cancel_scope.cancel()
    return simulator


@pytest.mark.parametrize("stream", [False, True])
async def test_documents_one_after_the_other_share_a_connection(*, stream: bool) -> None:
    """A client that keeps connections per loop fails every second one of these, or opens one each."""
    simulator = await _count_connections(20, at_once=1, stream=stream)

    assert simulator.statistics.requests == 20
    assert simulator.statistics.connections_opened <= 2


@pytest.mark.slow
async def test_two_hundred_documents_one_after_the_other() -> None:
    """The figure that was promised."""
    simulator = await _count_connections(200, at_once=1, stream=False)

    assert simulator.statistics.requests == 200
    assert simulator.statistics.connections_opened <= 2


async def test_never_more_connections_than_requests_at_once() -> None:
    """Thirty documents in flight, five requests allowed: five connections."""
    simulator = await _count_connections(30, at_once=30, stream=False)

    assert simulator.statistics.max_requests_in_flight <= 5
    assert simulator.statistics.connections_opened <= 5


async def test_descriptors_stay_flat_over_sessions(autojump_clock: MockClock) -> None:
    """Documents leave none behind."""

    async def once() -> None:
        async with world.bridge.document("1") as session:
            await session.run_agent("writer", "Hi.")

    async with open_world() as world:
        await once()
        before = _descriptors()
        for _ in range(100):
            await once()

        assert _descriptors() == before
        assert world.bridge.loops_closed == 101


@pytest.mark.slow
async def test_descriptors_and_tasks_stay_flat_over_five_hundred_sessions(autojump_clock: MockClock) -> None:
    """The same for longer, with a tool each, and every other one cancelled on its way."""

    async def pause() -> str:
        """Pause."""
        await trio.sleep(2)
        return "done"

    async with open_world(latency=1) as world:
        before = _descriptors()
        for number in range(500):
            async with world.bridge.document(str(number)) as session:
                with trio.move_on_after(number % 8 or 100):
                    await session.run_agent("writer", "Hi.", tools=[pause])

        assert _descriptors() == before
        assert trio.lowlevel.current_statistics().tasks_living < 20
        world.assert_idle()


def test_importing_the_bridge_imports_neither_sdk_nor_trio_asyncio() -> None:
    """The first takes seconds, the second replaces the process's asyncio policy: both wait for a first use."""
    code = (
        "import sys\n"
        "import agent_pipeline.bridge as bridge\n"
        "loaded = {'agents', 'openai', 'trio_asyncio', 'httpx2'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "names = {'DESCRIPTORS_PER_LOOP', 'AgentBridge', 'DocumentSession', 'OpenInferenceSpans', 'TaskTree'}\n"
        "names |= {'AsyncioThread', 'Caller', 'Hosted', 'HostedLifetime', 'Wakeup'}\n"
        "names |= {'current_flavour', 'in_worker', 'open_sdk_tracing', 'portable_span'}\n"
        "names |= {'run_in_own_thread', 'within'}\n"
        "assert set(bridge.__all__) <= names\n"
        "try:\n"
        "    bridge.nothing\n"
        "except AttributeError as exc:\n"
        "    assert 'nothing' in str(exc)\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
