"""The way of events to their observers, beside the work."""

import logging
from collections import deque
from collections.abc import Callable, Sequence

import trio

from agent_pipeline.batch.calling import call_either
from agent_pipeline.batch.events import BatchEvent, ProcessorObserver
from agent_pipeline.bridge import Caller

_logger = logging.getLogger("agent_pipeline.batch")

MOST_UNDELIVERED = 10_000
"""Events that wait for slow observers before no new item is begun."""


class Delivery:
    """Brings events to observers, in order, beside the work.

    Args:
        observers: all of them see every event.
        caller: where the observers live.
        on_failure: takes how often they failed.
        most: events that may wait before `room` does.
    """

    def __init__(
        self,
        observers: Sequence[ProcessorObserver],
        caller: Caller,
        on_failure: Callable[[int], None],
        most: int = MOST_UNDELIVERED,
    ) -> None:
        self._observers = observers
        self._caller = caller
        self._on_failure = on_failure
        self._most = most
        self._events: deque[BatchEvent] = deque()
        self._is_bringing = False
        self._came = trio.lowlevel.ParkingLot()
        self._went = trio.lowlevel.ParkingLot()

    def emit(self, event: BatchEvent) -> None:
        """Take an event; never blocks."""
        if self._observers:
            self._events.append(event)
            self._came.unpark_all()

    async def room(self) -> None:
        """Wait while far too many events wait; no checkpoint where they do not."""
        while len(self._events) >= self._most:
            await self._went.park()

    async def drained(self) -> None:
        """Wait until the observers have seen all there is."""
        while self._events or self._is_bringing:
            await self._went.park()

    async def run(self) -> None:
        """Bring events, for ever; cancelled, those not yet seen are lost."""
        while True:
            while not self._events:
                await self._came.park()
            events = tuple(self._events)
            self._events.clear()
            self._is_bringing = True
            try:
                self._on_failure(await self._caller.run(self._show, events))
            finally:
                self._is_bringing = False
                self._went.unpark_all()

    async def _show(self, events: Sequence[BatchEvent]) -> int:
        """Show the events to each observer, where they live; return how often one failed."""
        failures = 0
        for event in events:
            for observer in self._observers:
                try:
                    await call_either(observer.on_event, event)
                except Exception:
                    _logger.exception("observer %s failed on %s", type(observer).__name__, event.name)
                    failures += 1
        return failures
