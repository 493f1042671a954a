"""The simulator on a real socket beside a test or an example, whatever event loop that has, or none."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import trio

from agent_pipeline.bridge import Hosted
from agent_pipeline.simulator import FaultPlan, Simulator, serve
from agent_pipeline.simulator.statistics import Statistics


class SimulatorThread:
    """Serves on 127.0.0.1 while the `with` block lasts, in a thread of its own; it is no model.

    Args:
        faults: what goes wrong, as under `faults` in a faults file.
        seed: of its answers.
        latency: seconds before each reply.
        chunk_delay: seconds between two events of a stream.

    Attributes:
        base_url: where it is, for clients.
    """

    def __init__(
        self,
        *,
        faults: Sequence[Mapping[str, object]] = (),
        seed: int = 0,
        latency: float = 0.0,
        chunk_delay: float = 0.0,
    ) -> None:
        plan = {"latency": latency, "chunk_delay": chunk_delay, "faults": [dict(fault) for fault in faults]}
        simulator = Simulator(seed=seed, faults=FaultPlan.from_mapping(plan, place="faults"))

        @asynccontextmanager
        async def open_simulator() -> AsyncGenerator[int]:
            async with trio.open_nursery() as nursery:
                yield await nursery.start(serve, simulator)
                nursery.cancel_scope.cancel()

        self._hosted = Hosted(open_simulator, name="SimulatorThread")
        self._simulator = simulator
        self.base_url = ""

    @property
    def statistics(self) -> Statistics:
        """What it has seen so far; ask when nothing is under way."""
        return self._simulator.statistics

    def __enter__(self) -> Self:
        """Listen."""

        async def port(opened: int) -> int:
            return opened

        self.base_url = f"http://127.0.0.1:{self._hosted.run_sync(port)}/v1"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections and stop."""
        self._hosted.close()
