"""Who stays with a worker: hears it, has taken what it says, and sees it to its end, whatever that is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import trio

from agent_pipeline.domain.engine_events import BudgetWithheld, LateReports, WorkerReady
from agent_pipeline.domain.limit_events import LimitChanged
from agent_pipeline.domain.ports import Emit
from agent_pipeline.engines.agreement import mismatch
from agent_pipeline.engines.driver.employment import Employment
from agent_pipeline.engines.driver.intake import Intake
from agent_pipeline.engines.driver.total_limits import TotalLimits
from agent_pipeline.engines.driver.turns import in_turns
from agent_pipeline.engines.leases.lessor import Lessor
from agent_pipeline.engines.link import WorkerLostError
from agent_pipeline.engines.messages import (
    Alive,
    Attempted,
    Began,
    Cancel,
    Done,
    Ended,
    Happened,
    Hungry,
    LeaseReport,
    Ready,
    Rejected,
    Report,
    Resulted,
    WorkerPlan,
)
from agent_pipeline.pipeline.admission import Stop

_OF_DOCUMENTS = (Began, Resulted, Rejected, Ended)
_OF_LEASES = get_args(LeaseReport)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited for workers, in seconds.

    Attributes:
        start: until one is ready.
        silence: until one of which nothing is heard, not even its beat, counts as lost.
        last_words: until one that was cancelled has reported its ends; at the end of the run, for one that was given up
            and speaks on.
        kill: until one that is killed is gone, or cut off.
    """

    start: float = 120.0
    silence: float = 30.0
    last_words: float = 10.0
    kill: float = 10.0


@dataclass(frozen=True, slots=True)
class Attendant:
    """Takes what workers say, in order, a batch at a time: the next is heard when the last is on disk.

    Attributes:
        plan: what workers have to agree with.
        intake: takes what concerns documents.
        lessor: takes what concerns budgets and limits.
        stop: told of a worker that fails for all.
        emit: takes events.
        patience: how long is waited.
        on_hungry: called with a worker that wants documents.
        on_taken: called after each batch.
        limits: adds up what each tells of its share of the requests in flight.
    """

    plan: WorkerPlan
    intake: Intake
    lessor: Lessor
    stop: Stop
    emit: Emit
    patience: Patience
    on_hungry: Callable[[Employment], None]
    on_taken: Callable[[], None]
    limits: TotalLimits

    async def accompany(self, worker: Employment) -> None:
        """Hear a worker until its last word. Cancelled, it is cancelled too, and its last reports are taken.

        Raises:
            WorkerLostError: it is gone, silent, or ended while it had documents.
        """
        try:
            while not await self._hear(worker):
                pass
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._hear_last_words(worker)
            raise

    async def kill(self, worker: Employment) -> None:
        """End a worker that is given up; nothing it says of documents counts from now on."""
        worker.is_lost = True
        if worker.end is not None:
            with trio.move_on_after(self.patience.kill, shield=True):
                await worker.end.kill()

    async def hear_out(self, worker: Employment, is_ending: trio.Event) -> None:
        """Hear what a worker said before it was given up, until its way is at its end; requests of it count.

        One that could not be killed speaks on: it is heard for `last_words` seconds more once the run is ending.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear_no_more, is_ending, nursery.cancel_scope)
            try:
                while not await self._hear(worker):
                    pass
            except WorkerLostError:
                pass
            nursery.cancel_scope.cancel()

    def settle(self, worker: Employment) -> None:
        """Record what a worker had under way as interrupted, and take back what it was lent: its way is at its end."""
        for attempt in worker.interrupted():
            self.intake.take_attempt(attempt)
        if worker.has_ended:
            self.lessor.dismiss(worker.number)
        else:
            self._withhold(worker)
        self.limits.forget(worker.number)
        if worker.late_reports or worker.late_tokens:
            self.emit(LateReports(worker.number, worker.late_reports, worker.late_tokens))

    def _withhold(self, worker: Employment) -> None:
        """Take back what was lent to a worker that is gone, but for what it may have used unheard."""
        for owner, amount in self.lessor.revoke(worker.number).items():
            worker.withheld[owner] = amount
            self.emit(BudgetWithheld(worker.number, owner or "run", amount.tokens, amount.micro_usd))

    async def _hear_no_more(self, is_ending: trio.Event, hearing: trio.CancelScope) -> None:
        await is_ending.wait()
        await trio.sleep(self.patience.last_words)
        hearing.cancel()

    async def _hear(self, worker: Employment) -> bool:
        """Hear and take one batch; return whether it was the last."""
        batch = await worker.hear(self.patience.silence)
        with trio.CancelScope(shield=True):  # nobody would hear it a second time
            await (self._take_late if worker.is_lost else self._take)(worker, batch)
        last = batch[-1] if batch else None
        if not isinstance(last, Done):
            return False
        worker.has_ended = True
        if last.error is not None and not worker.is_lost:
            self.stop.request_for(last.error.revived())
        return True

    async def _take(self, worker: Employment, batch: Sequence[Report]) -> None:
        for report in batch:
            self._note(worker, report)
        for turn in in_turns(batch):
            await self.intake.begin(turn)
            for report in turn:
                self._hand_on(worker, report)
            await self.intake.finish(turn)
        self.on_taken()

    async def _take_late(self, worker: Employment, batch: Sequence[Report]) -> None:
        for report in batch:
            if isinstance(report, Attempted):
                self._note(worker, report)
                self._hand_on(worker, report)
            worker.late_reports += isinstance(report, _OF_DOCUMENTS)

    def _note(self, worker: Employment, report: Report) -> None:
        """Take what a report says of the worker and of what it was lent."""
        match report:
            case Attempted():
                worker.note_attempt(report)
                self.lessor.spent(worker.number, report.record)
            case Ended():
                worker.ended += 1
            case Hungry():
                self.on_hungry(worker)
            case Alive():
                worker.under_way = report.under_way
            case Ready():
                self._welcome(worker, report)
            case _ if isinstance(report, _OF_LEASES):
                self.lessor.take(worker.number, report)
            case _:
                pass

    def _hand_on(self, worker: Employment, report: Report) -> None:
        """Hand on what is to be recorded or told, but for the beginnings and ends of documents."""
        match report:
            case Attempted():
                self.intake.take_attempt(report, calls=worker.new_calls(report.calls))
            case Resulted():
                self.intake.take_result(report)
            case Happened(event=LimitChanged() as change):
                self.intake.take_event(replace(report, event=self.limits.told(worker.number, change)))
            case Happened():
                self.intake.take_event(report)
            case _:
                pass

    def _welcome(self, worker: Employment, ready: Ready) -> None:
        refusal = mismatch(self.plan, worker.number, ready)
        if refusal is not None:
            self.stop.request_for(refusal)
            return
        worker.is_ready = True
        self.lessor.join(worker.number)
        self.emit(WorkerReady(worker.number, ready.host, ready.pid))

    async def _hear_last_words(self, worker: Employment) -> None:
        """Let a worker report its ends, for a while; it is ended when its way is closed, which follows."""
        if worker.is_ready:
            worker.send(Cancel())
            with trio.move_on_after(self.patience.last_words):
                try:
                    while not await self._hear(worker):
                        pass
                except WorkerLostError:
                    return
