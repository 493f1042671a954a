"""The watchdog's decisions, with a clock of the test's own; its thread is in tests/integration/test_watchdog.py."""

import os
import signal
import threading
import time
from typing import cast

import pytest

from agent_pipeline.compose.signal_inbox import SignalInbox, open_inbox
from agent_pipeline.compose.watchdog import TICK, Phase, Watchdog


class ScriptedRun:
    """A run that is where the test says, and notes what is asked of it."""

    def __init__(self, *, grace: float | None = 10.0, abandon: float | None = 60.0) -> None:
        self.grace = grace
        self.abandon = abandon
        self.phase: Phase = "working"
        self.beat_at: float | None = None
        self.is_held = True
        self.told: list[str] = []

    def obey(self, name: str) -> None:
        """Note it."""
        self.told.append(name)

    def ask_for_tree(self) -> None:
        """Note it."""
        self.told.append("tree?")

    def write_owed_tree(self) -> None:
        """Note it."""
        self.told.append("tree!")

    def tell_stall(self, seconds: float) -> bool:
        """Note it, where somebody holds the loop."""
        if self.is_held:
            self.told.append(f"stall {seconds:g}")
        return self.is_held

    def tell_failure(self, error: Exception) -> None:
        """Note it."""
        self.told.append(f"failed: {error}")

    def leave(self, signals: list[str]) -> None:
        """Note it."""
        self.told.append(f"leave {' '.join(signals)}".strip())


class World:
    """A run, its watchdog and their clock."""

    def __init__(self, run: ScriptedRun, *, stall_after: float = 5.0) -> None:
        self.now = 100.0
        self.run = run
        inbox = cast(SignalInbox, None)  # only the thread reads it
        self.watchdog = Watchdog(inbox, run, stall_after=stall_after, clock=lambda: self.now)

    def let(self, seconds: float) -> list[str]:
        """Let time pass, with a look every half second; return what was told."""
        self.run.told.clear()
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + TICK, end)
            self.watchdog.look()
        return list(self.run.told)

    def take(self, name: str) -> list[str]:
        """Let a signal come."""
        self.run.told.clear()
        self.watchdog.take(name)
        return list(self.run.told)


# --- signals -----------------------------------------------------------------------------------------------------


def test_third_signal_leaves_whatever_trio_does() -> None:
    """The first two are Trio's business."""
    world = World(ScriptedRun())

    assert world.take("SIGINT") == ["SIGINT"]
    assert world.take("SIGTERM") == ["SIGTERM"]
    assert world.take("SIGINT") == ["leave SIGINT SIGTERM SIGINT"]


def test_sigusr1_is_no_step_towards_the_end() -> None:
    """It asks Trio for a tree, and writes what Trio owes a second later."""
    world = World(ScriptedRun())

    assert world.take("SIGUSR1") == ["tree?"]
    assert world.let(0.5) == []
    assert world.let(0.5) == ["tree!"]
    assert world.let(5) == []
    assert world.take("SIGINT") == ["SIGINT"]
    assert world.take("SIGINT") == ["SIGINT"]


@pytest.mark.parametrize(("grace", "bound"), [(10.0, 70), (0.0, 60)])
def test_signal_that_trio_never_obeys_ends_the_process_all_the_same(grace: float, bound: float) -> None:
    """A service manager sends one SIGTERM; a loop that is held would outlive it for ever."""
    world = World(ScriptedRun(grace=grace))
    world.take("SIGTERM")

    assert world.let(bound - 0.5) == []
    assert world.let(0.5) == ["leave SIGTERM"]
    assert world.let(1000) == []


def test_second_signal_ends_the_grace_of_a_held_loop() -> None:
    """Also where the first has no bound."""
    world = World(ScriptedRun(grace=None))
    world.take("SIGTERM")

    assert world.let(1000) == []
    world.take("SIGTERM")
    assert world.let(60) == ["leave SIGTERM SIGTERM"]


# --- tasks that stay ---------------------------------------------------------------------------------------------


def test_what_is_closed_is_not_abandoned() -> None:
    """Hashing the files of a large run takes what it takes."""
    world = World(ScriptedRun(abandon=20))
    world.run.phase = "closing"
    world.let(15)
    world.run.phase = "closed"

    assert world.let(10_000) == []
    assert world.take("SIGINT") == ["SIGINT"]
    assert world.let(10_000) == []


@pytest.mark.parametrize("phase", ["cancelling", "closing"])
def test_what_does_not_end_is_abandoned(phase: Phase) -> None:
    """Cancelled tasks, or files that can't be closed."""
    world = World(ScriptedRun(abandon=20))
    assert world.let(1000) == []
    world.run.phase = phase

    assert world.let(20) == []
    assert world.let(0.5) == ["leave"]
    assert world.let(1000) == []


def test_each_phase_has_its_own_time() -> None:
    """Documents that ended late must not take it from the ledger."""
    world = World(ScriptedRun(grace=10, abandon=20))
    world.take("SIGINT")
    world.let(9)
    world.run.phase = "cancelling"
    assert world.let(19) == []
    world.run.phase = "closing"
    assert world.let(20) == []
    assert world.let(0.5) == ["leave SIGINT"]


def test_nobody_is_abandoned_without_a_bound() -> None:
    """Null is unlimited, as with every timeout."""
    world = World(ScriptedRun(abandon=None))
    world.take("SIGINT")
    world.take("SIGINT")
    world.run.phase = "cancelling"

    assert world.let(10_000) == []


def test_time_in_which_the_process_was_stopped_does_not_count() -> None:
    """Ctrl-Z, and on the next morning fg: nobody could end in between."""
    world = World(ScriptedRun(abandon=20))
    world.run.phase = "cancelling"
    world.let(10)
    world.now += 10_000

    assert world.let(10) == []
    assert world.let(1) == ["leave"]


# --- a loop that is held --------------------------------------------------------------------------------------------


def test_held_loop_is_told_once_per_episode() -> None:
    """A line every half second would bury the one that matters."""
    world = World(ScriptedRun())
    world.run.beat_at = world.now

    assert world.let(5) == []
    assert world.let(30) == ["stall 5.5"]
    world.run.beat_at = world.now
    assert world.let(4) == []
    assert world.let(2) == ["stall 5.5"]


def test_loop_that_nobody_holds_is_looked_at_again() -> None:
    """Just after a pause of the whole process the beat is old, and all is well."""
    world = World(ScriptedRun())
    world.run.beat_at, world.run.is_held = world.now, False
    assert world.let(7) == []
    world.run.is_held = True

    assert world.let(0.5) == ["stall 7.5"]


def test_run_without_a_beat_is_not_watched() -> None:
    """Before its first and after its last document."""
    world = World(ScriptedRun())

    assert world.let(100) == []


def test_short_threshold_is_looked_at_more_often() -> None:
    """Or it would be told late."""
    assert World(ScriptedRun(), stall_after=0.4).watchdog._tick == 0.1


# --- the thread ---------------------------------------------------------------------------------------------------


class Clumsy(ScriptedRun):
    """A run of which not everything can be found out."""

    def __init__(self) -> None:
        super().__init__()
        self.left = threading.Event()

    def ask_for_tree(self) -> None:
        """Fail."""
        raise RuntimeError("no tree")

    def leave(self, signals: list[str]) -> None:
        """Say so, instead."""
        self.last_signals = signals
        self.left.set()


def test_watchdog_that_fails_at_something_goes_on() -> None:
    """Without it nobody would count the next signal."""
    run = Clumsy()
    with open_inbox() as inbox:
        watchdog = Watchdog(inbox, run, stall_after=0.04)
        watchdog.start()
        for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
            time.sleep(0.01)

        assert run.left.wait(5)
        watchdog.stop()

    assert run.told == ["failed: no tree", "SIGINT", "SIGTERM"]
