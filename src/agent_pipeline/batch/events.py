"""What happens in a batch, one frozen dataclass per event, and who sees it."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """Base of all events; `name` is stable."""

    name: ClassVar[str] = "event"


@dataclass(frozen=True, slots=True)
class BatchStarted(BatchEvent):
    """The batch is open."""

    name = "batch_started"
    max_workers: int


@dataclass(frozen=True, slots=True)
class BatchCompleted(BatchEvent):
    """Every item taken so far has its result; told again where more was added after that."""

    name = "batch_completed"
    total_items: int
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True)
class BatchAborted(BatchEvent):
    """The batch ends early; `termination` is `batch_timeout` or `aborted`."""

    name = "batch_aborted"
    termination: str
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerStarted(BatchEvent):
    """A worker looks for work; numbers count from 1."""

    name = "worker_started"
    worker: int


@dataclass(frozen=True, slots=True)
class WorkerStopped(BatchEvent):
    """A worker found out that nothing more will come."""

    name = "worker_stopped"
    worker: int
    items: int


@dataclass(frozen=True, slots=True)
class ItemStarted(BatchEvent):
    """A worker took an item."""

    name = "item_started"
    item_id: str
    position: int


@dataclass(frozen=True, slots=True)
class ItemAdmitted(BatchEvent):
    """An attempt may go; it waited for its turn for so many seconds."""

    name = "item_admitted"
    item_id: str
    attempt: int
    waited: float


@dataclass(frozen=True, slots=True)
class AttemptFailed(BatchEvent):
    """One attempt failed; there may be another."""

    name = "attempt_failed"
    item_id: str
    attempt: int
    error_code: str
    error: str


@dataclass(frozen=True, slots=True)
class ItemCompleted(BatchEvent):
    """An item succeeded."""

    name = "item_completed"
    item_id: str
    position: int
    attempts: int
    input_tokens: int
    output_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ItemFailed(BatchEvent):
    """An item failed for good."""

    name = "item_failed"
    item_id: str
    position: int
    attempts: int
    error_code: str
    error: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RateLimitHit(BatchEvent):
    """A provider answered 429; `retry_after` is what it asked for."""

    name = "rate_limit_hit"
    item_id: str
    lane: str
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class CooldownStarted(BatchEvent):
    """Nobody of a lane sends for so many seconds, or longer, where more 429s come."""

    name = "cooldown_started"
    lane: str
    seconds: float


@dataclass(frozen=True, slots=True)
class CooldownEnded(BatchEvent):
    """A lane's pause is over; one request goes first."""

    name = "cooldown_ended"
    lane: str


@dataclass(frozen=True, slots=True)
class LaneChanged(BatchEvent):
    """A lane may have so many requests in flight from now on, or its provider is in doubt, back, or down."""

    name = "lane_changed"
    lane: str
    what: str
    reason: str


class ProcessorObserver:
    """Sees what happens in a batch. Subclass it and replace `on_event`, as a plain function or a coroutine function.

    Events come in order, one at a time, where the batch was opened: in its asyncio loop, or under its Trio run. What
    an observer raises is logged and counted, and no other observer or item notices.
    """

    def on_event(self, event: BatchEvent) -> Awaitable[None] | None:
        """Take an event."""
