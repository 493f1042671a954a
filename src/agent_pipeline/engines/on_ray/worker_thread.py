"""A worker's Trio run in a thread of its own, beside the threads in which its reports leave and its commands come."""

import math
import threading
import time
from collections.abc import Iterator

import trio

from agent_pipeline.engines.link import WorkerMain
from agent_pipeline.engines.messages import Command, Done, Report, WorkerPlan
from agent_pipeline.engines.worker.outbox import Outbox


class WorkerThread:
    """Runs a worker's main function under Trio; the worker's end of the link for it, batches and commands for others.

    Knows nothing of what carries batches away and commands here: both may happen in any thread.
    """

    def __init__(self, main: WorkerMain, plan: WorkerPlan) -> None:
        self._main = main
        self._plan = plan
        self._woken = threading.Event()
        self._outbox = Outbox(clock=time.monotonic, wake=self._woken.set)
        self._commands, self._received = trio.open_memory_channel[Command](math.inf)
        self._early: list[Command] = []
        self._token: trio.lowlevel.TrioToken | None = None
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)

    # --- for who carries ---

    def batches(self) -> Iterator[list[Report]]:
        """Start the worker; give its reports as they become due, until it has ended and all are given.

        Raises:
            BaseException: what ended the worker's main function, where an error did.
        """
        self._thread.start()
        while not self._outbox.is_over:
            due_in = self._outbox.due_in()
            if due_in > 0:
                self._woken.wait(None if due_in == math.inf else due_in)
                # Cleared before the outbox is looked at: what is queued from now on wakes again.
                self._woken.clear()
            elif reports := self._outbox.take():
                yield reports
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def command(self, command: Command) -> None:
        """Hand a command to the worker, in the order of the calls; one that has ended needs none."""
        with self._lock:
            if self._token is None:
                self._early.append(command)
                return
            try:
                self._token.run_sync_soon(self._commands.send_nowait, command)
            except trio.RunFinishedError:
                return

    # --- the worker's end of the link ---

    def report(self, report: Report) -> None:
        """Queue a report."""
        self._outbox.put(report)

    def flush(self) -> None:
        """Let what is queued leave at once."""
        self._outbox.flush()

    async def receive(self) -> Command:
        """Wait for the next command; the process ends with its driver, so there is always one who may give it."""
        return await self._received.receive()

    def _work(self) -> None:
        try:
            trio.run(self._run, strict_exception_groups=True)
        except BaseException as exc:  # noqa: BLE001 - raised again where the reports are taken, in another thread
            self._failure = exc
        finally:
            self._outbox.put(Done())  # one that said it itself is not heard twice

    async def _run(self) -> None:
        with self._lock:
            self._token = trio.lowlevel.current_trio_token()
            for command in self._early:
                self._commands.send_nowait(command)
        await self._main(self._plan, self)
