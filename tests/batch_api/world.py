"""A job at the simulator inside this process, on virtual time; and what may be done to a provider's replies."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Unpack

import httpx2
from tests.gateway.bodies import Api

from agent_pipeline.batch.batch_api import BatchAPIProcessor
from agent_pipeline.batch.batch_api_input import BatchRequest
from agent_pipeline.batch.batch_api_options import BatchAPIOptions
from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.rates import Rates
from agent_pipeline.config.roles import RuntimeConfig, parse_runtime_config
from agent_pipeline.gateway import ConnectionPool, Endpoint
from agent_pipeline.gateway.inprocess import BASE_URL, SimulatorTransport
from agent_pipeline.simulator import FaultPlan, Simulator

PRICE = Rates(fresh=2 * 10**9, cached=2 * 10**9, output=10 * 10**9, reasoning=10 * 10**9)
"""Two micro-dollars per token of input, ten per token of output."""

Twist = Callable[[httpx2.Request, httpx2.Response], httpx2.Response]
"""Takes a request and its reply, whole; returns what the client gets."""


def simulator(*faults: Mapping[str, object], **plan: object) -> Simulator:
    """Return a provider with these faults."""
    return Simulator(faults=FaultPlan.from_mapping({"faults": list(faults), **plan}))


class TwistingTransport(httpx2.AsyncBaseTransport):
    """A simulator whose replies are changed on their way."""

    def __init__(self, simulator: Simulator, twist: Twist) -> None:
        self._inner = SimulatorTransport(simulator)
        self._twist = twist

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        response = await self._inner.handle_async_request(request)
        content = await response.aread()
        await response.aclose()
        return self._twist(request, httpx2.Response(response.status_code, headers=response.headers, content=content))


def as_is(_request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
    """Change nothing."""
    return response


def runtime(
    *, mode: str = "chat", params: Mapping[str, object] | None = None, base_url: str | None = None
) -> RuntimeConfig:
    """Return one role, `writer`."""
    merged = {"max_tokens": 100} if params is None and mode == "chat" else dict(params or {})
    instructions = {"instructions": "Be brief."} if mode == "chat" else {}
    role = {"provider": "local", "model": "m", "mode": mode, "params": merged, **instructions}
    provider = {} if base_url is None else {"base_url": base_url}
    return parse_runtime_config(
        {"project": "p", "env": "test", "providers": {"local": provider}, "roles": {"writer": role}}
    )


def options(
    provider: Simulator,
    *,
    api: Api = "responses",
    twist: Twist = as_is,
    config: RuntimeConfig | None = None,
    **more: Unpack[BatchAPIOptions],
) -> BatchAPIOptions:
    """Return what a job needs to be worked on by a simulator in this process, on virtual time."""
    merged: BatchAPIOptions = {
        "runtime": config or runtime(),
        "endpoints": {"local": Endpoint(BASE_URL, api, None)},
        "make_pool": lambda: ConnectionPool(lambda: TwistingTransport(provider, twist)),
        "price_of": lambda _provider, _model: PRICE,
        "limits": LimitsConfig.model_validate({"retry": {"max_attempts": 2}}),
        "poll_interval": 10.0,
        "max_poll_interval": 60.0,
        "threaded": False,
    }
    merged.update(more)
    return merged


def job(
    directory: Path,
    provider: Simulator,
    *,
    api: Api = "responses",
    twist: Twist = as_is,
    config: RuntimeConfig | None = None,
    discount: float = 0.5,
    max_requests: int = 50_000,
    max_bytes: int = 10**8,
    **more: Unpack[BatchAPIOptions],
) -> BatchAPIProcessor[Any, Any]:
    """Return a new job."""
    return BatchAPIProcessor(
        role="writer",
        directory=directory,
        discount=discount,
        max_requests=max_requests,
        max_bytes=max_bytes,
        **options(provider, api=api, twist=twist, config=config, **more),
    )


def resumed(
    directory: Path,
    provider: Simulator,
    *,
    config: RuntimeConfig | None = None,
    **more: Unpack[BatchAPIOptions],
) -> BatchAPIProcessor[Any, Any]:
    """Take the job up again."""
    return BatchAPIProcessor.resume(directory, **options(provider, config=config, **more))


def items(count: int, begin: int = 0) -> Iterable[BatchRequest[int]]:
    """Return so many items; each has its number as its context."""
    return (BatchRequest(f"item {n}", f"Apple {n} lies on a table.", context=n) for n in range(begin, begin + count))


def requests(provider: Simulator, path: str) -> int:
    """Return how many requests to a path were answered well."""
    return provider.statistics.ends[path, "200"]


def inputs(directory: Path) -> list[Path]:
    """Return the input files of a job."""
    return sorted(directory.glob("part-*[0-9].jsonl"))
