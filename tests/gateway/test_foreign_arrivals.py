"""Chunks on their way from the asyncio loop to Trio."""

import threading

import pytest
import trio
import trio.testing

from agent_pipeline.control.call import Attempt
from agent_pipeline.gateway.foreign.arrivals import Arrivals
from agent_pipeline.gateway.foreign.requests import ForeignRequest

REQUEST = ForeignRequest("stream", b"{}")


async def test_what_came_before_the_end_is_handed_on_before_the_block_ends() -> None:
    """Trio may not have come to it by then."""
    taken: list[object] = []
    with Arrivals(taken.append, REQUEST, Attempt(1)) as arrivals:
        arrivals.put(1)
        arrivals.put(2)

    assert (taken, arrivals.count) == ([1, 2], 2)


async def test_what_came_before_a_failure_is_handed_on_and_told() -> None:
    """So the gate knows that no other attempt may follow."""
    taken: list[object] = []
    attempt = Attempt(1)

    def fail() -> None:
        with Arrivals(taken.append, REQUEST, attempt) as arrivals:
            arrivals.put(1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert (taken, attempt.handed_on) == ([1], True)


async def test_nothing_is_handed_on_after_the_block() -> None:
    """Its caller has gone on."""
    taken: list[object] = []
    with Arrivals(taken.append, REQUEST, Attempt(1)) as arrivals:
        pass
    arrivals.put(1)
    await trio.testing.wait_all_tasks_blocked()

    assert taken == []


async def test_error_of_the_taker_is_raised_by_the_block_and_nothing_follows() -> None:
    """Not by Trio itself, which would not survive it."""
    error = KeyError("enough")

    def take(_chunk: object) -> None:
        raise error

    arrivals = Arrivals(take, REQUEST, Attempt(1))

    async def stream() -> None:
        with arrivals:
            arrivals.put(1)
            arrivals.put(2)
            await trio.sleep_forever()

    with pytest.raises(KeyError) as caught:
        await stream()

    assert caught.value is error
    assert arrivals.count == 1


async def test_order_is_kept_from_another_thread() -> None:
    """As many as there are, in the order they came."""
    taken: list[object] = []

    with Arrivals(taken.append, REQUEST, Attempt(1)) as arrivals:

        def talk() -> None:
            for number in range(1000):
                arrivals.put(number)

        thread = threading.Thread(target=talk)
        thread.start()
        await trio.to_thread.run_sync(thread.join)

    assert taken == list(range(1000))


def test_chunk_that_comes_when_trio_has_ended_is_dropped() -> None:
    """The loop of the clients may outlive whoever asked."""

    async def main() -> Arrivals:
        with Arrivals(lambda _chunk: None, REQUEST, Attempt(1)) as arrivals:
            return arrivals

    trio.run(main).put(1)
