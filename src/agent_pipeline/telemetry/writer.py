"""The queue between a run and its sinks, the one thread that drives them, and the bounded way out."""

import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, SimpleQueue

import trio

from agent_pipeline.domain.events import Event, SdkLogRecord
from agent_pipeline.telemetry.lane import Item, Lane
from agent_pipeline.telemetry.sink import Sink, SourceSink
from agent_pipeline.telemetry.writer_thread import WriterThread

_BATCH = 256
"""Events between two flushes of a sink: also under load the files are never further behind."""

_LINGER = 0.1
"""Seconds the thread lets events gather before it works on them: one wake-up per event would cost the run its CPU."""


@dataclass(frozen=True, slots=True)
class TelemetryStatistics:
    """What became of the events.

    Attributes:
        emitted: events handed in.
        written: by sink, events it took and flushed.
        dropped: by sink, events it should have got and did not write; only sinks that lost any.
        errors: by sink, the first thing that went wrong.
    """

    emitted: int
    written: dict[str, int]
    dropped: dict[str, int]
    errors: dict[str, str]


def utc_now() -> datetime:
    """Return the wall time."""
    return datetime.now(UTC)


class Telemetry:
    """Takes events from any thread; made by `open_telemetry`."""

    def __init__(self, sinks: Sequence[Sink], *, capacity: int, threaded: bool, clock: Callable[[], datetime]) -> None:
        self._lanes = [Lane(sink) for sink in sinks]
        if len({lane.name for lane in self._lanes}) != len(self._lanes):
            message = f"sinks must have different names: {[lane.name for lane in self._lanes]}"
            raise ValueError(message)
        self._capacity = capacity
        self._threaded = threaded
        self._thread: WriterThread | None = None
        self._clock = clock
        self._queue: SimpleQueue[Item | None] = SimpleQueue()  # None: no more to come
        self._wake: SimpleQueue[None] = SimpleQueue()
        # Guards the counts only, and only for a few instructions. Reentrant, since a finalizer may emit anywhere.
        self._counts = threading.RLock()
        self._driving = threading.Lock()
        self._driver: int | None = None
        self._taken = 0
        self._rejected: Counter[type[Event]] = Counter()
        self._closing = False
        self._abandoned = threading.Event()
        self._ended = False

    def emit(self, event: Event, /) -> None:
        """Queue an event with the time of this call; never blocks, never raises.

        A full queue, or one that is closed, loses the event and counts it for every sink that wanted it. What the
        event holds must not be changed afterwards: it is read later, on another thread.
        """
        self.emit_at(event, None)

    def emit_at(self, event: Event, at: datetime | None) -> None:
        """Queue an event that happened at another time, in another process perhaps; None is now. Else as `emit`."""
        try:
            waiting = self._queue.qsize()
            closed = self._closing and threading.get_ident() != self._driver
            if closed and isinstance(event, SdkLogRecord):
                return  # of another run in this process: this one is over
            if closed or waiting >= self._capacity:
                self._reject(event)
                return
            self._queue.put((event, self._clock() if at is None else at))
            if not self._threaded:
                self._drain_inline()
            elif waiting * 2 >= self._capacity and self._wake.empty():
                self._wake.put(None)
        except Exception:  # noqa: BLE001 - a failing clock must not fail the run; the loss is counted
            self._reject(event)

    @property
    def dropped(self) -> dict[str, int]:
        """By sink, events it should have got and did not write; only sinks that lost any."""
        return self.statistics().dropped

    def statistics(self) -> TelemetryStatistics:
        """Count what was handed in, written and lost so far."""
        with self._counts:
            if self._ended:
                self._reject_waiting()
            rejected = dict(self._rejected)
            dropped = {
                lane.name: lane.dropped + sum(count for kind, count in rejected.items() if lane.wants(kind))
                for lane in self._lanes
            }
            return TelemetryStatistics(
                emitted=self._taken + sum(rejected.values()) + self._queue.qsize(),
                written={lane.name: lane.written for lane in self._lanes},
                dropped={name: count for name, count in dropped.items() if count},
                errors={lane.name: lane.error for lane in self._lanes if lane.error is not None},
            )

    def close_now(self, timeout: float) -> bool:
        """Take no more, write what is queued and close the sinks; for a process that leaves without its usual way out.

        From any thread, also while Trio's is blocked. What is not written within `timeout` seconds is counted as
        dropped. What sinks hold beyond their files (handlers) is given back by the usual way only, which may follow.

        Returns:
            Whether nothing was lost, neither now nor before.
        """
        if self._thread is None:
            self._close_inline(timeout)
        else:
            self._announce_end()
            self._thread.block_until_done(timeout)
        self._conclude(timeout)
        return not self.dropped

    # --- beginning and end, called by open_telemetry ---------------------------------------------------------------

    def _start_sinks(self) -> None:
        """Start every sink that has a start; where one fails, those before it are stopped and closed.

        What they emit meanwhile waits until all are there.
        """
        started: list[Sink] = []
        with self._driving:
            try:
                for lane in self._lanes:
                    if isinstance(lane.sink, SourceSink):
                        lane.sink.start(self.emit)
                    started.append(lane.sink)
            except BaseException:
                for sink in started:
                    if isinstance(sink, SourceSink):
                        sink.stop()
                    sink.close()
                raise

    def _start_writing(self) -> None:
        if self._threaded:
            self._thread = WriterThread(self._drive)

    async def _finish(self, flush_timeout: float) -> None:
        """Write what is queued, close the sinks, give back what they hold; leave after `flush_timeout` seconds."""
        try:
            if self._thread is None:
                self._close_inline(flush_timeout)
            else:
                self._announce_end()
                await self._thread.wait_ended(flush_timeout)
        finally:
            self._conclude(flush_timeout)
            for lane in self._lanes:
                if isinstance(lane.sink, SourceSink):
                    lane.sink.stop()

    def _announce_end(self) -> None:
        """Take no more, and tell the thread."""
        self._closing = True
        self._queue.put(None)
        self._wake.put(None)

    def _close_inline(self, timeout: float) -> None:
        """Do the thread's last work here, once nobody else drives the sinks."""
        if self._driving.acquire(timeout=timeout):
            try:
                self._driver = threading.get_ident()
                self._closing = True
                self._drain([])
                self._close_sinks()
            finally:
                self._driving.release()

    def _conclude(self, timeout: float) -> None:
        """Count what is not written by now as lost, for good."""
        with self._counts:
            self._closing = self._ended = True
            self._abandoned.set()
            for lane in self._lanes:
                lane.give_up(f"not finished {timeout:g} s after the end")

    # --- whoever drives the sinks ------------------------------------------------------------------------------------

    def _drive(self) -> None:
        """Drive the sinks until the end is announced, then close them; the writer thread's whole life."""
        self._driver = threading.get_ident()
        stopped = False
        while not stopped and not self._abandoned.is_set():
            item = self._queue.get()
            if item is None:
                stopped = True
            elif self._queue.qsize() * 2 < self._capacity:
                self._linger()
            stopped = self._drain([] if item is None else [item]) or stopped
        self._close_sinks()

    def _linger(self) -> None:
        try:
            self._wake.get(timeout=_LINGER)
        except Empty:
            return

    def _drain_inline(self) -> None:
        """Drive the sinks from here, unless somebody does already: then they find our event, too."""
        while not self._queue.empty() and self._driving.acquire(blocking=False):
            try:
                self._driver = threading.get_ident()
                self._drain([])
            finally:
                self._driver = None
                self._driving.release()

    def _drain(self, batch: list[Item]) -> bool:
        """Write `batch` and all that waits; return True when the end was announced."""
        stopped = False
        while True:
            while len(batch) < _BATCH:
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    break
                if item is None:
                    stopped = True
                else:
                    batch.append(item)
            if not batch:
                return stopped
            self._write(batch)
            batch = []

    def _write(self, batch: list[Item]) -> None:
        """Give each sink its part of the batch and flush it before the next: a stuck one harms only those after it."""
        with self._counts:
            if self._abandoned.is_set():
                self._rejected.update(type(event) for event, _ in batch)
                return
            self._taken += len(batch)
            work = [(lane, [item for item in batch if lane.wants(type(item[0]))]) for lane in self._lanes]
            for lane, items in work:
                lane.in_hand = len(items)
        for lane, items in work:
            if items:
                lost = lane.write(items)
                with self._counts:
                    if self._abandoned.is_set():
                        return
                    lane.settle(lost)

    def _close_sinks(self) -> None:
        for lane in self._lanes:
            if not self._abandoned.is_set():
                lost = lane.close()
                with self._counts:
                    lane.settle(lost)

    def _reject(self, event: Event) -> None:
        with self._counts:
            self._rejected[type(event)] += 1

    def _reject_waiting(self) -> None:
        """Count what came too late for the thread as lost."""
        while not self._queue.empty():
            try:
                item = self._queue.get_nowait()
            except Empty:
                return
            if item is not None:
                self._reject(item[0])


@asynccontextmanager
async def open_telemetry(
    sinks: Sequence[Sink],
    *,
    capacity: int = 65536,
    threaded: bool = True,
    clock: Callable[[], datetime] = utc_now,
    flush_timeout: float = 10,
) -> AsyncGenerator[Telemetry]:
    """Start the sinks and the thread that drives them, in their order; flush and close on the way out.

    On the way out, also on error and cancellation, what was emitted is written and the sinks are closed, shielded, but
    for `flush_timeout` seconds at most: what is not written by then is counted as dropped. Afterwards no handler and,
    unless a sink is stuck, no thread is left, and `emit` only counts.

    Args:
        sinks: with different names; one that fails or is stuck loses events of its own (stuck: and of those after it).
        capacity: events that may wait.
        threaded: False writes within `emit`, for virtual time, where a thread would be outrun.
        clock: aware wall time of an event.
        flush_timeout: seconds.

    Raises:
        OSError: a sink can't be started; the others are stopped.
        ValueError: two sinks have one name.
    """
    telemetry = Telemetry(sinks, capacity=capacity, threaded=threaded, clock=clock)
    telemetry._start_sinks()  # noqa: SLF001 - same module, not for users
    try:
        telemetry._start_writing()  # noqa: SLF001 - same module, not for users
        yield telemetry
    finally:
        with trio.CancelScope(shield=True):
            await telemetry._finish(flush_timeout)  # noqa: SLF001 - same module, not for users
