"""Whoever is cancelled, leaves early or closes a hub leaves nothing going on; in virtual time and over sockets."""

import asyncio
import time
from concurrent.futures import CancelledError

import pytest
import trio
from tests.llmhub.test_hub import ASKED, config_at
from trio.testing import MockClock

from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.llmhub import CallResult, LLMHub
from agent_pipeline.simulator import FaultPlan, Simulator
from agent_pipeline.testing import SimulatorThread

NOWHERE = "http://127.0.0.1:9/v1"
"""Every connection leads to the simulator in this process instead."""


def slow_simulator(**plan: object) -> Simulator:
    return Simulator(faults=FaultPlan.from_mapping(plan))


def assert_nothing_in_flight(simulator: SimulatorThread) -> None:
    """See that the server loses its client, which it is told a little after the client has left."""
    deadline = time.monotonic() + 30
    while simulator.statistics.requests_in_flight and time.monotonic() < deadline:
        time.sleep(0.01)
    assert simulator.statistics.requests_in_flight == 0


async def test_a_cancelled_call_tells_its_hook_and_leaves_nothing(autojump_clock: MockClock) -> None:
    simulator = slow_simulator(latency=30.0)
    after: list[CallResult] = []
    async with LLMHub(
        config_obj=config_at(NOWHERE), on_after_call=after.append, make_pool=lambda: simulator_pool(simulator)
    ) as hub:
        with trio.move_on_after(10) as scope:
            await hub.acompletion("llm.inference", ASKED)

        assert scope.cancelled_caught
        assert trio.current_time() == 10
        assert simulator.statistics.requests_in_flight == 0
    assert [(one.success, type(one.error)) for one in after] == [(False, trio.Cancelled)]


async def test_chunks_come_as_they_are_made(autojump_clock: MockClock) -> None:
    """The first before the last: that is what streaming is for."""
    simulator = slow_simulator(chunk_delay=1.0)
    times = []
    async with LLMHub(config_obj=config_at(NOWHERE), make_pool=lambda: simulator_pool(simulator)) as hub:
        async for _ in hub.astream_completion("llm.inference", ASKED):
            times.append(trio.current_time())  # noqa: PERF401 - the times between are what is tested

    assert len(times) > 3
    assert times[0] <= 2
    assert times[-1] - times[0] >= len(times) - 2


async def test_a_stream_that_is_closed_early_is_cancelled_and_awaited(autojump_clock: MockClock) -> None:
    simulator = slow_simulator(chunk_delay=5.0)
    after: list[CallResult] = []
    async with LLMHub(
        config_obj=config_at(NOWHERE), on_after_call=after.append, make_pool=lambda: simulator_pool(simulator)
    ) as hub:
        async with hub.astream_completion("llm.inference", ASKED) as stream:
            await anext(stream)
            assert simulator.statistics.requests_in_flight == 1

        assert simulator.statistics.requests_in_flight == 0
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert [one.success for one in after] == [True]


async def test_a_stream_is_closed_also_when_its_block_is_cancelled(autojump_clock: MockClock) -> None:
    simulator = slow_simulator(chunk_delay=5.0)
    async with LLMHub(config_obj=config_at(NOWHERE), make_pool=lambda: simulator_pool(simulator)) as hub:
        with trio.move_on_after(7) as scope:
            async with hub.astream_completion("llm.inference", ASKED) as stream:
                async for _ in stream:
                    pass

        assert scope.cancelled_caught
        assert trio.current_time() == 7
        assert simulator.statistics.requests_in_flight == 0


async def test_closing_a_hub_ends_the_streams_that_go_on(autojump_clock: MockClock) -> None:
    simulator = slow_simulator(chunk_delay=5.0)
    async with LLMHub(config_obj=config_at(NOWHERE), make_pool=lambda: simulator_pool(simulator)) as hub:
        stream = hub.astream_completion("llm.inference", ASKED)
        await anext(stream)

    assert simulator.statistics.requests_in_flight == 0


def test_a_cancelled_asyncio_call_has_ended_when_its_task_has() -> None:
    with SimulatorThread(latency=20.0) as simulator:

        async def main() -> None:
            async with LLMHub(config_obj=config_at(simulator.base_url)) as hub:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(hub.acompletion("llm.inference", ASKED), 0.2)

        asyncio.run(main())


async def test_many_calls_share_few_connections_and_one_gate() -> None:
    with SimulatorThread(latency=0.005) as simulator:
        hub = LLMHub(config_obj=config_at(simulator.base_url), limits={"requests_in_flight": 5})
        async with hub, trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(hub.acompletion, "llm.inference", ASKED)

        assert simulator.statistics.requests == 60
        assert simulator.statistics.max_requests_in_flight <= 5
        assert simulator.statistics.connections_opened <= 5


async def test_a_reader_is_told_that_the_hub_was_closed_before_the_streams_end(autojump_clock: MockClock) -> None:
    """It took the first part for a whole answer, and so did the hook."""
    simulator = slow_simulator(chunk_delay=5.0)
    after: list[CallResult] = []
    hub = LLMHub(config_obj=config_at(NOWHERE), on_after_call=after.append, make_pool=lambda: simulator_pool(simulator))
    async with trio.open_nursery() as nursery, hub:
        stream = hub.astream_completion("llm.inference", ASKED)
        await anext(stream)

        async def read_on() -> None:
            with pytest.raises(CancelledError):
                await anext(stream)

        nursery.start_soon(read_on)
        await trio.sleep(1)

    assert [one.success for one in after] == [False]
    await stream.aclose()


@pytest.mark.parametrize("flavour", ["sync", "asyncio"])
def test_a_stream_may_be_closed_after_its_hub(flavour: str) -> None:
    with SimulatorThread(chunk_delay=5.0) as simulator:
        hub = LLMHub(config_obj=config_at(simulator.base_url))

        async def main() -> None:
            async with hub.astream_completion("llm.inference", ASKED) as stream:
                await anext(stream)
                await hub.aclose()

        if flavour == "asyncio":
            asyncio.run(main())
        else:
            with hub.stream_completion("llm.inference", ASKED) as stream:
                next(stream)
                hub.close()
        assert_nothing_in_flight(simulator)


def test_a_stream_whose_opening_was_cancelled_is_closed_like_any_other() -> None:
    with SimulatorThread(chunk_delay=5.0) as simulator:

        async def main() -> None:
            async with LLMHub(config_obj=config_at(simulator.base_url)) as hub:
                stream = hub.astream_completion("llm.inference", ASKED)
                task = asyncio.ensure_future(anext(stream))
                await asyncio.sleep(0)
                task.cancel()  # what it asks for is under way to the other thread
                with pytest.raises(asyncio.CancelledError):
                    await task
                await stream.aclose()

                await asyncio.sleep(0.2)
                assert simulator.statistics.requests_in_flight == 0

        asyncio.run(main())
