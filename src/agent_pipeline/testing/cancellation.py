"""The cancellation sweep: an operation cancelled at each of its scheduler steps in turn, and looked at after each."""

import gc
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

import trio
from trio._core import _run as scheduler
from trio.testing import MockClock

MOST_MOMENTS = 10_000
"""Moments of the longest operation that is swept, two for each scheduler step."""

_FLAG = "_ALLOW_DETERMINISTIC_SCHEDULING"

_is_swept: ContextVar[bool] = ContextVar("_is_swept", default=False)
"""Set in the tasks of the operation, which inherit it, and not in those that Trio has for itself."""


class _CancelAtMoment(trio.abc.Instrument):
    def __init__(self, scope: trio.CancelScope, moment: int) -> None:
        self._scope = scope
        self._moments_left = moment

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Maybe cancel: what the task waited for has come, and it does not know yet."""
        self._count(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Maybe cancel: the task has just begun to wait."""
        self._count(task)

    def _count(self, task: trio.lowlevel.Task) -> None:
        if task.context.get(_is_swept):
            self._moments_left -= 1
            if self._moments_left == 0:
                self._scope.cancel()


def virtual_clock() -> trio.abc.Clock:
    """Return a clock that jumps over every wait."""
    return MockClock(autojump_threshold=0)


def cancel_at_every_step(
    operation: Callable[[trio.CancelScope], Awaitable[None]],
    *,
    first: int = 1,
    stride: int = 1,
    seed: int = 0,
    clock: Callable[[], trio.abc.Clock] | None = virtual_clock,
) -> int:
    """Run an operation again and again, each time in a Trio of its own, cancelled one moment later.

    The moments are those before and after each scheduler step of the operation's tasks: when what a task waited for
    has come, and when it has begun to wait.

    `operation(scope)` sets up what it needs, enters the scope around what is to be cancelled, and asserts after it
    what has to hold however far that got: nothing held, nothing half-written, nothing left running. The sweep is over
    when a run ends before its moment comes, so the last run is an undisturbed one.

    Call it from a plain function, not from under Trio. What an operation raises goes out with a note of the moment.

    Args:
        operation: called afresh for each run.
        first: the moment at which the first run is cancelled, from 1; the note's, to see that run again.
        stride: moments from one run to the next; more than 1 leaves some out, an even one all of one kind.
        seed: decides which of several tasks that could go on goes first, alike in all runs; another one sweeps another
            order.
        clock: makes the clock of each run. None is real time: for threads and sockets, which virtual time outruns, and
            whose moments are not quite the same in each run.

    Returns:
        The number of runs.

    Raises:
        AssertionError: the operation has more than `MOST_MOMENTS`.
    """
    for run, moment in enumerate(range(first, MOST_MOMENTS, stride), start=1):
        try:
            with _same_order(seed):
                was_cancelled = trio.run(_once, operation, moment, clock=None if clock is None else clock())
        except BaseException as exc:
            exc.add_note(f"cancelled at moment {moment}")
            raise
        if not was_cancelled:
            gc.collect()  # what was left behind complains here, not in some other test
            return run
    msg = f"not done after {MOST_MOMENTS} moments"
    raise AssertionError(msg)


async def _once(operation: Callable[[trio.CancelScope], Awaitable[None]], moment: int) -> bool:
    """Run the operation; return whether its moment came."""
    scope = trio.CancelScope()
    instrument = _CancelAtMoment(scope, moment)
    _is_swept.set(True)
    trio.lowlevel.add_instrument(instrument)
    await operation(scope)
    trio.lowlevel.remove_instrument(instrument)
    return scope.cancel_called


@contextmanager
def _same_order(seed: int) -> Generator[None]:
    """Let Trio draw the order of tasks from a seed, the way Hypothesis has it; otherwise moments would be missed."""
    names, rng = vars(scheduler), scheduler._r  # noqa: SLF001 - there is no public way; a test guards it
    before, state = names[_FLAG], rng.getstate()
    names[_FLAG] = True
    rng.seed(seed)
    try:
        yield
    finally:
        names[_FLAG] = before
        rng.setstate(state)
