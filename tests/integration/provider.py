"""Providers a run is pointed at: the simulator as a process, or inside the test's own Trio program."""

import json
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import trio
from tests.integration.command import Launcher, wait_until

from agent_pipeline.simulator import FaultPlan, Simulator, serve


class SeparateSimulator:
    """`agent-pipeline simulate`, known by its address alone."""

    def __init__(self, launcher: Launcher, cwd: Path, *arguments: str) -> None:
        self._process = launcher.start("simulate", *arguments, cwd=cwd)
        wait_until(lambda: "\n" in self._process.stdout, 20, lambda: self._process.stderr)
        self.base_url = self._process.stdout.strip()

    def statistics(self) -> dict[str, object]:
        """Return what it has counted so far."""
        address = self.base_url.removesuffix("/v1") + "/simulator/statistics"
        with urlopen(address, timeout=10) as answer:  # noqa: S310 - the test's own server
            value = json.load(answer)
        assert isinstance(value, dict)
        return value

    def requests(self) -> int:
        """Return how many requests it has counted so far."""
        count = self.statistics()["requests"]
        assert isinstance(count, int)
        return count

    def close(self) -> int:
        """Stop it as a user does; return its exit code."""
        self._process.signal(signal.SIGTERM)
        return self._process.wait(20).exit_code


@dataclass(frozen=True, slots=True)
class OwnSimulator:
    """The simulator served in the test's own Trio program, over real sockets."""

    base_url: str
    simulator: Simulator

    @property
    def requests(self) -> int:
        """How many requests were counted so far."""
        return self.simulator.statistics.requests


@asynccontextmanager
async def open_simulator(**faults: object) -> AsyncGenerator[OwnSimulator]:
    """Serve the simulator with these faults (as in a faults file) until the block ends."""
    simulator = Simulator(faults=FaultPlan.from_mapping(faults))
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve, simulator)
        yield OwnSimulator(f"http://127.0.0.1:{port}/v1", simulator)
        nursery.cancel_scope.cancel()
