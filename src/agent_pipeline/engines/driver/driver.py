"""The driver: documents go out to workers as these are hungry, and what comes back is written here, by nobody else."""

from collections.abc import AsyncGenerator
from dataclasses import fields, replace

import trio

from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.domain.engine_events import WorkerLost
from agent_pipeline.domain.ports import Emit
from agent_pipeline.domain.result import WorkerTotals
from agent_pipeline.domain.snapshot import UnderWay
from agent_pipeline.engines.driver.attendant import Attendant, Patience
from agent_pipeline.engines.driver.dealing import Dealing
from agent_pipeline.engines.driver.employment import Employment
from agent_pipeline.engines.driver.intake import Intake
from agent_pipeline.engines.driver.staff import Staff
from agent_pipeline.engines.driver.total_limits import TotalLimits
from agent_pipeline.engines.leases.lessor import Lend
from agent_pipeline.engines.link import OpenWorker, WorkerLostError
from agent_pipeline.engines.messages import Command, DocumentsInFlight, WorkerPlan
from agent_pipeline.errors import AgentPipelineError, EngineError
from agent_pipeline.pipeline.admission import Stop

SHARD_SIZE = 50
"""Documents that go out together, unless told otherwise."""

NEVER_READY = 3
"""Workers in a row that are lost before they are ready; then no further one is tried."""

_LONGEST_DELAY = 30.0
"""Seconds until another worker is opened where those before it achieved nothing."""


class Driver:
    """Spreads the documents of a run over workers; stands where `Admission` stands in a run of one process.

    A worker has a task of its own in one nursery. Its reports are taken a batch at a time: what a batch says is on
    disk before the next is asked for, so that a slow disk slows the workers down. A worker that is lost is killed,
    its documents go to others under a new fence, and another worker takes its place. What one says after that counts
    no more, but for its requests: they were made, and are charged and recorded. One is opened when there are documents
    that no other will take, see `Dealing`.

    Args:
        open_worker: starts a worker.
        plan: what each worker is told, but for its number.
        workers: how many at once.
        intake: takes what they report of documents.
        stop: ends the run early.
        emit: takes events.
        lend: makes what lends budgets and limits to workers, from a way to tell a worker something.
        shard_size: documents that go out together.
        patience: how long is waited for workers.
    """

    def __init__(
        self,
        *,
        open_worker: OpenWorker,
        plan: WorkerPlan,
        workers: int,
        intake: Intake,
        stop: Stop,
        emit: Emit,
        lend: Lend,
        shard_size: int = SHARD_SIZE,
        patience: Patience | None = None,
    ) -> None:
        self._open_worker = open_worker
        self._plan = plan
        self._staff = Staff(workers, plan.concurrency)
        self._intake = intake
        self._book = intake.book
        self._stop = stop
        self._emit = emit
        self._dealing = Dealing(
            intake=intake,
            stop=stop,
            staff=self._staff,
            shard_size=shard_size,
            employ=self._employ_one,
            end_with=self._end_with,
        )
        self._patience = patience or Patience()
        self._attendant = Attendant(
            plan=plan,
            intake=intake,
            lessor=lend(self._tell),
            stop=stop,
            emit=emit,
            patience=self._patience,
            on_hungry=self._dealing.ask,
            on_taken=self._dealing.deal,
            limits=TotalLimits(workers, plan.requests_in_flight[0]),
        )
        self._workers: dict[int, Employment] = {}
        self._is_ending = trio.Event()
        self._nursery: trio.Nursery
        self._numbers = 0
        self._never_ready = 0
        self._counts = dict.fromkeys((field.name for field in fields(WorkerTotals)), 0)

    def statistics(self) -> WorkerTotals:
        """Return what became of workers so far."""
        return WorkerTotals(**self._counts)

    def elsewhere(self) -> list[UnderWay]:
        """Return what workers have under way, as they said last."""
        return [worker.under_way for worker in self._workers.values()]

    def set_in_flight(self, count: int) -> None:
        """Have at most so many documents at once in all workers together, at least one in each, from now on."""
        self._staff.concurrency = max(1, count // self._staff.places)
        self._plan = replace(self._plan, concurrency=self._staff.concurrency)
        for worker in self._workers.values():
            worker.send(DocumentsInFlight(self._plan.concurrency))

    async def admit(self, entries: AsyncGenerator[SourceEntry]) -> None:
        """Have workers work on all documents of the source, until it or the run ends; none is left then.

        Every document that was begun has its terminal record when this returns or raises, also when it is cancelled:
        then those under way are cancelled in the workers, and what they still report is taken.

        Raises:
            InputError: the source turned out to be unusable; what came before it was worked on.
        """
        try:
            async with trio.open_nursery() as lending:
                lending.start_soon(self._attendant.lessor.run)
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._dealing.hand_out, entries)
                lending.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._intake.close_rest()
        if self._dealing.failure is not None:
            raise self._dealing.failure

    def _end_with(self, command: Command) -> None:
        """Let those that work end in this way, and those that don't work yet go."""
        if self._is_ending.is_set():
            return
        self._is_ending.set()
        for worker in self._workers.values():
            if worker.is_ready:
                worker.send(command)
            else:
                worker.unneeded.cancel()

    # --- a worker's life ---

    def _employ_one(self) -> None:
        self._nursery.start_soon(self._employ, 0)

    async def _employ(self, failures: int) -> None:
        """Open a worker and stay with it to its end; where it is lost, another one is opened.

        Args:
            failures: how many before it, in the same place, achieved nothing.
        """
        with trio.move_on_after(min(_LONGEST_DELAY, 2.0 ** (failures - 2)) if failures > 1 else 0):
            await self._is_ending.wait()
        if self._is_ending.is_set() or self._stop.reason is not None:
            return
        self._numbers += 1
        worker = Employment(self._numbers, trio.current_time() + self._patience.start)
        self._workers[worker.number] = worker
        plan = replace(self._plan, worker=worker.number)
        try:
            with worker.unneeded:
                async with self._open_worker(plan) as worker.end:
                    # A cluster may let it wait for a place as long as it takes.
                    worker.start_deadline = trio.current_time() + self._patience.start
                    if self._plan.concurrency != plan.concurrency:  # it changed while nothing could be sent there
                        worker.send(DocumentsInFlight(self._plan.concurrency))
                    await self._stay_with(worker, failures)
        except WorkerLostError as exc:
            if not worker.is_lost:  # it could not even be opened
                worker.is_lost = True
                await self._replace(worker, exc, failures)
        finally:
            del self._workers[worker.number]

    async def _stay_with(self, worker: Employment, failures: int) -> None:
        try:
            await self._attendant.accompany(worker)
            self._check_done(worker)
        except WorkerLostError as exc:
            self._dealing.forget(worker.number)
            await self._attendant.kill(worker)
            with trio.CancelScope(shield=True):  # half given up, its documents would be nobody's
                await self._replace(worker, exc, failures)
            await self._attendant.hear_out(worker, self._is_ending)
        finally:
            self._dealing.forget(worker.number)
            self._attendant.settle(worker)
            self._counts["opened"] += worker.is_ready
            self._counts["late_reports"] += worker.late_reports
            self._counts["duplicate_tokens"] += worker.late_tokens
            withheld = worker.all_withheld()
            self._counts["withheld_tokens"] += withheld.tokens
            self._counts["withheld_micro_usd"] += withheld.micro_usd

    def _check_done(self, worker: Employment) -> None:
        """Make sure that a worker which ended was told to.

        Raises:
            WorkerLostError: it was not.
        """
        if self._stop.reason is None and (not self._is_ending.is_set() or self._book.documents_of(worker.number)):
            raise WorkerLostError("it ended although there was more to do")

    async def _replace(self, worker: Employment, why: WorkerLostError, failures: int) -> None:
        """Let a lost worker's documents go to others, and open another one in its place."""
        documents = self._book.documents_of(worker.number)
        try:
            begun = await self._intake.kept_of(documents)
        except AgentPipelineError as exc:
            self._stop.request_for(exc)
            begun = {}
        given_up = self._book.lose(worker.number, begun)
        self._counts["lost"] += 1
        self._counts["given_up"] += len(given_up)
        unheard = round(trio.current_time() - worker.heard_at, 3)
        self._emit(WorkerLost(worker.number, str(why), len(documents), len(begun), len(given_up), unheard))
        for document in given_up:
            await self._intake.give_up(document, str(why))
        self._never_ready = 0 if worker.is_ready else self._never_ready + 1
        if self._stop.reason is None and self._never_ready >= NEVER_READY:
            self._stop.request_for(_nobody_works(why))
        self._staff.lose(worker.number)
        self._nursery.start_soon(self._employ, 0 if worker.ended else failures + 1)
        self._dealing.deal()

    def _tell(self, number: int, command: Command) -> None:
        if number in self._workers:
            self._workers[number].send(command)


def _nobody_works(why: WorkerLostError) -> EngineError:
    return EngineError(
        f"{NEVER_READY} workers in a row were lost before they were ready, the last because: {why}; "
        "see whether the machines can run this package, then go on with the run"
    )
