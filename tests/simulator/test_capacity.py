"""The simulated provider's hidden capacity: so many requests at once, so many a second, for each model."""

import trio
from tests.simulator.limiting import ask, limiting
from trio.testing import MockClock

from agent_pipeline.simulator.json_values import JsonObject


async def test_capacity_holds_so_many_a_second(autojump_clock: MockClock) -> None:
    """In any second."""
    simulator = limiting("capacity", requests_per_second=2, retry_after=True)
    seen = []

    for pause in (0, 0.5, 0.25, 0.25, 0.25, 0.25):
        await trio.sleep(pause)
        reply = ask(simulator)
        seen.append((reply.status, reply.header("retry-after-ms")))

    assert seen == [(200, None), (200, None), (429, "250"), (200, None), (429, "250"), (200, None)]


async def test_capacity_is_hidden_unless_the_plan_says_otherwise(autojump_clock: MockClock) -> None:
    """That is what adaptive concurrency is for."""
    simulator = limiting("capacity", requests_per_second=1)

    replies = [ask(simulator) for _ in range(2)]

    assert [reply.status for reply in replies] == [200, 429]
    told = [name for reply in replies for name, _ in reply.headers if name.startswith(("x-ratelimit", "retry"))]
    assert not told


async def test_a_request_is_in_flight_until_its_reply_is_whole(autojump_clock: MockClock) -> None:
    """Without a player to ask, by the time its delays take."""
    slow: JsonObject = {"kind": "latency", "delay": 10}
    simulator = limiting("capacity", slow, requests_in_flight=2, retry_after=True)
    seen = []

    for pause in (0, 4, 1, 5, 0, 4):
        await trio.sleep(pause)
        reply = ask(simulator)
        seen.append((reply.status, reply.header("retry-after")))

    assert seen == [(200, None), (200, None), (429, "5"), (200, None), (429, "4"), (200, None)]


async def test_a_hang_holds_its_place(autojump_clock: MockClock) -> None:
    """As long as nobody says that the client has left."""
    simulator = limiting("capacity", {"kind": "hang", "script": [1]}, requests_in_flight=1, retry_after=True)
    ask(simulator)
    await trio.sleep(3600)

    refused = ask(simulator)

    assert (refused.status, refused.header("retry-after")) == (429, "60")


async def test_a_client_that_left_holds_no_place(autojump_clock: MockClock) -> None:
    """The player knows who is still there."""
    simulator = limiting("capacity", {"kind": "hang", "script": [1]}, requests_in_flight=1)
    statuses = []

    for _ in range(3):
        simulator.statistics.request_started()
        statuses.append(ask(simulator).status)
        simulator.statistics.request_ended()

    assert statuses == [None, 200, 200]


async def test_of_several_clients_that_hang_those_that_left_hold_no_place(autojump_clock: MockClock) -> None:
    """Who is still there holds one."""
    simulator = limiting("capacity", {"kind": "hang"}, requests_in_flight=2)
    statuses = []

    for leaves in (False, False, False, True, False):
        simulator.statistics.request_started()
        statuses.append(ask(simulator).status)
        if leaves or statuses[-1] == 429:
            simulator.statistics.request_ended()
        if leaves:
            simulator.statistics.request_ended()

    assert statuses == [None, None, 429, 429, None]


async def test_who_left_long_ago_is_forgotten_also_where_other_models_are_busy(autojump_clock: MockClock) -> None:
    """The player's count is of all models; a moment without any tells that the hung ones are gone."""
    hang: JsonObject = {"kind": "hang", "script": [1, 2]}
    simulator = limiting("capacity", hang, requests_in_flight=2, match={"model": "small"})
    seen = simulator.statistics
    seen.request_started()
    ask(simulator)
    seen.request_ended()

    statuses = []
    for model in ("small", "other", "small"):
        seen.request_started()
        statuses.append(ask(simulator, model=model).status)

    assert statuses == [None, 200, 200]
