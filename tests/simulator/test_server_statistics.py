"""What the server counts: requests and connections, at once and in all, as a client's limits would have them."""

import json

import trio
from tests.simulator.clients import ASK, PATH, STREAM, Start, client_of, posting, wait_connections_closed, wait_until


async def test_one_connection_serves_many_requests(start: Start) -> None:
    """Keep-alive holds, for plain and streamed replies and for errors."""
    simulator, port = await start({"kind": "status", "status": 503, "script": [3]})

    async with client_of(port) as client:
        statuses = [(await client.post(PATH, json=body)).status_code for body in (ASK, STREAM, ASK, ASK)]
        seen = (await client.get("/simulator/statistics")).json()

    assert statuses == [200, 200, 503, 200]
    assert (seen["connections_opened"], seen["max_connections_open"]) == (1, 1)
    assert seen["requests_by_path"] == {PATH: {"200": 3, "503": 1}}
    assert (seen["requests_in_flight"], seen["max_requests_in_flight"]) == (0, 1)
    assert simulator.statistics.requests == 4


async def test_looking_at_the_statistics_changes_nothing(start: Start) -> None:
    """An outside process compares counts: its own connection must not be among them."""
    _, port = await start()
    async with client_of(port) as client:
        await client.post(PATH, json=ASK)

        async with client_of(port) as observer:
            first, second = [(await observer.get("/simulator/statistics")).json() for _ in range(2)]

    for seen in (first, second):
        assert (seen["requests"], seen["connections_opened"], seen["max_connections_open"]) == (1, 1, 1)
        assert seen["connections_open"] == 1


async def test_requests_at_once_are_counted(start: Start) -> None:
    """The figure that shows whether a client keeps its own limit."""
    simulator, port = await start({"kind": "hang"})

    async with client_of(port) as client, trio.open_nursery() as nursery:
        for number in range(7):
            nursery.start_soon(lambda number: client.post(PATH, json={**ASK, "user": str(number)}), number)
        await wait_until(lambda: simulator.statistics.requests_in_flight == 7)
        nursery.cancel_scope.cancel()
    await wait_connections_closed(simulator)

    assert simulator.statistics.max_requests_in_flight == 7
    assert simulator.statistics.max_connections_open == 7
    assert simulator.statistics.requests_in_flight == 0


async def test_a_request_stops_counting_before_its_last_byte_can_be_seen(start: Start) -> None:
    """A client that keeps to one request at a time, over any connections, is never counted as two."""
    simulator, port = await start()
    request = posting(json.dumps(ASK).encode())
    seen = []

    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for _ in range(60):
            await stream.send_all(request)
            await stream.receive_some(65536)
            seen.append(simulator.statistics.requests_in_flight)

    assert seen == [0] * 60
    assert simulator.statistics.max_requests_in_flight == 1


async def test_a_client_that_leaves_stops_counting(start: Start) -> None:
    """Also in the middle of a long wait: a cancelled attempt is over at the server too."""
    simulator, port = await start(latency=60)

    async with client_of(port) as client, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: client.post(PATH, json=ASK))
        await wait_until(lambda: simulator.statistics.requests_in_flight == 1)
        nursery.cancel_scope.cancel()

    await wait_connections_closed(simulator)
    assert simulator.statistics.requests_in_flight == 0
    assert simulator.statistics.requests == 1
