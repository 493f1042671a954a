"""The driver's end of the way to one actor: a thread reads its stream, commands go without waiting."""

import math
import pickle
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeAlias

import trio

from agent_pipeline.engines.link import DriverEnd, WorkerLostError
from agent_pipeline.engines.messages import Command, Report, WorkerPlan
from agent_pipeline.engines.on_ray.actor import CONTROL, Hello, PipelineWorker
from agent_pipeline.engines.on_ray.library import load_ray
from agent_pipeline.engines.on_ray.local_process import LocalProcess
from agent_pipeline.engines.on_ray.packing import pack
from agent_pipeline.engines.on_ray.visits import Visits
from agent_pipeline.engines.on_ray.words import in_words

BATCHES_AHEAD = 2
"""Batches that are read and not yet asked for; the rest waits in the worker, so that a slow ledger slows it down."""

STREAMED_AHEAD = 8
"""Batches that a worker may have sent and nobody has read."""

KILL_TIMEOUT = 5.0
"""Seconds until a worker whose end nobody confirms counts as cut off."""

LOOK_AFTER = 2.0
"""Seconds of silence after which the cluster is looked at."""

LISTEN_PERIOD = 0.5
"""Seconds for which a stream is listened to at a time: then it is seen whether anybody wants to hear it."""

_WITHOUT_END = 1_000_000


WhyLost: TypeAlias = Callable[[], str | None]
"""Says why the cluster can't be reached any more; None while it can."""


@asynccontextmanager
async def open_ray_worker(main: str, why_lost: WhyLost, visits: Visits, plan: WorkerPlan) -> AsyncGenerator[DriverEnd]:
    """Start an actor and wait until Ray has found a place for it, however long; no process of it is left afterwards.

    Args:
        main: the worker's main function as `module:function`.
        why_lost: asked while there is nothing else.
        visits: told of the threads that read what it says, and end it.
        plan: what it is given.

    Raises:
        WorkerLostError: it could not be started, or was lost while it started.
    """
    link = RayLink(trio.lowlevel.current_trio_token(), why_lost, visits)
    visits.begin("reports of a worker", partial(link.read, main, pickle.dumps(plan)))
    try:
        await link.wait_started()
        yield link
    finally:
        try:
            await link.kill()
        finally:
            link.hear_no_more()


class RayLink:
    """One actor, seen from the driver; see `DriverEnd`."""

    def __init__(self, token: trio.lowlevel.TrioToken, why_lost: WhyLost, visits: Visits) -> None:
        self._token = token
        self._why_lost = why_lost
        self._visits = visits
        self._actor: Any = None
        self._command: Any = None
        self._lock = threading.Lock()
        self._is_given_up = False
        self._is_heard = True
        self._process: LocalProcess | None = None
        # Bounded by `_room`, which the reader waits for where it keeps nobody from anything: in its own thread.
        self._arrived, self._received = trio.open_memory_channel[Sequence[Report]](math.inf)
        self._room = threading.Semaphore(BATCHES_AHEAD - 1)
        self._started = trio.Event()
        self._ended = trio.Event()
        self._killed: trio.Event | None = None
        self._why = "it has ended"

    async def wait_started(self) -> None:
        """Wait for the first word of the actor's process.

        Raises:
            WorkerLostError: there will be none.
        """
        while not self._started.is_set():
            if (why := self._why_lost()) is not None:
                raise WorkerLostError(why)
            with trio.move_on_after(LOOK_AFTER):
                await self._started.wait()
        if self._process is None:
            raise WorkerLostError(self._why)

    async def receive(self) -> Sequence[Report]:
        """Wait for the next batch."""
        while True:
            has_some = self._received.statistics().current_buffer_used > 0
            if not has_some and (why := self._why_lost()) is not None:
                raise WorkerLostError(why)
            with trio.move_on_after(LOOK_AFTER):
                try:
                    reports = await self._received.receive()
                except trio.EndOfChannel:
                    raise WorkerLostError(self._why) from None
                self._room.release()
                return reports

    def send(self, command: Command) -> None:
        """Send a command; Ray's own threads carry it."""
        if self._command is not None and not self._is_given_up:
            packed = pack(command)
            with suppress(Exception):  # of a worker that is gone; `receive` tells
                self._command.remote(packed)

    async def kill(self) -> None:
        """End the actor's process, and wait until it has ended, or `KILL_TIMEOUT` seconds."""
        if self._killed is not None:
            await self._killed.wait()
            return
        self._killed = trio.Event()
        with self._lock:  # an actor that is only being made is killed by the thread that makes it
            self._is_given_up, actor = True, self._actor
        # What it sent before is read to its end, whether anybody asks for it or not: the end says that it is gone.
        self._room.release(_WITHOUT_END)
        with trio.move_on_after(KILL_TIMEOUT, shield=True):
            if actor is not None:
                await self._kill(actor)
            if self._process is not None:
                await self._process.kill()
            await self._ended.wait()
        if self._process is not None:
            self._process.close()
        self._killed.set()

    def hear_no_more(self) -> None:
        """Let go of the actor, and let the thread that reads leave Ray: one that could not be killed speaks on."""
        with self._lock:
            self._is_heard, self._actor, self._command = False, None, None

    async def _kill(self, actor: Any) -> None:  # noqa: ANN401 - as below
        is_done = trio.Event()

        def kill() -> None:
            _kill(actor)
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(is_done.set)

        self._visits.begin("end of a worker", kill)
        await is_done.wait()

    # --- in a thread of its own ---

    def read(self, main: str, packed: bytes) -> None:
        """Make the actor and read what it streams, to its end; blocks."""
        why = self._why
        with suppress(trio.RunFinishedError):  # then nobody is left to be told
            try:
                for value in self._stream(main, packed):
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

    def _stream(self, main: str, packed: bytes) -> Iterator[Any]:
        ray = load_ray()
        kind = ray.remote(concurrency_groups={CONTROL: 1})(PipelineWorker)
        actor = kind.options(num_cpus=1, max_restarts=0, max_task_retries=0).remote()
        with self._lock:
            if self._is_heard:
                self._actor, self._command = actor, actor.command.options(concurrency_group=CONTROL)
        if self._is_given_up:
            _kill(actor)
        run = actor.run.options(num_returns="streaming", _generator_backpressure_num_objects=STREAMED_AHEAD)
        stream = run.remote(main, packed)
        while self._is_heard:
            ready, _ = ray.wait([stream], timeout=LISTEN_PERIOD)
            if ready:
                reference = next(stream, None)
                if reference is None:
                    return
                yield pickle.loads(ray.get(reference))  # noqa: S301 - from a process that we have started

    # --- from that thread, under Trio ---

    def _begin(self, process: LocalProcess) -> None:
        self._process = process
        self._started.set()

    def _end(self, why: str) -> None:
        self._why = why
        self._ended.set()
        self._started.set()
        self._arrived.close()


def _kill(actor: Any) -> None:  # noqa: ANN401 - Ray's handles have no type that says what they can do
    with suppress(Exception):  # it may be gone, or the whole cluster
        load_ray().kill(actor, no_restart=True)
