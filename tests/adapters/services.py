"""The three services, each answered by a simulator inside the process."""

import json
from collections.abc import Mapping

import httpx2

from agent_pipeline.adapters import GeminiAdapter, OpenAIAdapter, OpenRouterAdapter
from agent_pipeline.adapters.chat import ChatAdapter
from agent_pipeline.gateway import ConnectionPool
from agent_pipeline.gateway.inprocess import SimulatorTransport
from agent_pipeline.simulator import FaultPlan, Simulator

SERVICES: tuple[type[ChatAdapter], ...] = (OpenAIAdapter, GeminiAdapter, OpenRouterAdapter)
QUICK: Mapping[str, object] = {"retry": {"max_attempts": 3, "initial_delay": 0.001, "max_delay": 0.01}}
KEY = "sk-canary-0123456789abcdef"


class AnyAddress(httpx2.AsyncBaseTransport):
    """Leads what is sent to the real service to a simulator, which has one address.

    Attributes:
        urls: where requests were meant to go.
        bodies: of the requests.
        simulator: that answers.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.urls: set[str] = set()
        self.bodies: list[dict[str, object]] = []
        self._inner = SimulatorTransport(simulator)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Hand on, to the simulator's path."""
        self.urls.add(str(request.url))
        self.bodies.append(json.loads(await request.aread()))
        path = "/v1/" + request.url.path.removeprefix("/").partition("chat/")[1] + "completions"
        request.url = request.url.copy_with(path=path)
        return await self._inner.handle_async_request(request)


def simulated(
    service: type[ChatAdapter] = OpenAIAdapter,
    *,
    faults: Mapping[str, object] | None = None,
    limits: Mapping[str, object] = QUICK,
    model: str = "gpt-5-mini",
    max_tokens: int | None = 40,
    temperature: float | None = None,
    system: str | None = None,
) -> tuple[ChatAdapter, AnyAddress]:
    """Return an adapter and what answers it, in the place of the real service."""
    simulator = Simulator(faults=FaultPlan.from_mapping(faults or {}))
    transport = AnyAddress(simulator)
    adapter = service(
        model,
        max_tokens=max_tokens,
        temperature=temperature,
        system=system,
        api_key=KEY,
        limits=limits,
        make_pool=lambda: ConnectionPool(lambda: transport),
    )
    return adapter, transport
