"""What a display shows, counted from events: it grows with the documents in flight, not with all of them."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from agent_pipeline.domain.events import (
    AttemptFinished,
    DocumentFinished,
    DocumentStarted,
    Event,
    PipelineFailure,
    PipelineStarted,
    RunCancelling,
    RunStopping,
    StageStarted,
)
from agent_pipeline.domain.limit_events import BreakerChanged, LiveEditRefused, LiveValueChanged


def ending_words(event: RunStopping | RunCancelling) -> list[str]:
    """Return how a run ends early, for people: what it does, and what one more signal would do."""
    match event:
        case RunStopping():
            return [f"stopping: {event.detail}", *([] if event.further is None else [event.further])]
        case RunCancelling():
            return [f"cancelling documents in flight ({event.reason})"]


def limit_words(event: BreakerChanged | LiveEditRefused | LiveValueChanged) -> list[str]:
    """Return what people should know of a provider that fails for all, and of what an edit of theirs did."""
    match event:
        case BreakerChanged(state="half_open"):
            return []  # a probe goes; what comes of it is told
        case BreakerChanged():
            return [f"{event.provider} {event.model}: {event.reason}"]
        case LiveEditRefused():
            return [f"live file refused, nothing of it counts: {event.reason}"]
        case LiveValueChanged():
            return [f"live: {event.key} is {json.dumps(event.new)} now, was {json.dumps(event.old)}"]


@dataclass(slots=True)
class Progress:
    """The state of a run as far as events tell it; driven by one thread.

    Attributes:
        total: documents there will be, None where nobody knows.
        stages: current stage of each document in flight, None before its first.
        failures: of documents whose end is about to be told.
        stopping: why the run ends early, as the first to say so put it.
        ending: what the run does about it now, and what one more signal would do.
        outages: what is known of each provider and model that fails for all now.
        live: what the last edit of the live file did.
    """

    run_dir: str | None = None
    pipeline: str = ""
    simulator: bool = False
    replayed: bool = False
    total: int | None = None
    begun_at: datetime | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    stages: dict[str, str | None] = field(default_factory=dict)
    tokens: int = 0
    attempts: int = 0
    failures: dict[str, PipelineFailure] = field(default_factory=dict)
    last_failure: PipelineFailure | None = None
    stopping: str | None = None
    ending: list[str] = field(default_factory=list)
    outages: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    live: list[str] = field(default_factory=list)

    def take(self, event: Event, at: datetime) -> None:
        """Count one event."""
        match event:
            case AttemptFinished(attempt):
                self.attempts += 1
                self.tokens += 0 if attempt.usage is None else attempt.usage.total_tokens
            case StageStarted():
                self.stages[event.document_id] = event.stage
            case DocumentStarted():
                self.stages[event.document_id] = None
            case PipelineFailure():
                self.failures[event.document_id] = self.last_failure = event
            case DocumentFinished():
                self.stages.pop(event.document_id, None)
                self.outcomes[event.outcome] += 1
            case RunStopping():
                self.stopping, self.ending = self.stopping or event.detail, ending_words(event)
            case RunCancelling():
                self.ending = ending_words(event)
            case PipelineStarted():
                self.begun_at = at
                self.run_dir, self.pipeline = event.run_dir, event.pipeline
                self.simulator, self.replayed, self.total = event.simulator, event.replayed, event.documents
            case BreakerChanged() | LiveEditRefused() | LiveValueChanged():
                self._take_limit(event)
            case _:
                return

    def _take_limit(self, event: BreakerChanged | LiveEditRefused | LiveValueChanged) -> None:
        if not isinstance(event, BreakerChanged):
            self.live = limit_words(event)
        elif event.state == "closed":
            self.outages.pop((event.provider, event.model), None)
        elif words := limit_words(event):
            self.outages[event.provider, event.model] = words

    @property
    def done(self) -> int:
        """Documents that have ended, in whatever way."""
        return self.outcomes.total()

    def seconds(self, at: datetime) -> float:
        """Return how long the run goes on."""
        return 0.0 if self.begun_at is None else max((at - self.begun_at).total_seconds(), 0.0)

    def stage_counts(self) -> dict[str, int]:
        """Return how many documents are in each stage, in the order in which stages were first seen in flight."""
        return dict(Counter(stage for stage in self.stages.values() if stage is not None))

    def status(self) -> str:
        """Return the state in a few words."""
        of = "" if self.total is None else f" of {self.total}"
        parts = [f"{self.outcomes['succeeded']}{of} succeeded"]
        parts += [f"{self.outcomes[name]} {name}" for name in ("failed", "skipped", "cancelled") if self.outcomes[name]]
        parts.append(f"{len(self.stages)} in flight")
        stand_in = " (replayed)" if self.replayed else " (simulated)" if self.simulator else ""
        parts.append(f"{self.tokens:,} tokens{stand_in}")
        return ", ".join(parts)
