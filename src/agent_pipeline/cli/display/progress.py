"""What a display shows, counted from events: it grows with the documents in flight, not with all of them."""

import json
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from agent_pipeline.cli.display.durations import Durations
from agent_pipeline.cli.display.forecast import Forecast
from agent_pipeline.domain.engine_events import WorkerLost, WorkerReady
from agent_pipeline.domain.events import (
    AttemptFinished,
    DocumentFinished,
    DocumentStarted,
    Event,
    PipelineFailure,
    PipelineStarted,
    RunCancelling,
    RunStopping,
    StageFinished,
    StageReused,
    StageStarted,
)
from agent_pipeline.domain.limit_events import BreakerChanged, LimitChanged, LiveEditRefused, LiveValueChanged
from agent_pipeline.domain.snapshot import RunSnapshot
from agent_pipeline.domain.usage import AttemptRecord

SHOWN_FAILURES = 3
"""Failures a live view shows, the newest ones."""

_TOO_MANY_REQUESTS = 429


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
class StageProgress:
    """Passes of documents through one stage.

    Attributes:
        running: under way now, those whose request waits included.
        done: that ended well.
        cached: whose result was there already.
        failed: that ended otherwise, cancelled ones left out.
        durations: of those done.
        tokens: charged to its requests.
        unknown_cost: whether `micro_usd` leaves out requests of unknown price.
    """

    running: int = 0
    done: int = 0
    cached: int = 0
    failed: int = 0
    durations: Durations = field(default_factory=Durations)
    tokens: int = 0
    micro_usd: int = 0
    unknown_cost: bool = False

    def finish(self, event: StageFinished) -> None:
        """Count the end of a pass."""
        if event.error_code is None:
            self.done += 1
            self.durations.add(event.duration_seconds)
        elif event.error_code != "cancelled":
            self.failed += 1

    def charge(self, attempt: AttemptRecord) -> None:
        """Count what a request cost."""
        self.tokens += attempt.charged_tokens
        self.micro_usd += attempt.cost_micro_usd or 0
        self.unknown_cost |= attempt.cost_micro_usd is None


@dataclass(slots=True)
class Progress:
    """The state of a run as far as events and snapshots tell it; driven by one thread at a time.

    Attributes:
        total: documents there will be, None where nobody knows.
        in_flight: current stage of each document in flight, None before its first and between two.
        stages: by name, in the order of the run.
        workers: that the run may have; 0 where it has none.
        ready_workers: numbers of those that are there.
        failures: of documents whose end is about to be told.
        last_failures: the newest, the newest last.
        stopping: why the run ends early, as the first to say so put it.
        ending: what the run does about it now, and what one more signal would do.
        outages: what is known of each provider and model that fails for all now.
        live: what the last edit of the live file did.
        limit_change: the last change of a limit on requests in flight, and when.
        rate_limited: requests answered with 429.
        retries: requests sent again after a failure, not after a 429.
        state: the newest snapshot, None before the first and where nobody takes any.
    """

    run_dir: str | None = None
    run_id: str = ""
    pipeline: str = ""
    simulator: bool = False
    replayed: bool = False
    total: int | None = None
    begun_at: datetime | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    in_flight: dict[str, str | None] = field(default_factory=dict)
    stages: dict[str, StageProgress] = field(default_factory=dict)
    workers: int = 0
    ready_workers: set[int] = field(default_factory=set)
    tokens: int = 0
    attempts: int = 0
    rate_limited: int = 0
    retries: int = 0
    failures: dict[str, PipelineFailure] = field(default_factory=dict)
    last_failures: deque[PipelineFailure] = field(default_factory=lambda: deque(maxlen=SHOWN_FAILURES))
    stopping: str | None = None
    ending: list[str] = field(default_factory=list)
    outages: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    live: list[str] = field(default_factory=list)
    limit_change: tuple[LimitChanged, datetime] | None = None
    state: RunSnapshot | None = None
    forecast: Forecast = field(default_factory=Forecast)

    def take(self, event: Event, at: datetime) -> None:
        """Count one event."""
        match event:
            case AttemptFinished(attempt):
                self._take_attempt(attempt)
            case StageStarted() | StageFinished() | StageReused():
                self._take_stage(event)
            case DocumentStarted() | PipelineFailure() | DocumentFinished():
                self._take_document(event)
            case RunStopping():
                self.stopping, self.ending = self.stopping or event.detail, ending_words(event)
            case RunCancelling():
                self.ending = ending_words(event)
            case PipelineStarted():
                self.begun_at = at
                self.run_dir, self.run_id, self.pipeline = event.run_dir, event.run_id, event.pipeline
                self.simulator, self.replayed, self.total = event.simulator, event.replayed, event.documents
                self.stages = {name: StageProgress() for name in event.stages}
                self.workers = event.workers
            case WorkerReady() | WorkerLost():
                self._take_worker(event)
            case LimitChanged():
                self.limit_change = event, at
            case BreakerChanged() | LiveEditRefused() | LiveValueChanged():
                self._take_limit(event)
            case _:
                return

    def look(self, at: datetime) -> None:
        """Note how far the run has got by now, for what it will yet take."""
        fraction = self.fraction
        if fraction is not None:
            self.forecast.read(self.seconds(at), fraction)

    def _take_attempt(self, attempt: AttemptRecord) -> None:
        self.attempts += attempt.sent
        self.tokens += attempt.charged_tokens
        self.rate_limited += attempt.status_code == _TOO_MANY_REQUESTS
        self.retries += attempt.sent and attempt.number > 1
        if attempt.stage is not None:
            self._stage(attempt.stage).charge(attempt)

    def _take_stage(self, event: StageStarted | StageFinished | StageReused) -> None:
        stage = self._stage(event.stage)
        match event:
            case StageStarted():
                left = self.in_flight.get(event.document_id)
                if left is not None:  # with a worker that was lost
                    self._stage(left).running -= 1
                self.in_flight[event.document_id] = event.stage
                stage.running += 1
            case StageFinished():
                self.in_flight[event.document_id] = None
                stage.running -= 1
                stage.finish(event)
            case StageReused():
                stage.cached += 1

    def _take_document(self, event: DocumentStarted | PipelineFailure | DocumentFinished) -> None:
        match event:
            case DocumentStarted():
                self.in_flight[event.document_id] = None
            case PipelineFailure():
                self.failures[event.document_id] = event
                self.last_failures.append(event)
            case DocumentFinished():
                self.in_flight.pop(event.document_id, None)
                self.outcomes[event.outcome] += 1

    def _take_worker(self, event: WorkerReady | WorkerLost) -> None:
        match event:
            case WorkerReady():
                self.ready_workers.add(event.worker)
            case WorkerLost():
                self.ready_workers.discard(event.worker)

    def _take_limit(self, event: BreakerChanged | LiveEditRefused | LiveValueChanged) -> None:
        if not isinstance(event, BreakerChanged):
            self.live = limit_words(event)
        elif event.state == "closed":
            self.outages.pop((event.provider, event.model), None)
        elif words := limit_words(event):
            self.outages[event.provider, event.model] = words

    def _stage(self, name: str) -> StageProgress:
        return self.stages.setdefault(name, StageProgress())

    @property
    def done(self) -> int:
        """Documents that have ended, in whatever way, those of earlier sessions included."""
        return self.outcomes.total() + (0 if self.state is None else self.state.kept)

    @property
    def fraction(self) -> float | None:
        """The part of the run's work of this session that is done, 0 to 1; None where nobody knows how much there is.

        A document counts by the stages it has behind it, so that the first is not waited for.
        """
        kept = 0 if self.state is None else self.state.kept
        if self.total is None or self.total <= kept:
            return None
        stages = max(len(self.stages), 1)
        places = {name: number / stages for number, name in enumerate(self.stages)}
        begun = sum(places.get(stage, 0.0) for stage in self.in_flight.values() if stage is not None)
        return min((self.outcomes.total() + begun) / (self.total - kept), 1.0)

    def seconds(self, at: datetime) -> float:
        """Return how long the run goes on."""
        return 0.0 if self.begun_at is None else max((at - self.begun_at).total_seconds(), 0.0)

    def under_way(self) -> str:
        """Return how many documents are in flight, and in how many workers, or what they wait for."""
        if self.workers and not self.ready_workers and self.stopping is None:  # those who stop wait for nobody
            return "waiting for a worker"
        few = 0 < len(self.ready_workers) < self.workers
        workers = f", {len(self.ready_workers)} of up to {self.workers} workers ready" if few else ""
        return f"{len(self.in_flight)} in flight{workers}"

    def unhappy(self) -> Iterable[str]:
        """Return the documents that did not succeed, by outcome."""
        return (f"{self.outcomes[name]} {name}" for name in ("failed", "skipped", "cancelled") if self.outcomes[name])
