"""What a sink is: it takes events one by one, and says what it lost."""

from datetime import datetime
from typing import ClassVar, Protocol, runtime_checkable

from agent_pipeline.domain.events import Event
from agent_pipeline.domain.ports import Emit


class Sink(Protocol):
    """Where events go; driven by one thread at a time, in the order of the events.

    Attributes:
        name: unique among the sinks of a run; the key of its drops.
    """

    name: str

    def handle(self, event: Event, at: datetime) -> None:
        """Take one event, which happened `at` (UTC); it may wait in memory until `flush`. Raising loses this event."""
        ...

    def flush(self) -> None:
        """Write what `handle` took. Raise `LinesLostError` with the number lost; any other error loses them all."""
        ...

    def close(self) -> None:
        """Flush and let go of everything; nothing is called afterwards. Raise as `flush` does."""
        ...


@runtime_checkable
class SelectiveSink(Protocol):
    """A sink that takes some kinds of events only; the others are neither handed to it nor counted."""

    def accepts(self, kind: type[Event]) -> bool:
        """Say, always alike, whether events of this class are wanted."""
        ...


@runtime_checkable
class SourceSink(Protocol):
    """A sink that needs something before the first event and must give it back whatever happens."""

    def start(self, emit: Emit, /) -> None:
        """Acquire (create the file, attach the handler); `emit` puts events into the sinks' own queue."""
        ...

    def stop(self) -> None:
        """Give back what must not outlive the run; called from the run's thread, even where `close` never came."""
        ...


class LinesLostError(Exception):
    """Lines could not be written.

    Attributes:
        count: how many.
        late: they may be of events that were handed over before this batch, and counted as written.
    """

    late: ClassVar[bool] = False

    def __init__(self, count: int, cause: OSError) -> None:
        super().__init__(f"{count} lines lost: {cause}")
        self.count = count
