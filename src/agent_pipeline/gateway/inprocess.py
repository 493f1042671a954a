"""The simulator without sockets: for virtual time, where waiting for a real socket would stop the clock."""

import math
from collections.abc import AsyncIterator

import httpx2
import trio

from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.simulator import Simulator, SimulatorReply, SimulatorRequest

BASE_URL = "http://simulator.invalid/v1"
"""What endpoints name when requests never leave the process."""


class SimulatorTransport(httpx2.AsyncBaseTransport):
    """Plays the simulator's replies on Trio's clock; delays, breaks and read timeouts come as httpx2 reports them."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        trace = request.extensions.get("trace")
        if trace is not None:
            await trace("http11.send_request_headers.started", {})
        body = await request.aread()
        path = request.url.raw_path.decode("ascii")
        self._simulator.statistics.request_started()
        try:
            reply = self._simulator.respond(
                SimulatorRequest(request.method, path, tuple(request.headers.items()), body)
            )
            play = _Play(reply, self._simulator, request.extensions.get("timeout", {}).get("read"))
            await play.wait(reply.delay)
            if reply.status is None:
                await play.break_off()
        except BaseException:
            self._simulator.statistics.request_ended()
            raise
        return httpx2.Response(reply.status or 0, headers=list(reply.headers), stream=play)


class _Play(httpx2.AsyncByteStream):
    """One reply as it comes over the wire that is not there."""

    def __init__(self, reply: SimulatorReply, simulator: Simulator, read_timeout: float | None) -> None:
        self._reply = reply
        self._simulator = simulator
        self._read_timeout = math.inf if read_timeout is None else read_timeout
        self._is_open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._reply.steps:
            await self.wait(step.delay)
            if not self._is_open:
                raise httpx2.ReadError("the simulated connection was closed here")
            yield step.data
        if self._reply.ending != "complete":
            await self.break_off()

    async def wait(self, delay: float) -> None:
        """Let `delay` seconds pass, or the read timeout."""
        await trio.sleep(min(delay, self._read_timeout))
        if delay > self._read_timeout:
            raise httpx2.ReadTimeout("the simulator was silent")

    async def break_off(self) -> None:
        """End badly, as the reply says."""
        if self._reply.ending == "hang":
            await self.wait(math.inf)
        raise httpx2.RemoteProtocolError("the simulated connection was reset")

    async def aclose(self) -> None:
        """Count the request as ended."""
        if self._is_open:
            self._is_open = False
            self._simulator.statistics.request_ended()


def simulator_pool(simulator: Simulator) -> ConnectionPool:
    """Return a pool whose connections all lead to the simulator, inside this process."""
    return ConnectionPool(lambda: SimulatorTransport(simulator))
