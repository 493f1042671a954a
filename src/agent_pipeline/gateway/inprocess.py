"""The simulator without sockets: for virtual time, where waiting for a real socket would stop the clock."""

from collections.abc import AsyncIterator

import httpx2
import trio

from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.simulator import Simulator, SimulatorReply, SimulatorRequest

BASE_URL = "http://simulator.invalid/v1"
"""What endpoints name when requests never leave the process."""


class SimulatorTransport(httpx2.AsyncBaseTransport):
    """Plays the simulator's replies, their delays on Trio's clock and their breaks as httpx2 reports broken sockets."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        await _tell(request, "http11.send_request_headers.started")
        body = await request.aread()
        path = request.url.raw_path.decode("ascii")
        statistics = self._simulator.statistics
        statistics.request_started()
        try:
            reply = self._simulator.respond(
                SimulatorRequest(request.method, path, tuple(request.headers.items()), body)
            )
            await trio.sleep(reply.delay)
        except BaseException:
            statistics.request_ended()
            raise
        if reply.status is None:
            statistics.request_ended()
            await _broken(reply)
        return httpx2.Response(reply.status or 0, headers=list(reply.headers), stream=_Body(reply, self._simulator))


async def _tell(request: httpx2.Request, event: str) -> None:
    trace = request.extensions.get("trace")
    if trace is not None:
        await trace(event, {})


async def _broken(reply: SimulatorReply) -> None:
    if reply.ending == "hang":
        await trio.sleep_forever()
    raise httpx2.RemoteProtocolError("the simulated connection was reset")


class _Body(httpx2.AsyncByteStream):
    def __init__(self, reply: SimulatorReply, simulator: Simulator) -> None:
        self._reply = reply
        self._simulator = simulator
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._reply.steps:
            await trio.sleep(step.delay)
            yield step.data
        if self._reply.ending != "complete":
            await _broken(self._reply)

    async def aclose(self) -> None:
        """Count the request as ended."""
        if self._open:
            self._open = False
            self._simulator.statistics.request_ended()


def simulator_pool(simulator: Simulator) -> ConnectionPool:
    """Return a pool whose connections all lead to the simulator, inside this process."""
    return ConnectionPool(lambda: SimulatorTransport(simulator))
