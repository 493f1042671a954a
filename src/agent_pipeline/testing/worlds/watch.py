"""Looks at a world between any two steps of Trio's scheduler, and strikes when the moment has come."""

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import get_args

import outcome
import trio
from trio._core import _run as scheduler

from agent_pipeline import failpoints
from agent_pipeline.failpoints import FailpointName
from agent_pipeline.testing.worlds.troubles import Clock, Interruption

MOST_STEPS = 500_000
"""A world that takes more never ends."""

_IDLE_ROUNDS = 50
"""Rounds of the scheduler in which nothing runs, although the clock jumps to the next deadline."""


class StandstillError(Exception):
    """Thrown into every task of a world in which nothing moves any more; the world is given up."""


class Watch(trio.abc.Instrument):
    """Counts steps, looks after each, and strikes when the interruption's moment has come.

    Args:
        interruption: of this session, None for none.
        strike: interrupts the world; returns whether it could.
        look: takes a look at what has to hold at every instant.

    Attributes:
        steps: tasks' steps so far.
        failures: what was found.
    """

    def __init__(
        self, interruption: Interruption | None, *, strike: Callable[[], bool], look: Callable[[], None]
    ) -> None:
        self.steps = 0
        self.failures: list[str] = []
        self.main: trio.lowlevel.Task | None = None
        self._points: Counter[FailpointName] = Counter()
        self._idle = 0
        self._interruption = interruption
        self._strike = strike
        self._look = look

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Look, and maybe strike."""
        del task
        self.steps += 1
        self._idle = 0
        try:
            self._look()
            self._count("step", self.steps)
        except Exception as exc:  # noqa: BLE001 - Trio would drop the instrument with a line on stderr
            self.failures.append(f"the world could not be watched: {exc!r}")
            self._interruption = None
        if self.steps == MOST_STEPS:
            self._give_up(f"no end after {MOST_STEPS} steps")

    def before_io_wait(self, timeout: float) -> None:
        """Notice when nothing will ever happen again: the clock would have jumped to any deadline there is."""
        del timeout
        self._idle += 1
        if self._idle > _IDLE_ROUNDS or self.steps > MOST_STEPS:
            self._idle = 0
            self._give_up("it stands still")

    def at_failpoint(self, name: FailpointName) -> None:
        """Count a failpoint that was reached, and maybe strike right there."""
        self._points[name] += 1
        self._count(name, self._points[name])

    def _count(self, clock: Clock, count: int) -> None:
        due = self._interruption
        if due is not None and due.clock == clock and count >= due.moment and self._strike():
            self._interruption = None

    def _give_up(self, why: str) -> None:
        """Note who waits for what, and throw those out whom nobody else will wake."""
        tasks = [] if self.main is None else [task for task in _leaves(self.main) if task._abort_func is not None]  # noqa: SLF001 - Trio tells in no other way that a task is parked
        self.failures.append(f"{why}: {', '.join(sorted({task.name for task in tasks}))}")
        self._interruption = None
        for task in tasks:
            trio.lowlevel.reschedule(task, outcome.Error(StandstillError(why)))


def _leaves(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """Yield the tasks below (or this one) that have none below them: the others may be waiting for theirs."""
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    if not children:
        yield task
    for child in children:
        yield from _leaves(child)


@contextmanager
def at_failpoints(action: Callable[[FailpointName], None]) -> Generator[None]:
    """Call `action` at every failpoint inside the block."""
    for name in get_args(FailpointName):
        failpoints.arm(name, partial(action, name))
    try:
        yield
    finally:
        failpoints.disarm_all()


@contextmanager
def seeded_scheduler(seed: str) -> Generator[None]:
    """Make the order in which Trio runs tasks depend on the seed alone, inside the block.

    Uses the switch that Trio keeps for Hypothesis: tasks are sorted by age before they are shuffled.
    """
    dice, switch = scheduler._r, "_ALLOW_DETERMINISTIC_SCHEDULING"  # noqa: SLF001 - Trio's own hook for tests
    state, allowed = dice.getstate(), getattr(scheduler, switch)
    dice.setstate(random.Random(seed).getstate())
    setattr(scheduler, switch, True)
    try:
        yield
    finally:
        setattr(scheduler, switch, allowed)
        dice.setstate(state)
