"""Whoever subscribed is told of every change, in order, whatever the others do."""

import functools
import logging
import threading

import pytest

from agent_pipeline.config.typed_values import Change
from agent_pipeline.utils.subscribers import Changes, Subscribers


def step(number: int) -> Changes:
    """Return a change to this number."""
    return {"A": Change(number - 1, number)}


def put(subscribers: Subscribers, *numbers: int) -> None:
    """Put changes, then tell."""
    for number in numbers:
        subscribers.put(step(number))
    subscribers.tell()


def test_all_are_told_in_order() -> None:
    subscribers, first, second = Subscribers(), list[Changes](), list[Changes]()
    subscribers.add(first.append)
    put(subscribers, 1)
    subscribers.add(second.append)
    put(subscribers, 2, 3)

    assert first == [step(1), step(2), step(3)]
    assert second == [step(2), step(3)]


def test_nothing_is_kept_for_nobody() -> None:
    """Changes while nobody listens would pile up."""
    subscribers, told = Subscribers(), list[Changes]()
    put(subscribers, 1)
    subscribers.add(told.append)
    subscribers.put({})
    subscribers.tell()

    assert told == []


def test_one_that_raises_keeps_nobody_from_being_told(caplog: pytest.LogCaptureFixture) -> None:
    subscribers, told = Subscribers(), list[Changes]()

    def fails(_: Changes) -> None:
        raise KeyError("mine")

    subscribers.add(fails)
    subscribers.add(told.append)
    with caplog.at_level(logging.ERROR, "agent_pipeline.live_values"):
        put(subscribers, 1, 2)

    assert told == [step(1), step(2)]
    assert subscribers.failures == 2
    assert [record.getMessage() for record in caplog.records] == [
        "a subscriber failed on a change of A; the others are told"
    ] * 2
    assert caplog.records[0].exc_info is not None


def test_who_left_is_not_told_any_more() -> None:
    """Also of what was made before, and also where another's turn made it leave; leaving twice is nothing."""
    subscribers, told = Subscribers(), list[Changes]()
    subscribers.add(lambda _: leave())
    leave = subscribers.add(told.append)
    subscribers.add(told.append)

    put(subscribers, 1, 2)
    leave()

    assert told == [step(1), step(2)]


def test_what_a_subscriber_changes_is_told_after_that() -> None:
    """Otherwise the next one would hear of the second change first."""
    subscribers, told = Subscribers(), list[Changes]()

    def once_more(changes: Changes) -> None:
        if changes == step(1):
            put(subscribers, 2)

    subscribers.add(once_more)
    subscribers.add(told.append)
    put(subscribers, 1)

    assert told == [step(1), step(2)]


def test_the_first_word_is_for_one_alone() -> None:
    subscribers, first, second = Subscribers(), list[Changes](), list[Changes]()
    subscribers.add(first.append)
    subscribers.add(second.append, first=step(1))
    put(subscribers, 2)

    assert (first, second) == ([step(2)], [step(1), step(2)])


def test_an_interrupt_goes_through_and_nothing_is_lost() -> None:
    subscribers, told = Subscribers(), list[Changes]()

    def interrupts(changes: Changes) -> None:
        if changes == step(1):
            raise KeyboardInterrupt

    subscribers.add(interrupts)
    subscribers.add(told.append)
    with pytest.raises(KeyboardInterrupt):
        put(subscribers, 1, 2)
    put(subscribers, 3)

    assert told == [step(2), step(3)]


class AsyncCallable:
    async def __call__(self, _: Changes) -> None:
        raise AssertionError


async def async_function(changes: Changes) -> None:
    raise AssertionError


@pytest.mark.parametrize("subscriber", [async_function, AsyncCallable(), functools.partial(async_function)])
def test_an_async_function_is_refused(subscriber: object) -> None:
    """Nobody would await it, and nobody would notice."""
    assert callable(subscriber)

    with pytest.raises(TypeError, match="plain function"):
        Subscribers().add(subscriber)


def test_many_threads_are_told_of_in_one_order() -> None:
    """And of each change once, although whoever comes second leaves the telling to the first."""
    subscribers, told = Subscribers(), list[object]()
    count, lock = 0, threading.Lock()
    subscribers.add(lambda changes: told.append(changes["A"].new))

    def work() -> None:
        nonlocal count
        for _ in range(500):
            with lock:
                count += 1
                subscribers.put(step(count))
            subscribers.tell()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert told == list(range(1, 2001))
