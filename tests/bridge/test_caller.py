"""Code of a caller's runs where the caller is, and guests keep their loop; whatever is cancelled is awaited."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError

import pytest
import trio
import trio_asyncio
from tests.bridge.hosted_room import Room, hosted_room

from agent_pipeline.bridge import AsyncioThread, Caller, current_flavour

# --- callers ------------------------------------------------------------------------------------------------


async def _whereabouts(given: str) -> tuple[str, str, int]:
    return given, current_flavour(), threading.get_ident()


async def _ask_back(_room: Room, caller: Caller) -> tuple[str, str, int]:
    assert current_flavour() == "trio"
    return await caller.run(_whereabouts, "word")


async def _tell_back(_room: Room, caller: Caller) -> int:
    return await caller.tell(threading.get_ident)


def test_an_asyncio_callers_functions_run_in_its_loop() -> None:
    hosted, _ = hosted_room()

    async def main() -> tuple[tuple[str, str, int], int]:
        caller = Caller.here()
        return await hosted.run(_ask_back, caller), await hosted.run(_tell_back, caller)

    here = threading.get_ident()
    assert asyncio.run(main()) == (("word", "asyncio", here), here)
    hosted.close()


async def test_a_trio_callers_functions_run_in_its_run() -> None:
    hosted, _ = hosted_room()

    async with hosted:
        here = threading.get_ident()
        assert await hosted.run(_ask_back, Caller.here()) == ("word", "trio", here)
        assert await hosted.run(_tell_back, Caller.here()) == here


def test_functions_of_code_without_a_loop_run_beside_it() -> None:
    hosted, room = hosted_room()
    caller = Caller.here()

    assert hosted.run_sync(_ask_back, caller) == ("word", "trio", room.thread)
    assert hosted.run_sync(_tell_back, caller) not in {threading.get_ident(), room.thread}
    hosted.close()


def test_a_cancelled_caller_cancels_its_own_function_on_the_way_back() -> None:
    hosted, _ = hosted_room()
    seen: list[str] = []

    async def theirs(entered: asyncio.Event) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned")

    async def ask_back(_room: Room, caller: Caller, fn: Callable[[], Awaitable[None]]) -> None:
        await caller.run(fn)

    async def main() -> None:
        entered = asyncio.Event()
        task = asyncio.create_task(hosted.run(ask_back, Caller.here(), lambda: theirs(entered)))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["cleaned"]

    asyncio.run(main())
    hosted.close()


# --- guests in a loop that lasts ---------------------------------------------------------------------------------


async def test_all_calls_of_an_asyncio_thread_share_one_loop() -> None:
    guests = AsyncioThread()

    async def loop_id() -> int:
        assert current_flavour() == "asyncio"
        return id(asyncio.get_running_loop())

    first = await guests.run(loop_id)
    second = await guests.run(loop_id)
    guests.close()
    guests.close()

    assert first == second


async def test_a_cancelled_call_into_asyncio_is_awaited() -> None:
    guests = AsyncioThread()
    token, entered, seen = trio.lowlevel.current_trio_token(), trio.Event(), list[str]()

    async def stay() -> None:
        token.run_sync_soon(entered.set)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("cleaned")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(guests.run, stay)
        await entered.wait()
        nursery.cancel_scope.cancel()

    assert seen == ["cleaned"]
    guests.close()


async def test_a_guest_that_cancels_itself_is_an_error_not_a_cancellation() -> None:
    guests = AsyncioThread()

    async def leave() -> None:
        raise asyncio.CancelledError

    with pytest.raises(CancelledError):
        await guests.run(leave)
    guests.close()


async def test_closing_an_asyncio_thread_cancels_and_awaits_what_is_in_it() -> None:
    guests = AsyncioThread()
    token, entered, seen = trio.lowlevel.current_trio_token(), trio.Event(), list[str]()

    async def stay() -> None:
        token.run_sync_soon(entered.set)
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned")

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(CancelledError):
                await guests.run(stay)

        await entered.wait()
        await trio.to_thread.run_sync(guests.close)

    assert seen == ["cleaned"]


async def test_a_document_s_loop_asks_what_lives_in_the_run_around_it() -> None:
    """As a tool of an agent does; but it must not block the thread that has to answer."""
    hosted, _ = hosted_room()

    async def as_guest() -> int:
        assert current_flavour() == "asyncio"
        with pytest.raises(RuntimeError, match="would block"):
            hosted.run_sync(Room.add, 1, 1)
        return await hosted.run(Room.add, 2, 2)

    async with hosted, trio_asyncio.open_loop():
        assert await trio_asyncio.aio_as_trio(as_guest)() == 4
