"""What keeps an eye on a run: signals, its loop, tasks that don't end; and the way out where nothing else helps."""

import math
import time
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from typing import Literal

import trio

from agent_pipeline import bridge as bridges
from agent_pipeline.compose.charge import Charge
from agent_pipeline.compose.leaving import leave_now
from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.signal_inbox import open_inbox
from agent_pipeline.compose.trees import TaskTrees
from agent_pipeline.compose.watchdog import Phase, Watchdog
from agent_pipeline.config.limits import TimeoutsConfig
from agent_pipeline.domain.events import AgentEvent, RunAbandoned, Stall
from agent_pipeline.pipeline.signals import EXIT_CODES, stop_on_signals

AGES_PERIOD = 0.9
"""Seconds, at least, between two looks at who has moved: how fine the ages in a task tree are."""

TREE_PERIOD = 60.0
"""Seconds between two trees for attempts: where a provider hangs, a hundred of them stand still at once."""

_STAYERS = "tasks did not end after cancellation"


class Watch:
    """Watches one run from before its first file is open until its last is closed; made by `open_watch`, under Trio.

    Attributes:
        grace: seconds that documents in flight may go on after the first signal; None is unlimited.
        abandon: seconds that what is cancelled or closed may take; None is unlimited.
        beat_at: when Trio ran last; None where nobody looks.
    """

    def __init__(self, timeouts: TimeoutsConfig, *, has_thread: bool, beat: float | None) -> None:
        self.grace = timeouts.grace
        self.abandon = timeouts.abandon
        self.beat_at: float | None = None
        self._has_thread = has_thread
        self._beat_period = beat
        self._token = trio.lowlevel.current_trio_token()
        self._signals, self._received = trio.open_memory_channel[str](math.inf)
        self._charge: Charge | None = None
        self._tree: bridges.TaskTree | None = None
        self._trees: TaskTrees | None = None
        self._owed: list[str] = []
        self._next_tree = -math.inf
        self._end: Literal["closing", "closed"] | None = None
        self._notice = trio.CancelScope()

    @property
    def phase(self) -> Phase:
        """How far the run has got."""
        if self._end is not None:
            return self._end
        is_cancelling = self._charge is not None and self._charge.stop.cancelling.is_set()
        return "cancelling" if is_cancelling else "working"

    # --- for the run, under Trio -------------------------------------------------------------------------------------

    async def attend(self, stack: AsyncExitStack, nursery: trio.Nursery, charge: Charge) -> None:
        """Look after these parts from now on, with tasks in the run's own nursery, until `closing`.

        Signals that have come until now are obeyed when this returns.
        """
        self._tree = bridges.TaskTree()
        folder = charge.directory / "tasks"
        self._trees = TaskTrees(folder, draw=self._tree.text, emit=charge.emit, clean=charge.clean)
        self._charge = charge
        stack.callback(self.closing)
        nursery.start_soon(charge.stop.watch_limit)
        if self._has_thread:
            await nursery.start(partial(stop_on_signals, charge.stop, self._received, grace=self.grace))
        else:
            nursery.start_soon(self._notice_stayers, charge)
        if self._beat_period is not None:
            nursery.start_soon(self._beat, self._tree, self._beat_period)

    def closing(self) -> None:
        """Know that all documents have ended; what is still to be closed has its own time for that."""
        self._end = "closing"
        self._notice.cancel()

    def closed(self) -> None:
        """Know that everything that might hang is closed."""
        self._end = "closed"

    def write_tree(self, reason: str) -> None:
        """Write a task tree into the run's directory; from any thread."""
        if self._trees is not None:
            self._trees.write(reason)

    def tell_attempt(self, document_id: str | None, culprit: str, seconds: float) -> None:
        """Tell that an attempt stood still, and now and then with a tree; what the gate calls, under Trio."""
        if self._charge is None:
            return
        self._charge.emit(Stall("attempt", document_id, culprit, seconds))
        if trio.current_time() >= self._next_tree:
            self._next_tree = trio.current_time() + TREE_PERIOD
            self.write_tree(f"{culprit} stands still for {seconds:g} s")

    async def _beat(self, tree: "bridges.TaskTree", period: float) -> None:
        """Show that Trio runs; that, and a hundredth of its time for ages, is what a run pays for its watch."""
        next_time = -math.inf
        try:
            while True:
                now = self.beat_at = time.monotonic()
                if now >= next_time:
                    next_time = self._remember(tree, now)
                await trio.sleep(period)
        finally:
            self.beat_at = None
            tree.forget()

    def _remember(self, tree: "bridges.TaskTree", now: float) -> float:
        """Note who has moved; return when to do it again."""
        try:
            tree.remember()
        except Exception as exc:  # noqa: BLE001 - looking must not harm what is looked at
            self.tell_failure(exc)
            return math.inf
        return now + max(AGES_PERIOD, 100 * (time.monotonic() - now))

    async def _notice_stayers(self, charge: Charge) -> None:
        """Tell which tasks did not end in time, where the process is not ours to leave.

        Also where it is the host program that cancels the run: then this task is cancelled with it, and goes on.
        """
        with self._notice:
            try:
                await charge.stop.cancelling.wait()
            finally:
                self._notice.shield = True
                await trio.sleep(math.inf if self.abandon is None else self.abandon)
                self.write_tree(_STAYERS)
                charge.emit(RunAbandoned(self._left()))

    # --- for the watchdog, from its thread ---------------------------------------------------------------------------

    def obey(self, name: str) -> None:
        """Hand a signal to Trio."""
        self._soon(lambda: self._signals.send_nowait(name))

    def ask_for_tree(self) -> None:
        """Let Trio write a tree, where nothing moves meanwhile."""
        self._owed.append("SIGUSR1")
        self._soon(self.write_owed_tree)

    def write_owed_tree(self) -> None:
        """Write the tree that was asked for, unless that was done."""
        with suppress(IndexError):
            self.write_tree(self._owed.pop())

    def tell_stall(self, seconds: float) -> bool:
        """Tell who holds the loop, with a tree; False where nobody does."""
        holder = None if self._tree is None else self._tree.holder()
        if holder is None or self._charge is None:
            return False
        self._charge.emit(Stall("loop", holder.document_id, str(holder), seconds))
        self.write_tree(f"the loop stands still for {seconds:.0f} s, held by {holder}")
        return True

    def tell_failure(self, error: Exception) -> None:
        """Leave a word in the log."""
        if self._charge is not None:
            detail = f"{type(error).__name__}: {error}"
            self._charge.emit(AgentEvent("watch_failed", None, None, agent="", detail=detail))

    def leave(self, signals: list[str]) -> None:
        """End the process: on the third signal, or because tasks don't end."""
        if self._charge is None:
            code = EXIT_CODES[f"signal:{signals[0]}"]
            leave_now(code, [], farewell=lambda: "left at once, while the run was being opened")
        else:
            self._charge.leave(signals, find_left=self._left, write_tree=partial(self.write_tree, _STAYERS))

    def _soon(self, function: Callable[[], object]) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function)

    def _left(self) -> list[str]:
        """Return the documents that have not ended, and threads in users' code; else where the program stands."""
        if self._tree is None:
            return []
        return [*self._tree.documents(), *self._tree.threads()] or [self._tree.program()]


@contextmanager
def open_watch(timeouts: TimeoutsConfig, options: RunOptions) -> Generator[Watch]:
    """Watch a run inside the block, under Trio.

    A process of its own has a thread for it, which also takes the process's signals and may end it (main thread only);
    elsewhere the host program decides, and is only told.
    """
    has_beat = options.own_process and not options.virtual
    beat = min(1.0, options.stall_after / 4) if has_beat else None
    watch = Watch(timeouts, has_thread=options.own_process, beat=beat)
    if not options.own_process:
        yield watch
        return
    with open_inbox() as inbox:
        watchdog = Watchdog(inbox, watch, stall_after=options.stall_after)
        watchdog.start()
        try:
            yield watch
        finally:
            watchdog.stop()
