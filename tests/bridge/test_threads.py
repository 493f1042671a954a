"""Tools that do not stop when told to: a thread is left behind, a loop with awaits is ended; on the real clock."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Generator
from functools import partial

import agents as sdk
import pytest
import trio
from tests.bridge.world import World, open_world
from trio.testing import MockClock

from agent_pipeline.bridge.session import DocumentSession
from agent_pipeline.control.deadline import deadline_rung
from agent_pipeline.control.scope import CallScope, call_scope, current_scope
from agent_pipeline.domain.events import AgentEvent
from agent_pipeline.errors import AgentRunError, DeadlineExceededError

QUICKLY = 2.0
"""Seconds in which a document has to end on a busy machine; the tools here would hold it for ten."""

TOOL = "blocking.<locals>.hold_the_thread"


class Thread:
    """A function that blocks its thread until it is released, and what is known of it."""

    def __init__(self) -> None:
        self.begun, self.release, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.seen: list[str | None] = []


@pytest.fixture
def thread() -> Generator[Thread]:
    """Return one that is released at the end of the test at the latest, and has ended then if it ever began."""
    one = Thread()
    yield one
    one.release.set()
    assert not one.begun.is_set() or one.ended.wait(10)


def blocking(thread: Thread) -> Callable[[], str]:
    """Return a tool that blocks."""

    def hold_the_thread() -> str:
        """Hold it."""
        thread.seen.append(current_scope().document_id)
        thread.begun.set()
        thread.release.wait(10)
        thread.ended.set()
        return "done"

    return hold_the_thread


async def run_until_it_holds(session: DocumentSession, thread: Thread, tool: object) -> None:
    """Run an agent with this tool, and cancel it as soon as the thread is held."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(session.run_agent, "writer", "Hold.", tools=[tool]))
            assert await trio.to_thread.run_sync(thread.begun.wait, 10)
            scope.cancel()
    assert scope.cancelled_caught
    assert not thread.ended.is_set()


def left_behind(world: World) -> list[tuple[str | None, str | None, str | None]]:
    """Return document, stage and name of each thread that was left behind."""
    events = [event for event in world.events if isinstance(event, AgentEvent) and event.event == "thread_abandoned"]
    assert world.bridge.threads.abandoned == len(events)
    return [(event.document_id, event.stage, event.detail) for event in events]


@pytest.mark.parametrize("as_given", [lambda tool: tool, sdk.function_tool], ids=["plain", "of the SDK"])
async def test_stage_and_document_end_and_leave_the_thread_behind(
    thread: Thread, as_given: Callable[[Callable[[], str]], object]
) -> None:
    """Nothing can stop a thread; the document must not wait for it, and its next stage can work."""
    async with open_world() as world:
        with trio.fail_after(QUICKLY), call_scope(CallScope("d1", "write", 1)):
            async with world.bridge.document("d1") as session:
                await run_until_it_holds(session, thread, as_given(blocking(thread)))
                assert "It works." in await session.run_agent("writer", "It works.")

        assert not thread.ended.is_set()
        assert thread.seen == ["d1"]
        assert left_behind(world) == [("d1", "write", TOOL)]
        world.assert_idle()


async def test_document_that_is_cancelled_leaves_the_thread_behind(thread: Thread) -> None:
    """Also where all of it is cancelled, its loop included."""
    async with open_world() as world:

        async def work() -> None:
            async with world.bridge.document("d1") as session:
                await session.run_agent("writer", "Hold.", tools=[blocking(thread)])

        with trio.fail_after(QUICKLY):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work)
                assert await trio.to_thread.run_sync(thread.begun.wait, 10)
                nursery.cancel_scope.cancel()

        assert len(left_behind(world)) == 1
        assert world.bridge.loops_opened == world.bridge.loops_closed == 1


async def test_thread_that_ends_in_time_is_not_left_behind(thread: Thread) -> None:
    """Whether it returns, raises or exits."""

    def fail() -> str:
        """Fail."""
        raise ValueError

    def leave() -> str:
        """Leave."""
        raise SystemExit(3)

    thread.release.set()
    async with open_world() as world:
        async with world.bridge.document("d1") as session:
            await session.run_agent("writer", "Hold.", tools=[blocking(thread)])
        async with world.bridge.document("d2") as session:  # the threads outlive each document's loop
            await session.run_agent("writer", "Hold.", tools=[blocking(thread)])
            await session.run_agent("writer", "Fail.", tools=[fail])
            with pytest.raises(AgentRunError, match=r"sys\.exit\(3\)"):
                await session.run_agent("writer", "Leave.", tools=[leave])

        assert left_behind(world) == []


async def test_who_waits_for_a_thread_leaves_none_behind(thread: Thread) -> None:
    """Those left behind keep their places; one that never got a place never began, and artifacts have their own."""
    waiting = Thread()
    async with open_world() as world:
        world.bridge.threads._places.total_tokens = 1
        with trio.fail_after(QUICKLY):
            async with world.bridge.document("d1") as session:
                await run_until_it_holds(session, thread, blocking(thread))
                with pytest.raises(DeadlineExceededError), deadline_rung("stage", 0.2):
                    await session.run_agent("writer", "Hold.", tools=[blocking(waiting)])
            await trio.to_thread.run_sync(threading.get_ident)

        assert not waiting.begun.is_set()
        assert len(left_behind(world)) == 1


async def spin_under_trio() -> str:
    """Spin."""
    for _ in itertools.count():
        await trio.lowlevel.checkpoint()
    return "never"


@sdk.function_tool
async def spin_under_asyncio() -> str:
    """Spin."""
    for _ in itertools.count():
        await asyncio.sleep(0)
    return "never"


@pytest.mark.parametrize("spin", [spin_under_trio, spin_under_asyncio], ids=["trio", "asyncio"])
async def test_loop_with_awaits_ends_at_the_deadline(spin: object) -> None:
    """It gives way at each turn, so it can be cancelled there; the other documents go on meanwhile."""
    async with open_world() as world:
        with trio.fail_after(QUICKLY):
            async with world.bridge.document("d1") as session, world.bridge.document("d2") as other:
                await session.run_agent("writer", "Hi.")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(other.run_agent, "writer", "Hi.")
                    with pytest.raises(DeadlineExceededError), deadline_rung("stage", 0.2):
                        await session.run_agent("writer", "Spin.", tools=[spin])

        assert [record.outcome for record in world.records] == ["succeeded"] * 3
        world.assert_idle()


@pytest.mark.parametrize("kind", ["trio", "asyncio"])
async def test_tool_that_swallows_its_cancellation_gets_no_further_request(
    autojump_clock: MockClock, kind: str
) -> None:
    """The agent was cancelled, whatever its tool makes of it: the model is not asked again."""
    swallowed = []

    async def stubborn() -> str:
        """Be stubborn."""
        try:
            await trio.sleep(1000)
        except trio.Cancelled:
            swallowed.append("trio")
        return "late"

    @sdk.function_tool
    async def stubborn_guest() -> str:
        """Be stubborn."""
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            swallowed.append("asyncio")
        return "late"

    tool = stubborn if kind == "trio" else stubborn_guest
    async with open_world() as world:
        async with world.bridge.document("d1") as session:
            with pytest.raises(DeadlineExceededError), deadline_rung("stage", 30):
                await session.run_agent("writer", "Wait.", tools=[tool])

        assert trio.current_time() == 30
        assert (swallowed, len(world.records)) == ([kind], 1)
