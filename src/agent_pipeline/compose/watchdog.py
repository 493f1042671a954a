"""A thread for what Trio can't do for a run: count every signal, see a loop that is held and tasks that stay."""

import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Literal, Protocol

from agent_pipeline.compose.signal_inbox import SignalInbox
from agent_pipeline.pipeline.signals import LEAVE_AT

TICK = 0.5
"""Seconds between two looks."""

_TREE_PATIENCE = 1.0
"""Seconds after which a tree that Trio was asked for is drawn from here."""

_SUSPENDED = 2.0
"""Seconds between two looks, beyond the tick, from which on the process must have been stopped, or the interpreter."""

Phase = Literal["working", "cancelling", "closing", "closed"]


class Watched(Protocol):
    """A run as its watchdog sees it; called from the watchdog's thread.

    Attributes:
        phase: how far it has got.
        grace: seconds that documents in flight may go on after the first signal; None is unlimited.
        abandon: seconds that tasks which are cancelled, or files which are closed, may take; None is unlimited.
        beat_at: when Trio ran last, as `time.monotonic` has it; None where it need not.
    """

    grace: float | None
    abandon: float | None
    beat_at: float | None

    @property
    def phase(self) -> Phase:
        """How far it has got."""
        ...

    def obey(self, name: str) -> None:
        """Hand a signal to Trio."""
        ...

    def ask_for_tree(self) -> None:
        """Let Trio write a tree."""
        ...

    def write_owed_tree(self) -> None:
        """Write the tree that Trio was asked for, where it has not."""
        ...

    def tell_stall(self, seconds: float) -> bool:
        """Tell who holds the loop; False where nobody does."""
        ...

    def tell_failure(self, error: Exception) -> None:
        """Tell that the watchdog itself could not do something."""
        ...

    def leave(self, signals: list[str]) -> None:
        """End the process, at once; `signals` are those that came, in order."""
        ...


class Watchdog:
    """Looks every half second, and at each signal.

    Args:
        inbox: of this process's signals.
        run: what it watches.
        stall_after: seconds without a beat after which the loop counts as held.
        clock: seconds.
    """

    def __init__(
        self, inbox: SignalInbox, run: Watched, *, stall_after: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._inbox = inbox
        self._run = run
        self._stall_after = stall_after
        self._clock = clock
        self._tick = min(TICK, stall_after / 4)
        self._looked_at = clock()
        self._signals: list[str] = []
        self._phase: Phase = "working"
        self._deadline = math.inf
        self._tree_due = math.inf
        self._told_beat: float | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; returns when nothing more will be done."""
        self._ended = True
        self._inbox.wake()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended:
            steps: list[Callable[[], None]] = [partial(self.take, name) for name in self._inbox.wait(self._tick)]
            for step in (*steps, self.look):
                try:
                    step()
                except Exception as exc:  # noqa: BLE001 - nobody else would count the next signal
                    self._run.tell_failure(exc)

    def take(self, name: str) -> None:
        """Take a signal: SIGUSR1 wants a tree, every other one a step towards the end."""
        now = self._clock()
        if name == "SIGUSR1":
            self._run.ask_for_tree()
            self._tree_due = min(self._tree_due, now + _TREE_PATIENCE)
            return
        self._signals.append(name)
        if len(self._signals) == LEAVE_AT:
            self._run.leave(self._signals)
            return
        self._run.obey(name)
        if self._phase == "working":
            # Trio does it long before, but where something holds its loop.
            grace = self._run.grace if len(self._signals) == 1 else 0.0
            self._deadline = min(self._deadline, now + _length(grace) + _length(self._run.abandon))

    def look(self) -> None:
        """See what has become of the run since the last time."""
        now = self._clock()
        pause = now - self._looked_at - self._tick
        self._looked_at = now
        if pause > _SUSPENDED:
            self._deadline += pause  # nobody could do anything in that time
        self._look_at_phase(now)
        self._look_at_beat(now)
        if now >= self._tree_due:
            self._tree_due = math.inf
            self._run.write_owed_tree()
        if now >= self._deadline:
            self._deadline = math.inf
            self._run.leave(self._signals)

    def _look_at_phase(self, now: float) -> None:
        phase = self._run.phase
        if phase != self._phase:
            self._phase = phase
            self._deadline = math.inf if phase == "closed" else now + _length(self._run.abandon)

    def _look_at_beat(self, now: float) -> None:
        beat = self._run.beat_at
        is_old = beat is not None and now - beat > self._stall_after
        if beat is not None and is_old and beat != self._told_beat and self._run.tell_stall(now - beat):
            self._told_beat = beat


def _length(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds
