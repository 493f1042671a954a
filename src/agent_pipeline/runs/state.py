"""How a run stands, without reading all of it: ended, going on, or killed; with what it has come to so far."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agent_pipeline.domain.document import Outcome
from agent_pipeline.errors import RunInUseError
from agent_pipeline.ledger import LedgerReader, RunRow, Totals
from agent_pipeline.runs.directory import RunDirectory

RunState = Literal["completed", "incomplete", "failed", "running", "killed"]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run at one moment.

    Attributes:
        run: its row.
        state: its outcome; where it has none, whether a process works on it or was killed.
        simulated: the simulator answered in the place of every provider.
        outcomes: how many documents ended in which way; None are those that have not.
        totals: of its HTTP requests.
    """

    run: RunRow
    state: RunState
    simulated: bool
    outcomes: Mapping[Outcome | None, int]
    totals: Totals

    @property
    def documents(self) -> int:
        """All documents that were begun."""
        return sum(self.outcomes.values())


def status_of(directory: RunDirectory, ledger: LedgerReader) -> RunStatus:
    """Say how a run stands.

    Raises:
        LedgerError: its ledger is damaged.
    """
    run = ledger.run
    return RunStatus(run, state_of(directory, run), is_simulated(run), ledger.outcomes(), ledger.totals())


def state_of(directory: RunDirectory, run: RunRow) -> RunState:
    """Return a run's outcome; a run without one is killed where no process holds its directory."""
    if run.outcome is not None:
        return run.outcome
    try:
        with directory.locked(shared=True):
            return "killed"
    except RunInUseError:
        return "running"


def is_simulated(run: RunRow) -> bool:
    """Tell whether the simulator answered."""
    return json.loads(run.options_json).get("offline") is True
