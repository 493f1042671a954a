"""All tasks as one tree: Trio's by nursery, each loop's asyncio tasks; where and for how long each of them waits.

Read from outside, at any time and from any thread: no task pays for it. What only internals of Trio or asyncio tell is
left out where they are not what they were.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from types import FrameType
from typing import Any

import trio

from agent_pipeline.bridge.frames import USER, Place, await_chain, most_telling, stack, telling
from agent_pipeline.bridge.loop import inner_coroutine, open_loops
from agent_pipeline.control.scope import scope_in

Task = trio.lowlevel.Task | asyncio.Task[Any]
Guests = dict[trio.lowlevel.Task, list[asyncio.Task[Any]]]

_DOCUMENT = "document "
"""What a document's task is called before its id."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who runs in Trio's thread at this moment, and so keeps all others waiting."""

    document_id: str | None
    task: str
    place: Place

    def __str__(self) -> str:
        return f"{self.place}, in {self.task}"


class TaskTree:
    """The tasks of one Trio run; made under Trio.

    Args:
        clock: seconds, for `remember`.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = trio.lowlevel.current_task()
        while self._root.parent_nursery is not None:
            self._root = self._root.parent_nursery.parent_task
        self._thread = threading.get_ident()
        self._clock = clock
        self._seen: dict[Task, tuple[object, float]] = {}

    def remember(self) -> None:
        """Note which tasks have moved since the last time: ages are as fine as this is called often."""
        now, before = self._clock(), self._seen
        seen: dict[Task, tuple[object, float]] = {}
        for task in chain[Task](_below(self._root), _asyncio_tasks()):
            mark = _mark(task)
            known = before.get(task)
            seen[task] = known if known is not None and known[0] == mark else (mark, now)
        self._seen = seen

    def forget(self) -> None:
        """Let go of all tasks."""
        self._seen = {}

    def text(self) -> str:
        """Return the whole tree, one line per task, and the other threads; no values of variables are in it."""
        running = self._running()
        guests = _by_host()
        lines = ["Trio tasks, and the asyncio tasks of each document's loop:"]
        waiting: list[tuple[int, trio.lowlevel.Task | trio.Nursery]] = [(1, self._root)]
        while waiting:
            depth, one = waiting.pop()
            indent = "  " * depth
            if isinstance(one, trio.Nursery):
                lines.append(f"{indent}nursery")
                waiting += [(depth + 1, task) for task in sorted(one.child_tasks, key=_name, reverse=True)]
            else:
                lines.append(indent + self._line(one, running))
                lines += [f"{indent}  asyncio {self._line(guest, running)}" for guest in guests.get(one, ())]
                waiting += [(depth + 1, nursery) for nursery in reversed(one.child_nurseries)]
        threads = [f"  {name}  {_shown(places)}" for name, places in self._threads()]
        return "\n".join([*lines, "other threads:", *threads]) + "\n"

    def holder(self) -> Holder | None:
        """Return who runs in Trio's thread, None where it waits for something to do; for other threads."""
        frames = self._running()
        task = next((task for task in _below(self._root) if _first_frame(task) in frames), None)
        if task is None:
            return None
        place = most_telling(_places(task, frames))
        guest = next((guest for guest in _asyncio_tasks() if _first_frame(guest) in frames), None)
        name = _name(task) if guest is None else f"asyncio {_name(guest)}"
        return None if place is None else Holder(_document_of(task), name, place)

    def documents(self, most: int = 20) -> list[str]:
        """Return the documents that have not ended, each with where it stands; beyond `most`, how many more."""
        tasks = sorted((task for task in _below(self._root) if task.name.startswith(_DOCUMENT)), key=_name)
        running, guests = self._running(), _by_host()
        found = [self._document(task, running, guests) for task in tasks[:most]]
        return found + [f"and {len(tasks) - most} more"] * (len(tasks) > most)

    def threads(self) -> list[str]:
        """Return the threads that stand in users' code: no thread can be cancelled, and its task only waits for it."""
        found = [(name, most_telling(places)) for name, places in self._threads()]
        return [f"thread {name} at {place}" for name, place in found if place is not None and place.kind == USER]

    def program(self) -> str:
        """Return where the program around the documents stands."""
        running = self._running()
        tasks = [task for nursery in self._root.child_nurseries for task in nursery.child_tasks]
        return str(most_telling([place for task in tasks for place in _places(task, running)]))

    def _document(self, task: trio.lowlevel.Task, running: list[FrameType], guests: Guests) -> str:
        """Say where a document stands: its own task often only waits for another, in its loop or below it."""
        below = list(_below(task))
        tasks = chain[Task](below, *(guests.get(one, ()) for one in below))
        where = most_telling([place for one in tasks for place in _places(one, running)])
        # Cancelled, it has left its stage, while a tool that stays has not.
        stage = next((scope.stage for scope in (scope_in(one.context) for one in below) if scope.stage), None)
        return f"{_document_of(task)}{f' (stage {stage})' if stage else ''}{f' at {where}' if where else ''}"

    def _line(self, task: Task, running: list[FrameType]) -> str:
        known, mark = self._seen.get(task), _mark(task)
        age = self._clock() - known[1] if known is not None and known[0] == mark else 0.0
        since = "since unknown" if mark is None or not self._seen else f"for {age:.0f} s"
        return f"{_name(task)}  {since}  {_shown(_places(task, running))}"

    def _running(self) -> list[FrameType]:
        return stack(sys._current_frames().get(self._thread))

    def _threads(self) -> Iterator[tuple[str, list[Place]]]:
        """Yield the name of each other thread, and where it stands."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if ident not in {self._thread, threading.get_ident()}:
                yield str(names.get(ident, ident)), telling(stack(frame))


def _shown(places: list[Place]) -> str:
    return " > ".join(map(str, places))


def _places(task: Task, running: list[FrameType]) -> list[Place]:
    """Return where a task waits; one that runs stands where its thread does."""
    first = _first_frame(task)
    if first in running:
        return telling(running[running.index(first) :])
    return telling(await_chain(_coroutine(task)))


def _below(root: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """Yield a task and all below it, from the outside inwards."""
    waiting = [root]
    while waiting:
        task = waiting.pop()
        yield task
        waiting += [child for nursery in reversed(task.child_nurseries) for child in nursery.child_tasks]


def _document_of(task: trio.lowlevel.Task) -> str | None:
    """Return the document a task belongs to: that of the nearest document task around it."""
    while not task.name.startswith(_DOCUMENT):
        if task.parent_nursery is None:
            return None
        task = task.parent_nursery.parent_task
    return task.name.removeprefix(_DOCUMENT)


def _asyncio_tasks() -> list[asyncio.Task[Any]]:
    """Return the tasks of all open loops at once: `asyncio.all_tasks` would look at all of them for each loop."""
    loops = set(open_loops.values())
    known: set[asyncio.Task[Any]] = set()
    for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks"):  # Python 3.11; 3.12 and 3.13
        for _ in range(3):
            try:
                known.update(list(getattr(asyncio.tasks, name, ())))
                break
            except RuntimeError:
                continue  # it changed while another thread looked
    return [task for task in known if task.get_loop() in loops and not task.done()]


def _by_host() -> Guests:
    """Return the asyncio tasks by the Trio task that keeps their loop open."""
    hosts = {loop: host for host, loop in list(open_loops.items())}
    found: Guests = {}
    for task in sorted(_asyncio_tasks(), key=_name):
        host = hosts.get(task.get_loop())
        if host is not None:
            found.setdefault(host, []).append(task)
    return found


def _coroutine(task: Task) -> Any:
    return task.coro if isinstance(task, trio.lowlevel.Task) else inner_coroutine(task.get_coro())


def _first_frame(task: Task) -> FrameType | None:
    return getattr(_coroutine(task), "cr_frame", None)


def _name(task: Task) -> str:
    if isinstance(task, trio.lowlevel.Task):
        return task.name
    return f"{task.get_name()} {getattr(_coroutine(task), '__qualname__', '')}".strip()


def _mark(task: Task) -> object:
    """Return something that changes whenever the task gets on; None where that can't be known."""
    if isinstance(task, trio.lowlevel.Task):
        return getattr(task, "_schedule_points", None)
    return id(getattr(task, "_fut_waiter", None))
