"""Agents cancelled at any moment: nothing is held, nothing runs on, and the document's loop goes on or goes away."""

import agents as sdk
import pytest
import trio
from tests.bridge.world import World, make_roles, open_world
from trio.testing import MockClock
from trio_asyncio._base import BaseTrioEventLoop

from agent_pipeline.bridge.session import DocumentSession
from agent_pipeline.config.role_models import Api
from agent_pipeline.control.deadline import deadline_rung
from agent_pipeline.control.scope import CallScope, call_scope
from agent_pipeline.domain.events import AgentEvent
from agent_pipeline.errors import DeadlineExceededError, WaitTooLongError
from agent_pipeline.testing import cancel_at_every_step


async def pause() -> str:
    """Do something that takes a second."""
    await trio.sleep(1)
    return "done"


async def _use_again(session: DocumentSession) -> None:
    """Whatever was cancelled, the document's next stage can work."""
    assert "It works." in await session.run_agent("writer", "It works.")


def _assert_quiet(world: World) -> None:
    world.assert_idle()
    assert not [event for event in world.events if getattr(event, "event", "") == "loop_error"]


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("stream", [False, True])
def test_agent_with_tool_cancelled_at_every_step(api: Api, *, stream: bool) -> None:
    """From the opening of the loop to the last answer: no place, hold, task or loop is left behind."""

    async def work(scope: trio.CancelScope) -> None:
        before = len(_tasks())
        async with open_world(api=api, roles=make_roles({"stream": stream}), latency=1) as world:
            async with world.bridge.document("1") as session:
                with scope:
                    await session.run_agent("writer", "Do something.", tools=[pause])
                await _use_again(session)
            _assert_quiet(world)
            assert len(_tasks()) == before

    assert cancel_at_every_step(work, stride=6) > 5


def test_document_cancelled_at_every_step() -> None:
    """The whole document, its opening and closing included; also while its agent hands over."""

    async def work(scope: trio.CancelScope) -> None:
        before = len(_tasks())
        editor = sdk.Agent[object](name="editor", model="writer")
        front = sdk.Agent[object](name="front", model="writer", handoffs=[editor])
        async with open_world(latency=1) as world:
            with scope:
                async with world.bridge.document("1") as session:
                    await session.run_agent(front, "Hand this to the editor.")
            _assert_quiet(world)
            assert world.bridge.loops_opened <= 1
            assert len(_tasks()) == before

    assert cancel_at_every_step(work, stride=4) > 5


def test_agents_at_once_cancelled_at_every_step() -> None:
    """Several agents in a nursery of the stage's own, behind a gate that lets one request through at a time."""

    async def work(scope: trio.CancelScope) -> None:
        async with open_world(latency=1, in_flight=1) as world:
            async with world.bridge.document("1") as session:
                with scope:
                    async with trio.open_nursery() as nursery:
                        for _ in range(3):
                            nursery.start_soon(session.run_agent, "writer", "Hi.")
                await _use_again(session)
            _assert_quiet(world)

    assert cancel_at_every_step(work, stride=8) > 5


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_every_single_step(*, stream: bool) -> None:
    """The first sweep again, without leaving out a step."""

    async def work(scope: trio.CancelScope) -> None:
        async with open_world(roles=make_roles({"stream": stream}), latency=1, max_attempts=2) as world:
            async with world.bridge.document("1") as session:
                with scope:
                    await session.run_agent("writer", "Do something.", tools=[pause])
                await _use_again(session)
            _assert_quiet(world)

    assert cancel_at_every_step(work) > 40


def _tasks() -> list[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    todo = [] if root is None else [root]
    found = []
    while todo:
        task = todo.pop()
        found.append(task)
        todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


async def test_stage_deadline_cancels_the_agent_and_keeps_the_loop(autojump_clock: MockClock) -> None:
    """The next stage of the document works in the same loop."""
    faults = [{"kind": "hang", "match": {"contains": "Hang."}}]
    async with open_world(faults=faults) as world:
        async with world.bridge.document("1") as session:
            with pytest.raises(DeadlineExceededError), deadline_rung("stage", 30):
                await session.run_agent("writer", "Hang.")
            assert trio.current_time() == 30
            assert world.gate.budget.tokens.statistics().reserved == 0
            await _use_again(session)
            assert world.bridge.loops_opened == 1

        assert [record.outcome for record in world.records] == ["cancelled", "succeeded"]
        _assert_quiet(world)


@pytest.mark.parametrize("stream", [False, True])
async def test_deadline_in_a_tool_reaches_trio(autojump_clock: MockClock, *, stream: bool) -> None:
    """A tool's own cleanup runs, under Trio, before the stage goes on."""
    cleaned = []

    async def wait() -> str:
        """Wait for ever."""
        try:
            await trio.sleep(10_000)
        finally:
            cleaned.append(trio.current_time())
        return ""

    async with open_world(roles=make_roles({"stream": stream})) as world:
        async with world.bridge.document("1") as session:
            with pytest.raises(DeadlineExceededError), deadline_rung("stage", 30):
                await session.run_agent("writer", "Wait.", tools=[wait])
            await _use_again(session)

        assert cleaned == [30]
        _assert_quiet(world)


async def test_answer_at_the_deadline_is_kept(autojump_clock: MockClock) -> None:
    """What was paid for and arrived is not thrown away because the clock struck."""
    async with open_world(latency=30) as world, world.bridge.document("1") as session:
        with trio.move_on_after(30.000001) as scope:
            await session.run_agent("writer", "Hi.")

    assert not scope.cancelled_caught


async def test_gate_sees_the_stages_deadline(autojump_clock: MockClock) -> None:
    """A request from the loop runs outside the stage's cancel scopes; the scope it carries tells the gate."""
    faults = [{"kind": "status", "status": 429, "retry_after": 90, "script": [1]}]
    async with open_world(faults=faults) as world, world.bridge.document("1") as session:
        with call_scope(CallScope("1", "write", 1, deadline=60)), pytest.raises(WaitTooLongError):
            await session.run_agent("writer", "Hi.")
        assert trio.current_time() == 0
        with call_scope(CallScope("1", "write", 1, deadline=120)):
            await session.run_agent("writer", "Hi.")
        assert trio.current_time() == 90


async def test_document_that_only_asks_opens_no_loop(autojump_clock: MockClock) -> None:
    """Half a millisecond less."""
    async with open_world() as world:
        async with world.bridge.document("1"):
            await world.bridge.find_role("writer").ask("Hi.")

        assert (world.bridge.loops_opened, len(world.records), world.trace_lines) == (0, 1, [])


async def test_each_document_has_its_own_loop(autojump_clock: MockClock) -> None:
    """One, however many agents it runs, and never another document's."""
    loops: list[BaseTrioEventLoop | None] = []

    async def work(document_id: str) -> None:
        async with world.bridge.document(document_id) as session:
            await session.run_agent("writer", "Hi.")
            first = session._loop
            await session.run_agent("writer", "Hi.")
            assert session._loop is first
            loops.append(first)

    async with open_world(latency=1) as world:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(work, str(number))
        await work("later")

        assert len({id(loop) for loop in loops}) == 6
        assert all(loop is not None and loop.is_closed() for loop in loops)
        assert (world.bridge.loops_opened, world.bridge.loops_closed) == (6, 6)


def test_closing_a_document_can_not_be_cancelled() -> None:
    """A document whose artifact is written must not end as cancelled while its loop closes."""
    closing = []

    async def work(scope: trio.CancelScope) -> None:
        is_done = False
        async with open_world() as world:
            with scope:
                async with world.bridge.document("1") as session:
                    await session.run_agent("writer", "Hi.")
                    is_done = True
            if is_done:
                closing.append(scope.cancel_called)
                assert not scope.cancelled_caught
            _assert_quiet(world)

    cancel_at_every_step(work)
    assert closing.count(True) > 5


async def test_document_cancelled_as_its_work_ends_has_ended(autojump_clock: MockClock) -> None:
    """The narrowest case: nothing is left to wait for but the loop."""
    async with open_world() as world:
        with trio.CancelScope() as scope:
            async with world.bridge.document("1") as session:
                await session.run_agent("writer", "Hi.")
                scope.cancel()

        assert not scope.cancelled_caught
        _assert_quiet(world)


@pytest.mark.parametrize("opened", [False, True])
async def test_cancellation_passes_through_a_document(autojump_clock: MockClock, *, opened: bool) -> None:
    """It belongs to whoever cancelled: what comes after the document in the same scope does not run."""
    went_on = False
    async with open_world() as world:
        with trio.CancelScope() as scope:
            async with world.bridge.document("1") as session:
                if opened:
                    await session.run_agent("writer", "Hi.")
                scope.cancel()
                await trio.lowlevel.checkpoint()
            went_on = True

        assert (scope.cancelled_caught, went_on) == (True, False)
        _assert_quiet(world)


async def _fail_in_document(world: World, *, opened: bool) -> None:
    async with world.bridge.document("1") as session:
        if opened:
            await session.run_agent("writer", "Hi.")
        raise KeyError


async def test_what_a_document_raises_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    """No nursery's group around it, whether its loop was opened or not."""
    for opened in (False, True):
        async with open_world() as world:
            with pytest.raises(KeyError):
                await _fail_in_document(world, opened=opened)
            _assert_quiet(world)


async def test_keyboard_interrupt_in_an_agent_ends_the_document(autojump_clock: MockClock) -> None:
    """It must neither hang the process nor be taken for the agent's failure."""

    async def interrupt() -> str:
        """Press Ctrl-C."""
        raise KeyboardInterrupt

    async with open_world() as world:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with world.bridge.document("1") as session:
                await session.run_agent("writer", "Hi.", tools=[interrupt])

        assert caught.group_contains(KeyboardInterrupt)
        assert world.bridge.loops_opened == world.bridge.loops_closed


async def test_error_nobody_awaits_is_told_for_its_document(autojump_clock: MockClock) -> None:
    """A task some library left behind fails: a line in the log, not the document's end."""

    async def leave_behind() -> str:
        """Leave something behind."""
        loop = session._loop
        assert loop is not None
        loop.call_soon({}.__getitem__, "left behind")
        return "done"

    async with open_world() as world:
        async with world.bridge.document("7") as session:
            await session.run_agent("writer", "Hi.", tools=[leave_behind])

        told = [event for event in world.events if isinstance(event, AgentEvent) and event.event == "loop_error"]
        assert [(event.document_id, "left behind" in str(event.detail)) for event in told] == [("7", True)]
