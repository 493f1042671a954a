"""Cancel some work at each of its scheduler steps in turn, and look whether all is well after each."""

import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from trio.testing import MockClock

MOST_STEPS = 5_000


@dataclass(eq=False)
class _CancelAtStep(trio.abc.Instrument):
    scope: trio.CancelScope
    step: int

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - Trio's interface
        """Count the step; cancel in front of the one that was asked for."""
        self.step -= 1
        if self.step == 0:
            self.scope.cancel()


def cancel_at_every_step(
    work: Callable[[trio.CancelScope], Awaitable[None]], *, stride: int = 1, first: int = 1
) -> int:
    """Run `work` again and again in a virtual world of its own, cancelling its scope one step later each time.

    `work` enters the scope around what is to be cancelled, and asserts after it what has to hold. It is done once it
    is over before its turn to be cancelled comes. Returns the number of runs.
    """

    async def once(step: int) -> bool:
        scope = trio.CancelScope()
        instrument = _CancelAtStep(scope, step)
        trio.lowlevel.add_instrument(instrument)
        await work(scope)
        trio.lowlevel.remove_instrument(instrument)
        return scope.cancel_called

    for run, step in enumerate(range(first, MOST_STEPS, stride), start=1):
        if not trio.run(once, step, clock=MockClock(autojump_threshold=0)):
            gc.collect()  # what was left behind complains here, not in some other test
            return run
    msg = f"not done after {MOST_STEPS} steps"
    raise AssertionError(msg)
