"""A way to a worker that is a task of the same run: it can be killed, silenced and let speak again."""

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import trio

from agent_pipeline.engines.link import DriverEnd, WorkerLostError, WorkerMain
from agent_pipeline.engines.messages import Command, Done, Ended, Report, WorkerPlan

MOST_ENDED = 25
LONGEST_WAIT = 0.2


class InProcessWorker:
    """Both ends of a way, and the worker on it.

    What leaves the worker together arrives together. `silence` holds back what leaves, as a network does that is
    torn; what was held back arrives after `speak`, or when the worker was killed. `crash` loses what has not left.
    """

    def __init__(self, plan: WorkerPlan) -> None:
        self.plan = plan
        self.opened_at = trio.current_time()
        self.is_killed = False
        self.is_over = False
        self.is_out_of_reach = False
        self.commands: list[Command] = []
        self.scope = trio.CancelScope(shield=True)  # a process of its own would not be cancelled, either
        self._queued: list[Report] = []
        self._held: list[Command] = []
        self._left: list[list[Report]] = []
        self._due_at = math.inf
        self._is_silent = False
        self._is_cut_off = False
        self._arrived = trio.lowlevel.ParkingLot()
        self._changed = trio.lowlevel.ParkingLot()
        self._to_worker, self._at_worker = trio.open_memory_channel[Command](math.inf)

    @property
    def queued(self) -> Sequence[Report]:
        """What it would say next: lost, if it crashes now."""
        return self._queued

    # --- the driver's end ---

    async def receive(self) -> Sequence[Report]:
        """As `DriverEnd` says."""
        await trio.lowlevel.checkpoint()
        while not self._left or (self._is_silent and not self.is_over):
            if self.is_over:
                raise WorkerLostError("the worker is gone")
            await self._arrived.park()
        return self._left.pop(0)

    def send(self, command: Command) -> None:
        """As `DriverEnd` says."""
        self.commands.append(command)
        if self._is_silent:
            self._held.append(command)
        elif not self.is_over and not self._is_cut_off:
            self._to_worker.send_nowait(command)

    async def kill(self) -> None:
        """As `DriverEnd` says; one that is out of reach is only told nothing more."""
        if self.is_out_of_reach:
            self._is_cut_off = True
            return
        self.crash()
        while not self.is_over:
            await self._arrived.park()

    # --- what a test does to it ---

    def crash(self) -> None:
        """End the worker at once, as a signal would."""
        self.is_killed = True
        self.scope.cancel()

    async def die(self) -> None:
        """Crash, from within: nothing comes after it."""
        self.crash()
        await trio.sleep_forever()

    def silence(self) -> None:
        """Hold back what leaves from now on, and what is sent there."""
        self._is_silent = True

    def speak(self) -> None:
        """Let what was held back arrive."""
        self._is_silent = False
        self._arrived.unpark_all()
        held, self._held = self._held, []
        for command in held:
            self._to_worker.send_nowait(command)

    # --- the worker's end, and its task ---

    def report(self, report: Report) -> None:
        """Queue a report, as `WorkerEnd` says."""
        if self.is_killed:
            return
        self._queued.append(report)
        ended = sum(isinstance(one, Ended) for one in self._queued)
        is_due = ended >= MOST_ENDED or isinstance(report, Done)
        self._due_at = min(self._due_at, trio.current_time() + (0 if is_due else LONGEST_WAIT))
        self._changed.unpark_all()

    def flush(self) -> None:
        """Let what is queued leave, as `WorkerEnd` says."""
        self._due_at = trio.current_time()
        self._changed.unpark_all()

    async def wait_command(self) -> Command:
        """Wait for a command."""
        return await self._at_worker.receive()

    async def work(self, main: WorkerMain) -> None:
        """Be the worker's process."""
        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry)
                    await main(self.plan, WorkerSide(self))
                    self._leave()
                    nursery.cancel_scope.cancel()
        finally:
            self.is_over = True
            self._arrived.unpark_all()

    async def _carry(self) -> None:
        while True:
            while self._due_at > trio.current_time():
                with trio.move_on_at(self._due_at):
                    await self._changed.park()
            self._leave()

    def _leave(self) -> None:
        self._due_at = math.inf
        if self._queued and not self.is_killed:
            self._left.append(self._queued)
            self._queued = []
            self._arrived.unpark_all()


class WorkerSide:
    """The worker's end of an `InProcessWorker`."""

    def __init__(self, worker: InProcessWorker) -> None:
        self._worker = worker

    @property
    def process(self) -> InProcessWorker:
        """What a fake worker crashes."""
        return self._worker

    def report(self, report: Report) -> None:
        """As `WorkerEnd` says."""
        self._worker.report(report)

    def flush(self) -> None:
        """As `WorkerEnd` says."""
        self._worker.flush()

    async def receive(self) -> Command:
        """As `WorkerEnd` says."""
        return await self._worker.wait_command()


class InProcess:
    """Opens workers that are tasks of this run, and keeps them for a test to look at.

    Args:
        main: what they do.
    """

    def __init__(self, main: WorkerMain) -> None:
        self.workers: list[InProcessWorker] = []
        self._main = main

    @property
    def alive(self) -> list[InProcessWorker]:
        """Workers that have not ended."""
        return [worker for worker in self.workers if not worker.is_over]

    @asynccontextmanager
    async def open(self, plan: WorkerPlan) -> AsyncGenerator[DriverEnd]:
        """Start a worker; it is gone when the block ends."""
        worker = InProcessWorker(plan)
        self.workers.append(worker)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.work, self._main)
            try:
                yield worker
            finally:
                worker.crash()
