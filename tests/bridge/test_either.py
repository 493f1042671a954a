"""What is awaited under Trio and asyncio alike behaves alike."""

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable

import pytest
import trio

from agent_pipeline.bridge import Wakeup, in_worker, within

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="none")

Run = Callable[[Callable[[], Awaitable[None]]], None]


def under_asyncio(main: Callable[[], Awaitable[None]]) -> None:
    async def wrapped() -> None:
        await main()

    asyncio.run(wrapped())


def under_trio(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main)


RUNS: dict[str, Run] = {"trio": under_trio, "asyncio": under_asyncio}
either = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


class LateError(Exception):
    """What the caller wants to see."""


async def forever() -> None:
    """Wait until cancelled."""
    await Wakeup().wait()


@either
def test_a_plain_function_runs_in_a_thread_with_the_callers_context(run: Run) -> None:
    async def main() -> None:
        word.set("mine")
        assert await in_worker(lambda: (word.get(), threading.current_thread() is threading.main_thread())) == (
            "mine",
            False,
        )

    run(main)


@either
def test_whoever_is_cancelled_leaves_the_thread_behind(run: Run) -> None:
    go = threading.Event()

    async def main() -> None:
        threading.Timer(0.2, go.set).start()
        with pytest.raises(LateError):
            await within(0.05, LateError, in_worker, lambda: go.wait(10))
        assert not go.is_set()

    run(main)
    go.set()


@either
def test_what_lasts_too_long_is_cancelled_and_named(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(LateError):
            await within(0.01, LateError, forever)

    run(main)


@either
@pytest.mark.parametrize("timeout", [None, 30.0])
def test_what_ends_in_time_returns(run: Run, timeout: float | None) -> None:
    async def work() -> str:
        return "done"

    async def main() -> None:
        assert await within(timeout, LateError, work) == "done"

    run(main)


@either
def test_a_timeout_of_the_functions_own_is_not_taken_for_ours(run: Run) -> None:
    async def work() -> None:
        raise TimeoutError("mine")

    async def main() -> None:
        with pytest.raises(TimeoutError, match="mine"):
            await within(30, LateError, work)

    run(main)


@either
def test_a_sleeper_is_woken_by_another_thread_each_time(run: Run) -> None:
    """Also where the bell rang just before it went to sleep."""

    async def main() -> None:
        bell = Wakeup()
        for _ in range(50):
            thread = threading.Thread(target=bell.ring)
            thread.start()
            await within(10, LateError, bell.wait)
            thread.join()
        bell.ring()
        await within(10, LateError, bell.wait)

    run(main)


@either
def test_a_bell_rings_in_vain_where_the_loop_has_gone(run: Run) -> None:
    bells: list[Wakeup] = []

    async def main() -> None:
        bells.append(Wakeup())

    run(main)

    bells[0].ring()
