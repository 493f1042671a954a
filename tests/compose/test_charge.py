"""How a process leaves a run: with which exit code, what it saves first, and what it says."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio

from agent_pipeline.compose.charge import FLUSH_TIMEOUT, Charge
from agent_pipeline.compose.leaving import Step
from agent_pipeline.domain.events import Event, RunAbandoned
from agent_pipeline.pipeline.admission import Stop


class Departure:
    """Takes the place of the way out; does the steps, and notes what would have happened."""

    def __init__(self) -> None:
        self.code = -1
        self.steps: list[str] = []
        self.words = ""

    def __call__(self, code: int, steps: Sequence[Step], *, farewell: Callable[[], str]) -> None:
        for step in steps:
            step.do()
        self.code, self.steps, self.words = code, [step.name for step in steps], farewell()


class File:
    """A file of a run that notes how it is closed."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []

    def close_now(self, timeout: float) -> bool:
        """Note it."""
        self.timeouts.append(timeout)
        return True


@pytest.fixture
def departure(monkeypatch: pytest.MonkeyPatch) -> Departure:
    """Nobody leaves this process."""
    departure = Departure()
    monkeypatch.setattr("agent_pipeline.compose.charge.leave_now", departure)
    return departure


def charge(events: list[Event], reason: str | None, file: File) -> Charge:
    """Return the charge of a run that stops for this reason."""
    stop = Stop(events.append, trio.CancelScope())
    stop.reason = reason
    return Charge(
        directory=Path("/logs/run-1"),
        stop=stop,
        emit=events.append,
        files={"ledger": file, "logs": file},
        clean=lambda text: text.replace("hunter22", "[redacted]"),
    )


def leave(events: list[Event], reason: str | None, signals: list[str]) -> tuple[File, list[str]]:
    """Leave; return the file, and what was asked for a tree."""
    trees: list[str] = []
    file = File()
    charge(events, reason, file).leave(
        signals, find_left=lambda: ["d1 at a.py:1 hunter22"], write_tree=lambda: trees.append("tree")
    )
    return file, trees


@pytest.mark.parametrize(
    ("reason", "signals", "code"),
    [
        ("signal:SIGTERM", ["SIGTERM"], 143),
        ("signal:SIGINT", ["SIGINT", "SIGTERM"], 130),
        ("signal:SIGINT", ["SIGINT", "SIGTERM", "SIGTERM"], 130),
        ("deadline:run", [], 1),
        ("budget:tokens", ["SIGINT"], 4),
        ("budget:tokens", ["SIGHUP", "SIGINT", "SIGINT"], 129),
        ("credentials_rejected", [], 5),
        (None, ["SIGTERM"], 143),
        (None, [], 1),
    ],
)
def test_exit_code_is_that_of_the_reason_or_of_the_first_of_three_signals(
    departure: Departure, reason: str | None, signals: list[str], code: int
) -> None:
    """Whoever presses three times decides; and a run that never learnt of a signal still ends by it."""
    leave([], reason, signals)

    assert departure.code == code


def test_event_is_flushed_with_the_files_and_the_user_told(departure: Departure) -> None:
    """What is left is in the log, on the terminal, and without secrets."""
    events: list[Event] = []

    file, trees = leave(events, "signal:SIGINT", ["SIGINT"])

    assert departure.steps == ["task tree", "event", "ledger", "logs"]
    assert trees == ["tree"]
    assert events == [RunAbandoned(["d1 at a.py:1 hunter22"])]
    assert file.timeouts == [FLUSH_TIMEOUT, FLUSH_TIMEOUT]
    assert departure.words == (
        "left without waiting for d1 at a.py:1 [redacted]; what is finished is kept; "
        "to go on: agent-pipeline resume /logs/run-1"
    )


def test_third_signal_is_in_a_hurry(departure: Departure) -> None:
    """A tree of a thousand documents takes most of a second."""
    _, trees = leave([], "signal:SIGINT", ["SIGINT", "SIGINT", "SIGINT"])

    assert departure.steps == ["event", "ledger", "logs"]
    assert trees == []
