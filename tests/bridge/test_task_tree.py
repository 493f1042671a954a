"""The task tree: who waits where, for how long, and who holds the loop."""

import asyncio
import inspect
import re
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio_asyncio
from tests.bridge.world import World, open_world
from trio.testing import MockClock, wait_all_tasks_blocked

from agent_pipeline.bridge import frames
from agent_pipeline.bridge.frames import FOREIGN, OURS, PLUMBING, USER, Place, most_telling
from agent_pipeline.bridge.loop import TaskCount, host_loop
from agent_pipeline.bridge.task_tree import TaskTree
from agent_pipeline.control.scope import CallScope, call_scope

HERE = re.escape(__file__)


def line_of(function: Callable[..., object], text: str) -> int:
    """Return the line of a function's source that holds a text."""
    lines, first = inspect.getsourcelines(function)
    return first + next(index for index, line in enumerate(lines) if text in line)


async def wait_for(event: trio.Event) -> None:
    """Wait."""
    await event.wait()


def document(number: int) -> str:
    """Return the name of a document's task."""
    return f"document d{number}"


# --- the tree ----------------------------------------------------------------------------------------------------


async def test_tree_shows_nurseries_names_and_places(autojump_clock: MockClock) -> None:
    """One line per task, below the nursery it is in; where users' code stands and where it all ends."""
    tree = TaskTree()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for, trio.Event(), name=document(1))
        await wait_all_tasks_blocked()

        lines = tree.text().splitlines()

        (index,) = [index for index, line in enumerate(lines) if "document d1" in line]
        line = lines[index]
        assert re.fullmatch(
            rf" +document d1  since unknown  {HERE}:{line_of(wait_for, 'event.wait')} wait_for > "
            r"trio/_sync\.py:\d+ Event\.wait",
            line,
        )
        assert re.fullmatch(r" +nursery", lines[index - 1])
        assert lines[index - 1].index("nursery") == line.index("document") - 2
        nursery.cancel_scope.cancel()


async def test_ages_begin_when_a_task_last_moved(autojump_clock: MockClock) -> None:
    """To the second of the polls, which is what they cost."""
    tree = TaskTree(clock=trio.current_time)

    async def restless() -> None:
        for _ in range(10):
            await trio.sleep(2.5)

    async def poll() -> None:
        for _ in range(20):
            tree.remember()
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for, trio.Event(), name="still")
        nursery.start_soon(restless, name="restless")
        await wait_all_tasks_blocked()
        nursery.start_soon(poll)
        await trio.sleep(9.9)

        text = tree.text()

        assert re.search(r"still  for 10 s ", text)
        assert re.search(r"restless  for 2 s ", text)
        tree.forget()
        assert re.search(r"still  since unknown ", tree.text())
        nursery.cancel_scope.cancel()


async def test_no_values_are_in_the_tree(autojump_clock: MockClock) -> None:
    """Locals hold keys and documents."""

    async def keeper(secret: str) -> None:
        local = secret * 2
        await trio.sleep(1000)
        del local

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper, "canary")
        await wait_all_tasks_blocked()

        assert "canary" not in TaskTree().text()
        nursery.cancel_scope.cancel()


async def test_async_generators_are_looked_through(autojump_clock: MockClock) -> None:
    """A source that waits stands where it waits, not where it is asked."""

    async def source() -> AsyncGenerator[int]:
        await trio.sleep(1000)
        yield 1

    async def ask() -> None:
        async with aclosing(source()) as values:
            async for _ in values:
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, name=document(1))
        await wait_all_tasks_blocked()

        (where,) = TaskTree().documents()

        assert where.startswith(f"d1 at {__file__}:{line_of(source, 'trio.sleep')} ")
        nursery.cancel_scope.cancel()


async def test_other_threads_are_listed(tmp_path: Any) -> None:  # noqa: ANN401
    """A sync tool runs in one; the task that waits for it says little."""
    told, go_on = threading.Event(), threading.Event()

    def slow_tool() -> None:
        told.set()
        go_on.wait(5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, slow_tool)
        await trio.to_thread.run_sync(told.wait)

        text = TaskTree().text()

        go_on.set()
    assert re.search(rf"slow_tool from .*  {HERE}:{line_of(slow_tool, 'go_on.wait')} ", text)


async def test_without_trios_counter_there_are_no_ages(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new Trio may keep it elsewhere; the tree stays."""
    tree = TaskTree(clock=trio.current_time)
    monkeypatch.setattr("agent_pipeline.bridge.task_tree._mark", lambda _task: None)
    tree.remember()

    assert "since unknown" in tree.text()
    assert not re.search(r"for \d+ s", tree.text())


# --- asyncio inside ------------------------------------------------------------------------------------------------


async def test_asyncio_tasks_stand_below_the_task_that_hosts_their_loop(autojump_clock: MockClock) -> None:
    """A document's agents are its own, and wait where their innermost coroutine waits."""
    tree = TaskTree(clock=trio.current_time)
    done = trio.Event()

    async def inner() -> None:
        await asyncio.sleep(1000)

    async def agent() -> None:
        await inner()

    async with trio.open_nursery() as nursery:
        loop = await nursery.start(partial(host_loop, done, print, TaskCount()), name=document(7))
        nursery.start_soon(loop.run_aio_coroutine, agent())
        for _ in range(4):
            tree.remember()
            await trio.sleep(1)

        lines = tree.text().splitlines()

        (host,) = [index for index, line in enumerate(lines) if "document d7" in line]
        assert re.fullmatch(
            rf" +asyncio Task-\d+ .*agent  for 3 s  {HERE}:{line_of(inner, 'asyncio.sleep')} \S+inner"
            r" > asyncio/tasks\.py:\d+ sleep",
            lines[host + 1],
        )
        assert lines[host + 1].index("asyncio") == lines[host].index("document") + 2
        nursery.cancel_scope.cancel()
    assert "asyncio Task" not in tree.text()


async def test_loop_that_is_closing_still_shows_its_tasks(autojump_clock: MockClock) -> None:
    """A task that swallows cancellation holds its loop just then; that is when somebody looks."""
    tree, done, enough = TaskTree(), trio.Event(), asyncio.Event()

    async def stubborn() -> None:
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                continue

    async with trio.open_nursery() as nursery:
        loop = await nursery.start(host_loop, done, print, TaskCount())
        task = loop.create_task(stubborn())
        await wait_all_tasks_blocked()
        done.set()
        await wait_all_tasks_blocked()

        assert re.search(rf"asyncio Task-\d+ .*stubborn .*{HERE}:{line_of(stubborn, 'enough.wait()')} ", tree.text())

        loop.call_soon(enough.set)
    assert task.done()


async def test_document_stands_where_its_innermost_user_code_waits(autojump_clock: MockClock) -> None:
    """Its own task only waits for an agent, which waits for a tool; the tool is what a person can change."""

    async def look_up(topic: str) -> str:
        """Look a topic up."""
        await trio.sleep(1000)
        return topic

    async def travel(world: World) -> None:
        async with world.bridge.document("d3") as session:
            with call_scope(CallScope("d3", "catalogue", 1)):
                await session.run_agent("writer", "Look the topic up.", tools=[look_up])

    async with open_world() as world, trio.open_nursery() as nursery:
        nursery.start_soon(travel, world, name=document(3))
        await trio.sleep(1)

        documents = TaskTree().documents()

        (place,) = documents
        assert place.startswith(f"d3 (stage catalogue) at {__file__}:{line_of(look_up, 'trio.sleep')} ")
        nursery.cancel_scope.cancel()


async def test_documents_beyond_the_most_are_counted(autojump_clock: MockClock) -> None:
    """A thousand names help nobody."""
    tree = TaskTree()
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(trio.sleep_forever, name=document(number))
        await wait_all_tasks_blocked()

        assert len(tree.documents(5)) == 5
        assert tree.documents(3)[3:] == ["and 2 more"]
        nursery.cancel_scope.cancel()
    assert tree.documents() == []


def test_the_program_stands_where_its_main_task_does() -> None:
    """When every document has ended, that is what a run that does not end waits for."""

    async def close() -> str:
        return await trio.to_thread.run_sync(TaskTree().program)

    assert trio.run(close).startswith(f"{__file__}:{line_of(close, 'to_thread')} ")


# --- who holds the loop ----------------------------------------------------------------------------------------------


class Onlooker:
    """A thread that looks who holds the loop, while somebody does."""

    def __init__(self, tree: TaskTree) -> None:
        self._tree = tree
        self.seen: list[object] = []
        self.text = ""
        self._entered, self._looked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        assert self._entered.wait(5)
        time.sleep(0.01)  # until the one who holds the loop waits
        self.seen.append(self._tree.holder())
        self.text = self._tree.text()
        self._looked.set()

    def hold(self) -> None:
        """Be the one who holds the loop."""
        self._entered.set()
        assert self._looked.wait(5)
        self._thread.join()


async def test_trio_task_that_holds_the_loop_is_named() -> None:
    """With its document, and the line that keeps everybody waiting."""
    onlooker = Onlooker(TaskTree())

    async def nap() -> None:
        onlooker.hold()

    async def stage() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nap, name="a tool")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage, name=document(1))
        nursery.start_soon(trio.sleep, 0.01, name=document(2))

    (holder,) = onlooker.seen
    assert str(holder) == f"{__file__}:{line_of(Onlooker.hold, '_looked.wait')} Onlooker.hold, in a tool"
    assert getattr(holder, "document_id", None) == "d1"
    assert re.search(rf"a tool .*{HERE}:{line_of(Onlooker.hold, '_looked.wait')} ", onlooker.text)


async def test_asyncio_task_that_holds_the_loop_is_named() -> None:
    """The task, not the loop it runs in, which is always the same."""
    onlooker, done = Onlooker(TaskTree()), trio.Event()

    async def blocking_agent() -> None:
        onlooker.hold()

    async def document_task() -> None:
        async with trio.open_nursery() as nursery:
            loop = await nursery.start(host_loop, done, print, TaskCount())
            await loop.run_aio_coroutine(blocking_agent())
            done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(document_task, name=document(4))

    (holder,) = onlooker.seen
    assert re.fullmatch(rf"{HERE}:\d+ Onlooker\.hold, in asyncio Task-\d+ .*blocking_agent", str(holder))
    assert getattr(holder, "document_id", None) == "d4"


async def test_loop_that_waits_is_held_by_nobody() -> None:
    """A process that was stopped and goes on has an old beat, and no culprit."""
    tree = TaskTree()

    assert await trio.to_thread.run_sync(tree.holder) is None


# --- places ----------------------------------------------------------------------------------------------------------


def test_the_place_that_tells_most_is_nearest_to_the_user() -> None:
    """Users' own code before installed packages, those before ours, ours before what is below; innermost first."""
    user, inner = Place("a.py", 1, "f", USER), Place("b.py", 2, "g", USER)
    others = [Place("c.py", 3, "h", kind) for kind in (FOREIGN, OURS, PLUMBING)]

    assert most_telling([user, others[1], inner, others[2]]) is inner
    assert most_telling([others[2], others[1], others[0]]) is others[0]
    assert most_telling([others[2], others[1]]) is others[1]
    assert most_telling([]) is None


@pytest.mark.parametrize(
    ("filename", "name", "kind"),
    [
        (frames.__file__, "agent_pipeline/bridge/frames.py", OURS),
        (trio.__file__, "trio/__init__.py", PLUMBING),
        (trio_asyncio.__file__, "trio_asyncio/__init__.py", PLUMBING),
        (pytest.__file__, "pytest/__init__.py", FOREIGN),
        (threading.__file__, "threading.py", PLUMBING),
        ("<frozen runpy>", "<frozen runpy>", PLUMBING),
        (__file__, __file__, USER),
        ("<string>", "<string>", USER),
    ],
)
def test_files_belong_to_somebody(filename: str, name: str, kind: int) -> None:
    """Which is what makes a place worth showing."""
    code = compile("def f(): return __import__('sys')._getframe()", filename, "exec")
    space: dict[str, Any] = {}
    exec(code, space)  # noqa: S102 - a frame of a chosen file

    place = frames.place_of(space["f"]())

    assert (place.path, place.line, place.function, place.kind) == (name, 1, "f", kind)


def test_what_is_no_coroutine_ends_the_chain() -> None:
    """Futures and whatever somebody's library awaits."""
    assert list(frames.await_chain(SimpleNamespace())) == []
    assert list(frames.await_chain(None)) == []
