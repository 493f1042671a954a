"""What a watch looks after once a run's files are open, and how a process leaves it without waiting."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from agent_pipeline.compose.leaving import Step, leave_now
from agent_pipeline.compose.verdict import DOCUMENTS_FAILED, exit_code_of_stop
from agent_pipeline.domain.events import RunAbandoned
from agent_pipeline.domain.ports import Emit
from agent_pipeline.pipeline.admission import Stop
from agent_pipeline.pipeline.signals import EXIT_CODES, LEAVE_AT

FLUSH_TIMEOUT = 1.0
"""Seconds for each file, when the process leaves at once."""


class ClosesNow(Protocol):
    """Something that can be flushed and closed from any thread, without Trio."""

    def close_now(self, timeout: float) -> object:
        """Flush and close, in `timeout` seconds at most; False where something is left."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """The open parts of a run that are looked after.

    Attributes:
        directory: of the run.
        emit: takes events.
        files: closed in this order before the process leaves; by what a person calls them.
        clean: takes secrets out.
    """

    directory: Path
    stop: Stop
    emit: Emit
    files: Mapping[str, ClosesNow]
    clean: Callable[[str], str]

    def leave(
        self, signals: list[str], *, find_left: Callable[[], list[str]], write_tree: Callable[[], object]
    ) -> None:
        """End the process: on the third signal, or because tasks don't end; from any thread.

        Args:
            signals: those that came, in order.
            find_left: returns what is left behind.
            write_tree: leaves a task tree; not asked for on a third signal, which is in a hurry.
        """
        left: list[str] = []

        def tell() -> None:
            left.extend(find_left())
            self.emit(RunAbandoned(left))

        steps = [] if len(signals) >= LEAVE_AT else [Step("task tree", write_tree)]
        steps.append(Step("event", tell))
        steps += [Step(name, partial(file.close_now, FLUSH_TIMEOUT)) for name, file in self.files.items()]
        leave_now(self._exit_code(signals), steps, farewell=lambda: self._farewell(left))

    def _exit_code(self, signals: list[str]) -> int:
        """Return the code of the run's own reason, but for a third signal, or one that the run never learnt of."""
        reason = self.stop.reason
        if signals and (reason is None or len(signals) >= LEAVE_AT):
            return EXIT_CODES[f"signal:{signals[0]}"]
        return DOCUMENTS_FAILED if reason is None else exit_code_of_stop(reason)

    def _farewell(self, left: list[str]) -> str:
        return self.clean(
            f"left without waiting for {', '.join(left)}; what is finished is kept; "
            f"to go on: agent-pipeline resume {self.directory}"
        )
