"""Signals of this process, read by a thread; each test takes this process's own signals for a moment."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from agent_pipeline.compose.signal_inbox import TAKEN, open_inbox


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Everything is as it was afterwards."""
    before = {number: signal.getsignal(number) for number in TAKEN}
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    yield
    assert {number: signal.getsignal(number) for number in TAKEN} == before
    assert signal.set_wakeup_fd(-1) == descriptor


def send(*numbers: signal.Signals) -> None:
    """Send signals to this process."""
    for number in numbers:
        os.kill(os.getpid(), number)


def test_signals_are_read_in_order_and_obeyed_by_nobody() -> None:
    """The first decides the exit code."""
    with open_inbox() as inbox:
        send(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)

        assert inbox.wait(1) == ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"]
        assert inbox.wait(0.01) == []


def test_signals_are_read_while_the_main_thread_is_held() -> None:
    """That is what all of this is for: no Python handler runs until it is free again."""
    seen: list[str] = []
    with open_inbox() as inbox:
        reader = threading.Thread(target=lambda: seen.extend(inbox.wait(5)))
        sender = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
        reader.start()
        sender.start()

        time.sleep(0.1)  # a stage that does the same would hold the loop

        assert seen == ["SIGINT"]
        reader.join()
        sender.join()


def test_somebody_elses_handler_keeps_its_signal() -> None:
    """A stage may listen for SIGUSR1 itself."""
    got: list[int] = []
    with open_inbox() as inbox:
        ours = signal.signal(signal.SIGUSR1, lambda number, _frame: got.append(number))
        send(signal.SIGUSR1)

        assert inbox.wait(0.05) == []
        signal.signal(signal.SIGUSR1, ours)
    assert got == [signal.SIGUSR1]


def test_signals_that_are_none_of_ours_pass() -> None:
    """The window may change its size."""
    got: list[int] = []
    before = signal.signal(signal.SIGWINCH, lambda number, _frame: got.append(number))
    with open_inbox() as inbox:
        send(signal.SIGWINCH)

        assert inbox.wait(0.05) == []
    signal.signal(signal.SIGWINCH, before)
    assert got == [signal.SIGWINCH]


def test_hang_ups_stay_ignored_under_nohup() -> None:
    """Whoever starts a run with nohup wants it to outlive the terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with open_inbox() as inbox:
        send(signal.SIGHUP)

        assert inbox.wait(0.05) == []
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.signal(signal.SIGHUP, before) is signal.SIG_IGN


def test_waiting_can_be_ended() -> None:
    """So that the thread that waits can be."""
    with open_inbox() as inbox:
        threading.Timer(0.01, inbox.wake).start()
        begun = time.monotonic()

        assert inbox.wait(10) == []
        assert time.monotonic() - begun < 5


FORKING = """
import os, signal
from agent_pipeline.compose.signal_inbox import open_inbox

with open_inbox() as inbox:
    pid = os.fork()
    if pid == 0:
        as_usual = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        as_usual &= signal.getsignal(signal.SIGINT) is signal.default_int_handler
        os.kill(os.getpid(), signal.SIGTERM)  # ends it, as `multiprocessing` expects
        os._exit(0 if as_usual else 99)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), inbox.wait(0.05))
    os.kill(os.getpid(), signal.SIGINT)
    print(inbox.wait(1))
"""


def test_fork_has_signals_of_its_own() -> None:
    """Ctrl-C reaches a whole process group: each worker's byte would count as another press in its parent."""
    run = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=10, check=True)

    assert run.stdout.splitlines() == ["-15 []", "['SIGINT']"]
    assert run.stderr == ""
