"""Limits as players meet them: in virtual time without sockets, and on real ones."""

from functools import partial

import httpx2
import openai
import pytest
import trio
from tests.simulator.asking import TEXT
from tests.simulator.clients import ASK, PATH, Start, client_of, openai_of, wait_until
from trio.testing import MockClock

from agent_pipeline.gateway.inprocess import BASE_URL, SimulatorTransport
from agent_pipeline.simulator import FaultPlan, Simulator


async def refused_of(workers: int, rounds: int, *, capacity: int) -> tuple[int, float]:
    """Let workers ask, one request after the other each; return how many were refused, and how long it took."""
    simulator = Simulator(
        faults=FaultPlan.from_mapping(
            {"latency": {"min": 0.1, "max": 3}, "faults": [{"kind": "capacity", "requests_in_flight": capacity}]}
        )
    )
    began = trio.current_time()

    async with (
        httpx2.AsyncClient(transport=SimulatorTransport(simulator), timeout=None) as client,
        trio.open_nursery() as nursery,
    ):

        async def work(name: int) -> None:
            for number in range(rounds):
                await client.post(f"{BASE_URL}/responses", json={**ASK, "user": f"{name} {number}"})

        for name in range(workers):
            nursery.start_soon(work, name)
    return simulator.statistics.model("m").refused, trio.current_time() - began


async def test_as_many_in_flight_as_the_capacity_are_never_refused(autojump_clock: MockClock) -> None:
    """Whoever keeps to it must not be told that it does not; that is what a client's adaptive limit settles on."""
    refused, _ = await refused_of(8, 40, capacity=8)

    assert refused == 0


async def test_one_more_in_flight_than_the_capacity_is_refused(autojump_clock: MockClock) -> None:
    """And nobody else: never fewer than the capacity are being worked on."""
    refused, _ = await refused_of(9, 40, capacity=8)

    assert 0 < refused < 9 * 40 / 2


def has_seen(simulator: Simulator, requests: int) -> bool:
    return simulator.statistics.requests >= requests


async def test_a_capacity_on_real_sockets(start: Start) -> None:
    """The third of three at once gets the 429, and its place is free when it comes back."""
    simulator, port = await start({"kind": "capacity", "requests_in_flight": 2, "retry_after": 0.25}, latency=0.2)
    statuses: list[int] = []

    async with client_of(port) as client:

        async def post() -> None:
            statuses.append((await client.post(PATH, json=ASK)).status_code)

        async with trio.open_nursery() as nursery:
            for waiting in range(1, 4):
                nursery.start_soon(post)
                await wait_until(partial(has_seen, simulator, waiting))
        await post()

    assert sorted(statuses[:3]) == [200, 200, 429]
    assert statuses[3] == 200


async def test_a_client_that_leaves_frees_its_place(start: Start) -> None:
    """A cancelled attempt holds nothing at the provider."""
    simulator, port = await start({"kind": "capacity", "requests_in_flight": 1}, {"kind": "hang", "script": [1]})

    async with client_of(port) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: client.post(PATH, json=ASK))
            await wait_until(lambda: simulator.statistics.requests == 1)
            assert (await client.post(PATH, json=ASK)).status_code == 429
            nursery.cancel_scope.cancel()
        await wait_until(lambda: simulator.statistics.requests_in_flight == 0)
        after = (await client.post(PATH, json=ASK)).status_code

    assert after == 200


async def test_the_openai_client_sees_a_rate_limit_as_such(start: Start) -> None:
    """With the headers it is to be steered by, on every reply."""
    simulator, port = await start({"kind": "rate_limit", "requests_per_minute": 1, "tokens_per_minute": 1000})

    async with openai_of(port) as client:
        first = await client.responses.with_raw_response.create(model="m", input=TEXT)
        with pytest.raises(openai.RateLimitError) as caught:
            await client.responses.create(model="m", input=TEXT)

    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    assert first.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert caught.value.code == "rate_limit_exceeded"
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60
    seen = simulator.statistics.model("m")
    assert (seen.requests, seen.refused, seen.most_requests_per_minute) == (2, 1, 2)
