"""The last way out of a process: what can be saved in a second each is saved, then nothing is waited for."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PATIENCE = 1.5
"""Seconds for one step; what flushes is told to take 1 s at most, and this is for the case that it does not obey."""

_SHOW_CURSOR = "\x1b[?25h"


@dataclass(frozen=True, slots=True)
class Step:
    """Something to be done before the process ends.

    Attributes:
        name: what is lost where it fails.
        do: False where it was not done.
    """

    name: str
    do: Callable[[], object]


def leave_now(
    code: int,
    steps: Sequence[Step],
    *,
    farewell: Callable[[], str],
    patience: float = PATIENCE,
    leave: Callable[[int], object] = os._exit,
) -> None:
    """Do each step in a thread of its own, say farewell on stderr, and end the process without unwinding anything.

    Neither Trio nor the main thread is asked: either may never answer again. For any thread. A step that fails or
    takes longer than `patience` seconds is given up and named. Nothing helps where some C code keeps the interpreter
    to itself; then only SIGKILL does.

    Args:
        code: of the process.
        steps: in order.
        farewell: tells what was left, and how to go on; called last.
        patience: for each step, and for the farewell.
        leave: ends the process.
    """
    lost = [step.name for step in steps if not _done_within(patience, step.do)]
    missing = f"; not flushed in time: {', '.join(lost)}" if lost else ""
    _done_within(patience, lambda: _write(f"{farewell()}{missing}"))
    leave(code)


def _done_within(timeout: float, do: Callable[[], object]) -> bool:
    """Say whether it could be done; a thread that is stuck is left behind."""
    done = threading.Event()

    def run() -> None:
        try:
            result = do()
        except Exception:  # noqa: BLE001 - whatever it is, the caller names what is lost, and the process ends
            return
        if result is not False:
            done.set()

    thread = threading.Thread(target=run, name="leaving", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return False  # the process has as many threads as it may have
    thread.join(timeout)
    return done.is_set()


def _write(line: str) -> None:
    """Write past stderr's buffer, whose lock may be held by whoever is stuck."""
    if sys.__stderr__ is None:
        return  # started without one: that number may be the ledger's by now
    descriptor = sys.__stderr__.fileno()
    cursor = _SHOW_CURSOR if os.isatty(descriptor) else ""  # a live display may have hidden it
    safe = "".join(char if char.isprintable() else "?" for char in line)
    os.write(descriptor, f"{cursor}{safe}\n".encode(errors="backslashreplace"))
