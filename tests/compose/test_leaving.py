"""The last way out: bounded, whatever is stuck."""

import threading
import time
from functools import partial

import pytest

from agent_pipeline.compose.leaving import Step, leave_now


def leave(*steps: Step, farewell: str = "farewell") -> list[int]:
    """Leave with short patience; return the exit codes that were asked for."""
    codes: list[int] = []
    leave_now(130, steps, farewell=lambda: farewell, patience=0.05, leave=codes.append)
    return codes


def test_steps_are_done_in_order_then_the_process_ends(capfd: pytest.CaptureFixture[str]) -> None:
    """The event before the files that hold it are closed."""
    done: list[str] = []

    codes = leave(Step("one", partial(done.append, "one")), Step("two", partial(done.append, "two")))

    assert (done, codes) == (["one", "two"], [130])
    assert capfd.readouterr().err == "farewell\n"


def test_what_is_stuck_or_fails_is_named_and_left(capfd: pytest.CaptureFixture[str]) -> None:
    """Somebody pressed Ctrl-C three times; a broken disk is no reason to stay."""
    done: list[str] = []
    never = threading.Event()
    begun = time.monotonic()

    codes = leave(
        Step("ledger", partial(never.wait, 10)),
        Step("logs", partial(int, "no number")),
        Step("traces", lambda: False),
        Step("last", partial(done.append, "last")),
    )

    assert time.monotonic() - begun < 1
    assert (done, codes) == (["last"], [130])
    assert capfd.readouterr().err == "farewell; not flushed in time: ledger, logs, traces\n"
    never.set()


def test_farewell_is_one_harmless_line(capfd: pytest.CaptureFixture[str]) -> None:
    """It quotes document ids, which are anybody's."""
    leave(farewell="d1\x1b[31m\nnext ünd \ud800")

    assert capfd.readouterr().err == "d1?[31m?next ünd ?\n"


def test_process_ends_without_stderr(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Started without one, the number 2 is some other file's."""
    monkeypatch.setattr("sys.__stderr__", None)

    assert leave() == [130]
    assert capfd.readouterr().err == ""
