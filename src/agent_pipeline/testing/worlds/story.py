"""What happened in a world, told so that two tellings of one seed are equal: no wall clock, no random names."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from agent_pipeline.domain.events import (
    AgentEvent,
    AttemptFinished,
    DocumentFinished,
    Event,
    FileRepaired,
    PipelineStarted,
    SdkLogRecord,
    SdkTraceItem,
)

_RUN_ID = re.compile(r"\b[\w.-]+-\d{4}-\d\d-\d\d_\d\dh\d\dm\d\ds-[0-9a-f]{6}\b")
_RANDOM = frozenset({"started_at", "trace_id", "span_id", "call_id", "pid"})
"""Keys whose values differ between two tellings."""

_UNTOLD: Mapping[type[Event], frozenset[str]] = {
    FileRepaired: frozenset({"removed_bytes"}),  # a torn line may hold the path of the world's folder
    SdkTraceItem: frozenset({"line"}),
    SdkLogRecord: frozenset({"created", "message"}),
}
"""The same for single events, and for what the Agents SDK words by itself."""

_WRONG = frozenset({"loop_error", "trace_item_lost"})
"""Lifecycle events by which the bridge tells what no document can be told."""


class Story:
    """A sink that keeps the events of one session as lines, and counts what the invariants ask about.

    Attributes:
        lines: each event as JSON.
        finished: how often each document was said to be finished.
        attempts: ids of attempts that were sent.
        documents: how many entries the source announced.
        oddities: events that no world should have.
        is_over: set when the process died; what comes later was never told.
    """

    name = "story"

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.lines: list[str] = []
        self.finished: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.documents: int | None = None
        self.oddities: list[str] = []
        self.is_over = False

    def handle(self, event: Event, at: datetime) -> None:
        """Take one event."""
        del at
        if self.is_over:
            return
        told = {key: value for key, value in asdict(event).items() if key not in _UNTOLD.get(type(event), ())}
        self.lines.append(json.dumps([event.name, self._told(told)], sort_keys=True, default=str))
        if isinstance(event, DocumentFinished):
            self.finished[event.document_id] += 1
        elif isinstance(event, AttemptFinished) and event.attempt.sent:
            self.attempts[event.attempt.attempt_id] += 1
        elif isinstance(event, PipelineStarted):
            self.documents = event.documents
        elif isinstance(event, AgentEvent) and event.event in _WRONG:
            self.oddities.append(f"{event.event}: {event.detail}")

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing is held."""

    def _told(self, value: object) -> object:
        if isinstance(value, str):
            return _RUN_ID.sub("<run>", value.replace(self._folder, "<folder>"))
        if isinstance(value, Mapping):
            return {str(key): self._told(item) for key, item in value.items() if key not in _RANDOM}
        if isinstance(value, list | tuple):
            return [self._told(item) for item in value]
        return value


def story_sha256(lines: list[str]) -> str:
    """Return what tells one telling from another."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
