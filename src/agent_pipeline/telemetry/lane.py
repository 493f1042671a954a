"""One sink with its counts: whatever a sink does, it harms nothing but itself and is accounted for."""

from collections.abc import Sequence
from datetime import datetime

from agent_pipeline.domain.events import Event
from agent_pipeline.telemetry.sink import LinesLostError, SelectiveSink, Sink

Item = tuple[Event, datetime]


class Lane:
    """A sink, what it wants, and what became of it; the counts are guarded by their owner's lock.

    Attributes:
        written: events taken and flushed.
        dropped: events lost.
        in_hand: events of the batch at work, which may be either yet.
        error: the first thing that went wrong, None so far.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.name = sink.name
        self.written = 0
        self.dropped = 0
        self.in_hand = 0
        self.error: str | None = None
        self._wanted: dict[type[Event], bool] = {}

    def wants(self, kind: type[Event]) -> bool:
        """Say whether the sink takes events of this class."""
        known = self._wanted.get(kind)
        if known is None:
            known = not isinstance(self.sink, SelectiveSink) or self.sink.accepts(kind)
            self._wanted[kind] = known
        return known

    def write(self, items: Sequence[Item]) -> int:
        """Hand a batch to the sink and flush it; return how many were lost, of earlier ones too."""
        lost = late = 0
        handle = self.sink.handle
        for event, at in items:
            try:
                handle(event, at)
            except Exception as error:  # noqa: BLE001 - a sink may fail in any way; it is counted
                lost += 1
                self.note(error)
        try:
            self.sink.flush()
        except LinesLostError as error:
            late = error.count if error.late else 0
            lost += error.count - late
            self.note(error)
        except Exception as error:  # noqa: BLE001 - as above; nothing is known of the batch
            lost = len(items)
            self.note(error)
        return min(lost, len(items)) + late

    def settle(self, lost: int) -> None:
        """Count the batch in hand as written, but for `lost`."""
        self.written += self.in_hand - lost
        self.dropped += lost
        self.in_hand = 0

    def give_up(self, why: str) -> None:
        """Count the batch in hand as lost: nobody knows."""
        if self.in_hand:
            self.error = self.error or why
        self.dropped += self.in_hand
        self.in_hand = 0

    def close(self) -> int:
        """Close the sink; return how many were lost that it had taken."""
        try:
            self.sink.close()
        except LinesLostError as error:
            self.note(error)
            return error.count
        except Exception as error:  # noqa: BLE001 - the other sinks must be closed too; it is shown
            self.note(error)
        return 0

    def note(self, error: Exception) -> None:
        """Keep the first error."""
        if self.error is None:
            self.error = str(error) if isinstance(error, LinesLostError) else f"{type(error).__name__}: {error}"
