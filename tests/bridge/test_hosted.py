"""A resource under Trio serves callers of every flavour, and a caller that is cancelled leaves nothing going on."""

import asyncio
import contextvars
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
import trio
from tests.bridge.hosted_room import Room, hosted_room

from agent_pipeline.bridge import Hosted

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="none")


async def test_under_trio_it_lives_in_the_callers_run() -> None:
    hosted, room = hosted_room()

    async with hosted:
        assert await hosted.run(Room.add, 2, 3) == 5
        assert room.thread == threading.get_ident()

    assert room.events == ["opened", "closed"]
    with pytest.raises(RuntimeError, match="closed"):
        await hosted.run(Room.add, 2, 3)


async def test_what_leaves_the_block_under_trio_leaves_as_it_is() -> None:
    """Not in a group, though there is a nursery inside."""
    hosted, room = hosted_room()

    with pytest.raises(KeyError):
        async with hosted:
            raise KeyError("mine")
    assert room.events == ["opened", "closed"]


async def test_a_cancelled_block_under_trio_is_closed() -> None:
    hosted, room = hosted_room()

    with trio.CancelScope() as scope:
        async with hosted, trio.open_nursery() as nursery:
            nursery.start_soon(hosted.run, Room.stay, scope.cancel)

    assert scope.cancelled_caught
    assert room.events == ["opened", "closed"]
    assert room.inside == 0


def test_closing_is_finished_also_when_it_is_cancelled() -> None:
    hosted, room = hosted_room()

    async def main() -> None:
        await hosted.run(Room.add, 1, 1)
        task = asyncio.create_task(hosted.aclose())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert room.events == ["opened", "closed"]

    asyncio.run(main())


def test_under_asyncio_it_lives_in_a_thread_of_its_own() -> None:
    hosted, room = hosted_room()

    async def main() -> int:
        async with hosted:
            assert room.thread != threading.get_ident()
            return sum(await asyncio.gather(*(hosted.run(Room.add, one, 1) for one in range(50))))

    assert asyncio.run(main()) == sum(range(50)) + 50
    assert room.events == ["opened", "closed"]


def test_code_without_a_loop_opens_it_at_the_first_call_and_closes_it() -> None:
    hosted, room = hosted_room()
    assert room.events == []

    assert hosted.run_sync(Room.add, 1, 2) == 3
    assert hosted.run_sync(Room.add, 3, 4) == 7
    hosted.close()
    hosted.close()

    assert room.events == ["opened", "closed"]
    with pytest.raises(RuntimeError, match="closed"):
        hosted.run_sync(Room.add, 1, 2)


def test_all_flavours_and_several_loops_share_one_that_nobody_opened() -> None:
    """A hub is made once at the top of a program and used from wherever."""
    hosted, room = hosted_room()

    assert hosted.run_sync(Room.add, 1, 1) == 2
    assert asyncio.run(hosted.run(Room.add, 1, 2)) == 3
    assert asyncio.run(hosted.run(Room.add, 1, 3)) == 4
    assert trio.run(hosted.run, Room.add, 1, 4) == 5
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: hosted.run_sync(Room.add, one, 0), range(100)))
    hosted.close()

    assert answers == list(range(100))
    assert room.events == ["opened", "closed"]


async def test_a_worker_thread_reaches_one_that_lives_in_the_run_that_started_the_thread() -> None:
    hosted, _ = hosted_room()

    async with hosted:
        assert await trio.to_thread.run_sync(lambda: hosted.run_sync(Room.add, 4, 4)) == 8
        with pytest.raises(RuntimeError, match="would block"):
            hosted.run_sync(Room.add, 4, 4)


def test_a_cancelled_asyncio_caller_goes_on_when_the_call_has_ended() -> None:
    hosted, room = hosted_room()

    async def main() -> None:
        async with hosted:
            entered = asyncio.Event()
            loop = asyncio.get_running_loop()

            def tell() -> None:
                loop.call_soon_threadsafe(entered.set)

            task = asyncio.create_task(hosted.run(Room.stay, tell))
            await entered.wait()
            assert room.inside == 1

            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

            assert room.inside == 0

    asyncio.run(main())


def test_a_cancelled_trio_caller_in_another_run_goes_on_when_the_call_has_ended() -> None:
    hosted, room = hosted_room()

    async def main() -> None:
        token = trio.lowlevel.current_trio_token()
        entered = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hosted.run, Room.stay, lambda: token.run_sync_soon(entered.set))
            await entered.wait()
            assert room.inside == 1
            nursery.cancel_scope.cancel()
        assert room.inside == 0

    trio.run(main)
    hosted.close()


def test_closing_ends_what_is_under_way_with_an_error() -> None:
    hosted, room = hosted_room()
    entered = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(hosted.run_sync, Room.stay, entered.set)
        entered.wait(10)

        hosted.close()

        with pytest.raises(CancelledError):
            waiting.result(10)
    assert room.inside == 0
    assert room.events == ["opened", "closed"]


async def test_closing_ends_calls_of_tasks_beside_the_block_under_trio() -> None:
    """They run in those tasks, which the block does not wait for, and would go on with what is closed."""
    hosted, room = hosted_room()
    entered = trio.Event()
    ended: list[str] = []

    async def stay() -> None:
        with pytest.raises(CancelledError):
            await hosted.run(Room.stay, entered.set)
        ended.append("call")

    async with trio.open_nursery() as nursery:
        async with hosted:
            nursery.start_soon(stay)
            await entered.wait()

        assert room.inside == 0
        assert room.events == ["opened", "closed"]
    assert ended == ["call"]


def test_a_forked_process_is_told_that_it_has_none_of_its_parents_threads() -> None:
    """It waited for an answer that nobody could give; and it ends at once, without closing what is not its own."""
    code = (
        "import os, sys\n"
        "from tests.bridge.hosted_room import Room, hosted_room\n"
        "hosted, room = hosted_room()\n"
        "hosted.run_sync(Room.add, 1, 1)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try:\n"
        "        hosted.run_sync(Room.add, 1, 1)\n"
        "    except RuntimeError as exc:\n"
        "        print('forked' in str(exc), flush=True)\n"
        "    hosted.close()\n"
        "    sys.exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(room.events, hosted.run_sync(Room.add, 2, 2), flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.splitlines() == ["True", "['opened'] 4"]


def test_an_interrupt_while_it_opens_leaves_nothing_open() -> None:
    closed = threading.Event()

    @asynccontextmanager
    async def open_slowly() -> AsyncGenerator[int]:
        await trio.sleep(0.1)
        _interrupt_main()  # which waits for this to open
        await trio.sleep(0.1)
        try:
            yield 1
        finally:
            closed.set()

    hosted = Hosted(open_slowly)
    with pytest.raises(KeyboardInterrupt):
        hosted.run_sync(_same)

    assert closed.wait(10)


def _interrupt_main() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


async def _same(one: int) -> int:
    return one


def test_an_interrupted_trio_caller_in_another_run_leaves_nothing_going_on() -> None:
    hosted, room = hosted_room()
    hosted.run_sync(Room.add, 1, 1)

    with pytest.raises(KeyboardInterrupt):
        trio.run(hosted.run, Room.stay, threading.Timer(0.2, _interrupt_main).start)

    assert room.inside == 0
    hosted.close()


def test_what_the_other_side_raises_is_raised_here() -> None:
    hosted, _ = hosted_room()

    async def fail(_room: Room) -> None:
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        hosted.run_sync(fail)
    with pytest.raises(KeyError, match="here"):
        asyncio.run(hosted.run(fail))
    hosted.close()


def _own_threads() -> set[threading.Thread]:
    """Return those of what is hosted; a test runner's own may come into sight at any time."""
    return {one for one in threading.enumerate() if one.name == "agent-pipeline"}


def test_what_opening_raises_is_raised_at_the_call_and_leaves_no_thread() -> None:
    @asynccontextmanager
    async def open_badly() -> AsyncGenerator[Room]:
        if threading.active_count():
            raise ValueError("no room")
        yield Room()

    hosted = Hosted(open_badly)
    before = _own_threads()

    with pytest.raises(ValueError, match="no room"):
        hosted.run_sync(Room.add, 1, 1)
    with pytest.raises(ValueError, match="no room"):
        asyncio.run(hosted.run(Room.add, 1, 1))
    hosted.close()

    assert _own_threads() <= before


def test_the_callers_context_variables_are_seen_on_the_other_side() -> None:
    hosted, _ = hosted_room()

    async def see(_room: Room) -> str:
        return word.get()

    async def main() -> str:
        word.set("asyncio's")
        return await hosted.run(see)

    assert asyncio.run(main()) == "asyncio's"
    assert hosted.run_sync(see) == "none"
    hosted.close()


def test_one_that_nobody_closes_ends_with_its_object() -> None:
    hosted, room = hosted_room()
    hosted.run_sync(Room.add, 1, 1)

    del hosted
    gc.collect()

    assert room.events == ["opened", "closed"]


def test_one_that_nobody_closes_does_not_keep_the_process() -> None:
    """And what closing does, such as a flush, is done."""
    code = (
        "from contextlib import asynccontextmanager\n"
        "from agent_pipeline.bridge import Hosted\n"
        "@asynccontextmanager\n"
        "async def open_it():\n"
        "    try:\n"
        "        yield 20\n"
        "    finally:\n"
        "        print('closed')\n"
        "async def double(one):\n"
        "    return 2 * one\n"
        "hosted = Hosted(open_it)\n"
        "print(hosted.run_sync(double))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["40", "closed"]


def test_neither_the_sdk_nor_trio_asyncio_is_imported_for_it() -> None:
    """Importing trio-asyncio would replace the policy of an asyncio program."""
    code = (
        "import sys\n"
        "from agent_pipeline.bridge import AsyncioThread, Caller, Hosted\n"
        "print(sorted({'agents', 'trio_asyncio', 'openai'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_call_with_a_nursery_of_its_own_that_closing_cancels_ends_cancelled_too() -> None:
    """Trio tells of it in groups; the caller in another thread is to see what others see."""
    hosted, _ = hosted_room()
    begun = threading.Event()

    async def stay_twice(room: Room) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room.stay)
            nursery.start_soon(room.stay, begun.set)

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(hosted.run_sync, stay_twice)
        assert begun.wait(10)
        hosted.close()

        with pytest.raises(CancelledError):
            call.result()
