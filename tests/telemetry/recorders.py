"""Sinks that keep what they get."""

import threading
from dataclasses import dataclass, field
from datetime import datetime

from agent_pipeline.domain.events import DocumentSizeWarning, Event
from agent_pipeline.domain.ports import Emit
from agent_pipeline.telemetry import LinesLostError

EVENT = DocumentSizeWarning("1", 2)


@dataclass
class Recorder:
    """A sink that keeps what it gets, and fails or blocks where it is told to."""

    name: str = "recorder"
    fail: set[int] = field(default_factory=set)
    lose: int = 0
    flush_error: Exception | None = None
    gate: threading.Event | None = None
    log: list[str] = field(default_factory=list)
    events: list[tuple[Event, datetime]] = field(default_factory=list)
    flushed: int = 0
    has_flushed: threading.Event = field(default_factory=threading.Event)
    threads: set[int] = field(default_factory=set)
    entered: threading.Event = field(default_factory=threading.Event)

    def handle(self, event: Event, at: datetime) -> None:
        self.entered.set()
        if self.gate is not None:
            self.gate.wait()
        self.threads.add(threading.get_ident())
        if len(self.events) in self.fail:
            self.fail.discard(len(self.events))
            raise RuntimeError("no")
        self.events.append((event, at))

    def flush(self) -> None:
        if self.flush_error is not None:
            raise self.flush_error
        if self.lose:
            raise LinesLostError(self.lose, OSError("full"))
        self.flushed = len(self.events)
        self.has_flushed.set()

    def close(self) -> None:
        self.log.append("close")


@dataclass
class Selective(Recorder):
    """Wants warnings about sizes only; acquires and gives back."""

    def accepts(self, kind: type[Event]) -> bool:
        return kind is DocumentSizeWarning

    def start(self, _emit: Emit, /) -> None:
        self.log.append("start")

    def stop(self) -> None:
        self.log.append("stop")
