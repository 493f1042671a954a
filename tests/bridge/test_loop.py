"""The document's loop: drained in one go, with the same results as the plain one; what goes wrong in it is told."""

import asyncio
import gc
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio_asyncio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock
from trio_asyncio._base import BaseTrioEventLoop

from agent_pipeline.bridge.loop import MOST_HANDLES, TaskCount, drain_ready_queue, host_loop
from agent_pipeline.bridge.open_loop import DESCRIPTORS_PER_LOOP, PipelessLoop, open_loop, opener_of
from agent_pipeline.errors import AgentRunError

Program = Callable[[BaseTrioEventLoop, Callable[[str], None]], Awaitable[None]]


async def _outcome(program: Program, *, drained: bool) -> list[tuple[str, float]]:
    """Run a program under Trio beside an open loop, ours or the plain one; return what it logged, and when."""
    log: list[tuple[str, float]] = []

    def note(word: str) -> None:
        log.append((word, trio.current_time()))

    async with open_loop() if drained else trio_asyncio.open_loop() as loop:
        loop.set_exception_handler(lambda _loop, context: note(f"handler:{context['exception']!r}"))
        if drained:
            assert drain_ready_queue(loop)
        await program(loop, note)
    return log


def _both(program: Program) -> list[tuple[str, float]]:
    plain = trio.run(lambda: _outcome(program, drained=False), clock=MockClock(autojump_threshold=0))
    drained = trio.run(lambda: _outcome(program, drained=True), clock=MockClock(autojump_threshold=0))
    assert drained == plain
    return drained


# A step is (what, delay, what it does when it runs): callbacks that schedule more, fail, or cancel the last handle.
steps: st.SearchStrategy[Any] = st.recursive(
    st.tuples(st.sampled_from(["soon", "later", "at", "task", "trio"]), st.sampled_from([0.0, 0.5, 1.0]), st.just([])),
    lambda inner: st.tuples(
        st.sampled_from(["soon", "later", "at", "task", "trio", "fail", "cancel"]),
        st.sampled_from([0.0, 0.5, 1.0]),
        st.lists(inner, max_size=4),
    ),
    max_leaves=25,
)


class _Player:
    """Plays steps on a loop and logs each under its number."""

    def __init__(self, loop: BaseTrioEventLoop, note: Callable[[str], None]) -> None:
        self.loop, self.note = loop, note
        self.handles: list[asyncio.Handle] = []
        self.number = 0

    def schedule(self, step: Any) -> None:  # noqa: ANN401 - nested tuples
        """Hand one step to the loop."""
        what, delay, then = step
        self.number += 1
        name = f"{self.number}:{what}"
        if what in {"soon", "fail", "cancel"}:
            self.handles.append(self.loop.call_soon(self.run, name, what, then))
        elif what == "later":
            self.handles.append(self.loop.call_later(delay, self.run, name, what, then))
        elif what == "at":
            self.handles.append(self.loop.call_at(self.loop.time() + delay, self.run, name, what, then))
        elif what == "trio":
            # At a time of its own: Trio runs what is ready at the same time in any order.
            self.loop.trio_as_future(self.under_trio, name, delay + self.number / 1000)
        else:
            self.loop.create_task(self.as_task(name, delay, then))

    def run(self, name: str, what: str, then: list[Any]) -> None:
        """Be the callback."""
        self.note(name)
        for step in then:
            self.schedule(step)
        if what == "fail":
            raise ValueError(name)
        if what == "cancel" and self.handles:
            self.handles[-1].cancel()

    async def as_task(self, name: str, delay: float, then: list[Any]) -> None:
        """Be an asyncio task."""
        self.note(f"{name}+")
        await asyncio.sleep(delay)
        self.run(name, "task", then)

    async def under_trio(self, name: str, delay: float) -> None:
        """Be a Trio task that asyncio asked for."""
        await trio.sleep(delay)
        self.note(name)


@given(program=st.lists(steps, max_size=8))
def test_drained_loop_does_the_same_in_the_same_order(program: list[Any]) -> None:
    """Timers, call_soon, tasks, hops to Trio, cancelled handles and failing callbacks; at the same virtual times."""

    async def play(loop: BaseTrioEventLoop, note: Callable[[str], None]) -> None:
        player = _Player(loop, note)
        for step in program:
            player.schedule(step)
        await trio.sleep(20)

    _both(play)


def test_more_handles_than_one_turn_takes() -> None:
    """Order holds across the checkpoint, and Trio gets its turn in between."""

    async def many(loop: BaseTrioEventLoop, note: Callable[[str], None]) -> None:
        for number in range(3 * MOST_HANDLES):
            loop.call_soon(note, str(number))
        await loop.synchronize()

    assert [word for word, _ in _both(many)] == [str(number) for number in range(3 * MOST_HANDLES)]


async def test_busy_loop_lets_trio_work(autojump_clock: MockClock) -> None:
    """Callbacks that schedule themselves for ever must not keep a deadline from striking."""
    turns, stopped = 0, False

    def again() -> None:
        nonlocal turns
        turns += 1
        if not stopped:
            loop.call_soon(again)

    async with trio_asyncio.open_loop() as loop:
        drain_ready_queue(loop)
        loop.call_soon(again)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        stopped = True

        assert 5 <= turns <= 12 * (MOST_HANDLES + 1)


def test_due_timer_comes_before_what_was_scheduled_after_it() -> None:
    """The plain loop looks at its timers before each callback."""

    async def timers(loop: BaseTrioEventLoop, note: Callable[[str], None]) -> None:
        loop.call_later(0, note, "timer")
        loop.call_soon(note, "soon")
        await loop.synchronize()

    assert [word for word, _ in _both(timers)] == ["timer", "soon"]


@pytest.mark.parametrize("missing", ["_main_loop_one", "_q_send", "_q_recv", "_timers", "_nursery"])
async def test_falls_back_to_the_plain_loop(autojump_clock: MockClock, missing: str) -> None:
    """With another trio-asyncio, whose inside is not what it was, documents get slower, not wrong."""
    async with trio_asyncio.open_loop() as loop:
        parts = {name: getattr(loop, name) for name in ("_main_loop_one", "_q_send", "_q_recv", "_timers", "_nursery")}
        other: Any = SimpleNamespace(**{name: part for name, part in parts.items() if name != missing})
        before = dict(vars(other))

        assert not drain_ready_queue(other)
        assert vars(other) == before


# --- the loop as a document's session hosts it -------------------------------------------------------------------


async def test_errors_nobody_awaits_are_told_and_end_nothing(autojump_clock: MockClock) -> None:
    """A failing callback or a forgotten task is the loop's business, not the document's end."""
    lines: list[str] = []
    done = trio.Event()

    async def fail() -> None:
        raise ValueError("task")

    def fail_at_once() -> None:
        raise ValueError("callback")

    async with trio.open_nursery() as nursery:
        loop: BaseTrioEventLoop = await nursery.start(host_loop, done, lines.append, TaskCount())
        loop.call_soon(fail_at_once)
        task: asyncio.Task[None] | None = loop.create_task(fail())
        await loop.synchronize()
        await loop.synchronize()
        del task
        gc.collect()
        done.set()

    assert any("callback" in line for line in lines)
    assert any("task" in line for line in lines)


@pytest.mark.parametrize("cancel", [False, True])
async def test_tasks_left_behind_are_cancelled_and_awaited(autojump_clock: MockClock, *, cancel: bool) -> None:
    """Both kinds, also when the host itself is cancelled."""
    ended: list[str] = []
    done = trio.Event()

    async def guest() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("asyncio")

    async def host() -> None:
        try:
            await trio.sleep(1000)
        finally:
            ended.append("trio")

    tasks = TaskCount()

    async with trio.open_nursery() as nursery:
        loop: BaseTrioEventLoop = await nursery.start(host_loop, done, ended.append, tasks)
        task = loop.create_task(guest())
        future = loop.trio_as_future(host)
        await trio.sleep(1)
        assert (tasks.opened, tasks.closed) == (1, 0)
        if cancel:
            nursery.cancel_scope.cancel()
        done.set()

    assert sorted(ended) == ["asyncio", "trio"]
    assert (tasks.opened, tasks.closed) == (1, 1)
    assert task.cancelled()
    assert future.cancelled()
    assert trio.current_time() < 100


@pytest.mark.parametrize("leave", [SystemExit(3), KeyboardInterrupt()])
async def test_no_task_can_end_the_loop_under_the_others(autojump_clock: MockClock, leave: BaseException) -> None:
    """Asyncio lets both out of the loop itself, and then nobody would wake those who wait."""
    done = trio.Event()
    ended: list[str] = []

    async def bystander() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            ended.append("bystander")

    async def fail() -> None:
        raise leave

    tasks = TaskCount()

    async def watch() -> None:
        async with trio.open_nursery() as nursery:
            loop: BaseTrioEventLoop = await nursery.start(host_loop, done, ended.append, tasks)
            other = loop.create_task(bystander())
            if isinstance(leave, SystemExit):
                with pytest.raises(AgentRunError, match=r"sys\.exit\(3\)"):
                    await loop.run_aio_coroutine(fail())
                await loop.run_aio_future(other)
                done.set()
            else:
                loop.create_task(fail())

    if isinstance(leave, SystemExit):
        await watch()
    else:
        with pytest.raises(BaseExceptionGroup) as caught:
            await watch()
        assert caught.group_contains(KeyboardInterrupt)
    assert ended == ["bystander"]
    assert tasks == TaskCount(opened=2, closed=2)


async def test_task_cancelled_before_it_began_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    """The coroutines it was given are closed; Python would complain on stderr of each, at every Ctrl-C."""
    done = trio.Event()

    async def inner() -> None:
        """Never run."""

    async def outer(given: Coroutine[Any, Any, None], number: int) -> None:
        """Never run either."""

    async with trio.open_nursery() as nursery:
        tasks = TaskCount()
        loop: BaseTrioEventLoop = await nursery.start(host_loop, done, print, tasks)
        task = loop.create_task(outer(inner(), 1))
        task.cancel()
        await loop.synchronize()
        await loop.synchronize()
        done.set()

    assert task.cancelled()
    assert tasks == TaskCount(opened=1, closed=1)
    gc.collect()


def descriptors() -> int:
    """Return how many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_loops_hold_no_descriptors(autojump_clock: MockClock) -> None:
    """Neither open ones, of which there may be a thousand, nor closed ones."""

    async def once() -> int:
        done = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(host_loop, done, print, TaskCount())
            held = descriptors()
            done.set()
        return held

    await once()
    before = descriptors()

    assert {await once() for _ in range(50)} == {before + DESCRIPTORS_PER_LOOP} == {before}
    assert descriptors() == before


async def test_other_threads_reach_the_loop() -> None:
    """What the self-pipe is for in plain asyncio; here they wake Trio, also where nothing else is going on."""
    async with open_loop() as loop:
        drain_ready_queue(loop)
        called = trio.Event()
        with trio.fail_after(5):
            await trio.to_thread.run_sync(loop.call_soon_threadsafe, called.set)
            await called.wait()


async def test_loops_of_a_host_program_stay_as_they_are(autojump_clock: MockClock) -> None:
    """Only the loops we open are of our class."""
    async with open_loop() as ours, trio_asyncio.open_loop() as theirs:
        assert type(ours) is PipelessLoop
        assert type(theirs) is trio_asyncio.TrioEventLoop
        assert theirs._csock is not None


def test_opener_whose_inside_is_another_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another trio-asyncio, or another asyncio, documents hold two sockets each and work."""

    @asynccontextmanager
    async def other() -> AsyncGenerator[None]:
        yield

    assert opener_of(PipelessLoop, other) is other
    assert opener_of(PipelessLoop, nullcontext) is nullcontext
    assert opener_of(PipelessLoop, trio_asyncio.open_loop) is not trio_asyncio.open_loop
    monkeypatch.delattr(BaseSelectorEventLoop, "_make_self_pipe")
    assert opener_of(PipelessLoop, trio_asyncio.open_loop) is trio_asyncio.open_loop


async def test_a_loop_that_ends_looks_at_its_own_tasks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each document would look through the tasks of all documents in flight."""

    def look(_loop: object) -> set[object]:
        pytest.fail("all tasks of the process were looked through")

    ended: list[str] = []

    async def stay() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("cancelled")

    async with open_loop() as loop:
        monkeypatch.setattr(asyncio, "all_tasks", look)
        task = loop.create_task(stay())
        await loop.synchronize()

    assert task.cancelled()
    assert ended == ["cancelled"]
