"""The driver's end of the way to one actor: a thread reads its stream, commands go without waiting."""

import math
import pickle
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import trio

from agent_pipeline.engines.link import DriverEnd, WorkerLostError
from agent_pipeline.engines.messages import Command, Report, WorkerPlan
from agent_pipeline.engines.on_ray.actor import CONTROL, Hello, PipelineWorker
from agent_pipeline.engines.on_ray.local_process import LocalProcess
from agent_pipeline.engines.on_ray.words import in_words

if TYPE_CHECKING:
    from ray.actor import ActorHandle

BATCHES_AHEAD = 2
"""Batches that are read and not yet asked for; the rest waits in the worker, so that a slow ledger slows it down."""

STREAMED_AHEAD = 8
"""Batches that a worker may have sent and nobody has read."""

KILL_TIMEOUT = 5.0
"""Seconds until a worker whose end nobody confirms counts as cut off."""

_WITHOUT_END = 1_000_000


@asynccontextmanager
async def open_ray_worker(main: str, plan: WorkerPlan) -> AsyncGenerator[DriverEnd]:
    """Start an actor and wait until Ray has found a place for it, however long; no process of it is left afterwards.

    Args:
        main: the worker's main function as `module:function`.
        plan: what it is given.

    Raises:
        WorkerLostError: it could not be started, or was lost while it started.
    """
    link = RayLink(trio.lowlevel.current_trio_token())
    try:
        await trio.to_thread.run_sync(link.start, main, pickle.dumps(plan))
        await link.wait_started()
        yield link
    finally:
        with trio.CancelScope(shield=True):
            await link.kill()


class RayLink:
    """One actor, seen from the driver; see `DriverEnd`."""

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = token
        self._actor: ActorHandle[PipelineWorker] | None = None
        self._command: Any = None
        self._process: LocalProcess | None = None
        # Bounded by `_room`, which the reader waits for where it keeps nobody from anything: in its own thread.
        self._arrived, self._received = trio.open_memory_channel[Sequence[Report]](math.inf)
        self._room = threading.Semaphore(BATCHES_AHEAD)
        self._started = trio.Event()
        self._ended = trio.Event()
        self._killed = trio.Event()
        self._why = "it has ended"

    def start(self, main: str, packed: bytes) -> None:
        """Make the actor, and the thread that reads what it streams; blocks for about a second.

        Raises:
            WorkerLostError: Ray does not.
        """
        import ray  # noqa: PLC0415 - an extra, and a second

        kind = ray.remote(concurrency_groups={CONTROL: 1})(PipelineWorker)
        try:
            actor: Any = kind.options(num_cpus=1, max_restarts=0, max_task_retries=0).remote()
            self._actor = actor
            self._command = actor.command.options(concurrency_group=CONTROL)
            run = actor.run.options(num_returns="streaming", _generator_backpressure_num_objects=STREAMED_AHEAD)
            stream = run.remote(main, packed)
        except Exception as exc:
            if self._actor is None:
                self._token.run_sync_soon(self._killed.set)  # there is nobody to be killed
            raise WorkerLostError(in_words(exc)) from exc
        threading.Thread(target=self._read, args=(stream,), name="reports of a worker", daemon=True).start()

    async def wait_started(self) -> None:
        """Wait for the first word of the actor's process.

        Raises:
            WorkerLostError: there will be none.
        """
        await self._started.wait()
        if self._process is None:
            raise WorkerLostError(self._why)

    async def receive(self) -> Sequence[Report]:
        """Wait for the next batch."""
        try:
            reports = await self._received.receive()
        except trio.EndOfChannel:
            raise WorkerLostError(self._why) from None
        self._room.release()
        return reports

    def send(self, command: Command) -> None:
        """Send a command; Ray's own threads carry it."""
        if self._actor is not None and not self._ended.is_set():
            with suppress(Exception):  # of a worker that is gone; `receive` tells
                self._command.remote(pickle.dumps(command, pickle.HIGHEST_PROTOCOL))

    async def kill(self) -> None:
        """End the actor's process, and wait until it has ended, or `KILL_TIMEOUT` seconds."""
        actor, self._actor = self._actor, None
        if actor is None:
            await self._killed.wait()
            return
        # What it sent before is read to its end, whether anybody asks for it or not: the end says that it is gone.
        self._room.release(_WITHOUT_END)
        with trio.move_on_after(KILL_TIMEOUT, shield=True):
            await trio.to_thread.run_sync(_kill, actor, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
            if self._process is not None:
                await self._process.kill()
            await self._ended.wait()
        if self._process is not None:
            self._process.close()
        self._killed.set()

    # --- in the thread that reads ---

    def _read(self, stream: "Iterator[Any]") -> None:
        import ray  # noqa: PLC0415 - an extra; here it is loaded already

        why = self._why
        with suppress(trio.RunFinishedError):  # then nobody is left to be told
            try:
                for reference in stream:
                    value = pickle.loads(ray.get(reference))  # noqa: S301 - from a process that we have started
                    if isinstance(value, Hello):
                        self._token.run_sync_soon(self._begin, LocalProcess(value))
                    else:
                        self._token.run_sync_soon(self._arrived.send_nowait, value)
                        self._room.acquire()
            except trio.RunFinishedError:
                raise
            except Exception as exc:  # noqa: BLE001 - whatever Ray raises, the worker can't be heard any more
                why = in_words(exc)
            self._token.run_sync_soon(self._end, why)

    # --- from that thread, under Trio ---

    def _begin(self, process: LocalProcess) -> None:
        self._process = process
        self._started.set()

    def _end(self, why: str) -> None:
        self._why = why
        self._ended.set()
        self._started.set()
        self._arrived.close()


def _kill(actor: Any) -> None:
    import ray  # noqa: PLC0415 - an extra; here it is loaded already

    with suppress(Exception):  # it may be gone, or the whole cluster
        ray.kill(actor, no_restart=True)
