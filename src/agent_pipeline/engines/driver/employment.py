"""One worker as the driver sees it: what it was sent, what it has under way, when it counts as lost."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import trio

from agent_pipeline.domain.snapshot import UnderWay
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.engines.link import DriverEnd, WorkerLostError
from agent_pipeline.engines.messages import RUN, Amount, Attempted, Command, Report

INTERRUPTED = "interrupted"
"""The error code of a request whose end nobody knows, as in a session that was killed."""


@dataclass(slots=True, eq=False)
class Employment:
    """One worker, from the moment it is wanted until its way is closed.

    Attributes:
        number: of the worker, from 1.
        unneeded: around its opening; cancelled where it is not wanted any more before it is ready.
        start_deadline: until when it has to be ready, on Trio's clock.
        end: the way to it, None before there is one.
        is_ready: whether it has said so.
        is_lost: whether it was given up; what it says of documents counts no more.
        has_ended: whether it has said its last word.
        ended: documents it brought to their end.
        late_reports: what it said of documents after it was given up.
        late_tokens: what its requests were charged that ended after that.
        withheld: what of budgets nobody gets any more since it may have used it unheard, by owner.
        under_way: what it has under way, as it said last.
        heard_at: when that was, on Trio's clock; before it said anything, when it was wanted.
    """

    number: int
    start_deadline: float
    unneeded: trio.CancelScope = field(default_factory=trio.CancelScope)
    end: DriverEnd | None = None
    is_ready: bool = False
    is_lost: bool = False
    has_ended: bool = False
    ended: int = 0
    late_reports: int = 0
    late_tokens: int = 0
    withheld: dict[str, Amount] = field(default_factory=dict)
    under_way: UnderWay = field(default_factory=UnderWay)
    heard_at: float = field(default_factory=trio.current_time)
    _calls: int = 0
    _sent: dict[str, Attempted] = field(default_factory=dict)

    def send(self, command: Command) -> None:
        """Send a command; one for a worker that is not there, or was given up, is lost without a word."""
        if self.end is not None and not self.is_lost:
            self.end.send(command)

    async def hear(self, silence: float) -> Sequence[Report]:
        """Wait for the next reports, at most `silence` seconds where it is ready.

        Raises:
            WorkerLostError: it is gone; it says nothing; or it is not ready in time.
        """
        if self.end is None:
            raise WorkerLostError("there is no way to it")
        now = trio.current_time()
        deadline = now + silence if self.is_ready or self.is_lost else self.start_deadline
        with trio.move_on_at(deadline):
            reports = await self.end.receive()
            self.heard_at = trio.current_time()
            return reports
        if self.is_ready:
            raise WorkerLostError(f"nothing was heard of it for {silence:g} s")
        raise WorkerLostError(f"it was not ready {deadline - now:g} s after it was started")

    def note_attempt(self, report: Attempted) -> None:
        """Keep in mind which of its requests are under way."""
        if report.record.outcome is None:
            self._sent[report.record.attempt_id] = report
            return
        self._sent.pop(report.record.attempt_id, None)
        if self.is_lost:
            self.late_tokens += report.record.charged_tokens

    def all_withheld(self) -> Amount:
        """Return what is withheld in all: a request of a role whose budget is capped is one of the run as well."""
        of_roles = Amount()
        for owner, amount in self.withheld.items():
            of_roles = of_roles if owner == RUN else of_roles + amount
        of_run = self.withheld.get(RUN, Amount())
        return Amount(max(of_run.tokens, of_roles.tokens), max(of_run.micro_usd, of_roles.micro_usd))

    def new_calls(self, calls: int) -> int:
        """Return for how many calls a first request left since it last said for how many one did."""
        new = max(0, calls - self._calls)
        self._calls += new
        return new

    def interrupted(self) -> list[Attempted]:
        """Return the ends of requests of which nothing more will be heard, and forget them: charged in full."""
        found = [replace(one, record=_interrupted(one.record), at=None) for one in self._sent.values()]
        self._sent.clear()
        return found


def _interrupted(record: AttemptRecord) -> AttemptRecord:
    words = "the worker was lost before the answer was recorded"
    return replace(record, outcome="failed", error_code=INTERRUPTED, error=words)
