"""What is seen of a rehearsal while it goes on: counted from its events, in memory that does not grow with it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from agent_pipeline.domain.events import (
    AttemptFinished,
    DocumentFinished,
    DocumentsClamped,
    Event,
    PipelineFailure,
    RunStopping,
)
from agent_pipeline.domain.limit_events import BreakerChanged, LimitChanged
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.simulator.clock import trio_time

_WANTED = (
    AttemptFinished,
    BreakerChanged,
    DocumentFinished,
    DocumentsClamped,
    LimitChanged,
    PipelineFailure,
    RunStopping,
)


@dataclass(slots=True)
class Spent:
    """Tokens and money that were charged; `unpriced` says that some of it has no known price."""

    tokens: int = 0
    micro_usd: int = 0
    unpriced: bool = False

    def add(self, attempt: AttemptRecord) -> None:
        """Add what an attempt was charged."""
        self.tokens += attempt.charged_tokens
        self.micro_usd += attempt.cost_micro_usd or 0
        self.unpriced |= attempt.cost_micro_usd is None

    def add_all(self, other: "Spent") -> None:
        """Add what was added to another."""
        self.tokens += other.tokens
        self.micro_usd += other.micro_usd
        self.unpriced |= other.unpriced


@dataclass(slots=True)
class Observed:
    """A sink that counts.

    Attributes:
        on_finish: called at the end of each document, with their number and the time of the run in seconds.
        outcomes: documents by outcome.
        failures: documents that failed, by error code; and one message for each code.
        incomplete_roles: roles whose answers were cut short, by number of attempts.
        endings: attempts by error code; `None` stands for a good answer.
        retried: attempts that followed another of the same call, those after a 429 among them.
        waits: seconds that requests waited before they went, by the longest reason.
        lowest_limits: the fewest requests that the gate let go at once after a 429, by provider and model.
        breaker: changes of the breaker, by state.
        slowest: longest document, in seconds, and its id.
        spent: in all.
        unconfirmed: of it, what no answer reported; it may be billed or not.
        wasted: what was spent on documents that failed, as far as it was reported.
        stopping: why the run ended early.
        clamped: documents in flight that this process can have, where that is fewer than configured.
    """

    on_finish: Callable[[int, float], object] = lambda _count, _seconds: None
    name: str = "rehearsal"
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)
    failed_stages: dict[str, Counter[str]] = field(default_factory=dict)
    incomplete_roles: Counter[str] = field(default_factory=Counter)
    endings: Counter[str | None] = field(default_factory=Counter)
    retried: int = 0
    waits: dict[str, float] = field(default_factory=dict)
    lowest_limits: dict[str, int] = field(default_factory=dict)
    breaker: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    spent: Spent = field(default_factory=Spent)
    unconfirmed: Spent = field(default_factory=Spent)
    wasted: Spent = field(default_factory=Spent)
    stopping: str | None = None
    clamped: int | None = None
    _of_document: dict[str, Spent] = field(default_factory=dict)
    _calls: dict[str, set[str]] = field(default_factory=dict)

    def accepts(self, kind: type[Event]) -> bool:
        """Take what is counted."""
        return issubclass(kind, _WANTED)

    def handle(self, event: Event, at: datetime) -> None:
        """Count one event."""
        del at
        match event:
            case AttemptFinished():
                self._attempt(event.attempt)
            case DocumentFinished():
                self._document(event)
            case PipelineFailure():
                self.messages.setdefault(event.error_code, event.error)
                self.failed_stages.setdefault(event.error_code, Counter())[event.stage or ""] += 1
            case LimitChanged(reason="rate_limited"):
                key = f"{event.provider} {event.model}"
                self.lowest_limits[key] = min(event.new, self.lowest_limits.get(key, event.new))
            case BreakerChanged():
                self.breaker[event.state] += 1
            case RunStopping():
                self.stopping = self.stopping or event.detail
            case DocumentsClamped():
                self.clamped = event.in_flight

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""

    def _attempt(self, attempt: AttemptRecord) -> None:
        self.endings[attempt.error_code] += 1
        if attempt.error_code == "incomplete_answer":
            self.incomplete_roles[attempt.role] += 1
        if attempt.wait_reason is not None:
            waited = self.waits.get(attempt.wait_reason, 0.0)
            self.waits[attempt.wait_reason] = waited + attempt.wait_seconds
        self.spent.add(attempt)
        if attempt.usage is None and attempt.charged_tokens:
            self.unconfirmed.add(attempt)
        elif attempt.document_id is not None:
            self._of_document.setdefault(attempt.document_id, Spent()).add(attempt)
        if attempt.document_id is not None:
            calls = self._calls.setdefault(attempt.document_id, set())
            self.retried += attempt.call_id in calls
            calls.add(attempt.call_id)

    def _document(self, event: DocumentFinished) -> None:
        self.outcomes[event.outcome] += 1
        self._calls.pop(event.document_id, None)
        spent = self._of_document.pop(event.document_id, None)
        if event.outcome == "failed":
            self.failures[event.error_code or ""] += 1
            if spent is not None:
                self.wasted.add_all(spent)
        self.slowest = max(self.slowest, (event.duration_seconds, event.document_id))
        self.on_finish(self.outcomes.total(), trio_time())
