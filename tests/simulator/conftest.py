"""A simulator on a real socket."""

from collections.abc import AsyncIterator, Callable

import pytest
import trio

from agent_pipeline.simulator import FaultPlan, Simulator, serve

Started = tuple[Simulator, int]


@pytest.fixture
async def start(nursery: trio.Nursery) -> AsyncIterator[Callable[..., object]]:
    """Give a function that starts simulators inside the test's nursery.

    `await start(fault, latency=...)` returns the simulator and its port.
    """

    async def starting(*faults: object, **more: object) -> Started:
        simulator = Simulator(faults=FaultPlan.from_mapping({"faults": list(faults), **more}))
        port: int = await nursery.start(serve, simulator)
        return simulator, port

    yield starting
    nursery.cancel_scope.cancel()
