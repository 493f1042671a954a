"""What the newest earlier run of a pipeline needed, and what other documents would need by that."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.ledger import LedgerReader, open_reader
from agent_pipeline.planning.sizes import Sizes
from agent_pipeline.runs.directory import RunDirectory, find_run

MOST_DOCUMENTS = 20_000
"""Documents of an earlier run that are looked at; so many say enough about any others."""

_MOST_RUNS = 20

_ITS_OWN_FAULT = frozenset(
    {"agent_failed", "incomplete_answer", "output_invalid", "poisoned", "rejected", "request_rejected", "stage_failed"}
)
"""Failures that a document will meet again, and that cost as much again; others say nothing of what one needs."""


@dataclass(slots=True)
class Needed:
    """What one document, or all of them, needed of one stage."""

    calls: int = 0
    attempts: int = 0
    tokens: int = 0
    micro_usd: int = 0
    unpriced: bool = False

    def add(self, attempt: AttemptRecord, *, is_first: bool) -> None:
        """Add an attempt."""
        self.calls += is_first
        self.attempts += 1
        self.tokens += attempt.charged_tokens
        self.micro_usd += attempt.cost_micro_usd or 0
        self.unpriced |= attempt.cost_micro_usd is None


@dataclass(slots=True)
class Line:
    """A straight line through points, as far as they are of several sizes; else their mean (least squares)."""

    count: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    def add(self, x: float, y: float) -> None:
        """Add a point."""
        self.count += 1
        self.x, self.y = self.x + x, self.y + y
        self.xx, self.xy = self.xx + x * x, self.xy + x * y

    def total(self, sizes: Sizes) -> int | None:
        """Return what documents of these sizes come to together; None without a point."""
        if not self.count:
            return None
        spread = self.count * self.xx - self.x * self.x
        slope = 0.0 if spread <= 0 else max(0.0, (self.count * self.xy - self.x * self.y) / spread)
        base = (self.y - slope * self.x) / self.count
        if base < 0:  # through zero then: no document needs less than nothing
            base, slope = 0.0, self.y / self.x
        return round(base * sizes.count + slope * sizes.text_bytes)


@dataclass(slots=True)
class StageHistory:
    """What a stage needed, as lines over the size of documents.

    Attributes:
        most_calls: of one pass.
        reserved_tokens: that a budget held for its attempts, one after the other.
        attempts_made: how many those were.
        models: that were asked.
    """

    calls: Line = field(default_factory=Line)
    attempts: Line = field(default_factory=Line)
    tokens: Line = field(default_factory=Line)
    micro_usd: Line = field(default_factory=Line)
    unpriced: bool = False
    most_calls: int = 0
    reserved_tokens: int = 0
    attempts_made: int = 0
    models: set[tuple[str, str, str]] = field(default_factory=set)


@dataclass(slots=True)
class History:
    """An earlier run.

    Attributes:
        run_id: its name.
        simulated: whether no model was asked in it; its figures are the simulator's then.
        documents: that it came to the end of, by id, with the hash of what they were.
        stages: those it ran.
        latency: mean seconds of an answer, None without one.
    """

    run_id: str
    simulated: bool
    documents: dict[str, str]
    stages: dict[str, StageHistory]
    latency: float | None
    _needed: dict[str, dict[str, Needed]]
    _matched: int = 0

    def learn(self, document_id: str, text_bytes: int) -> None:
        """Take the size of a document that was in the run, unchanged."""
        needed = self._needed.pop(document_id, None)
        if needed is None:
            return
        self._matched += 1
        for name, stage in self.stages.items():
            one = needed.get(name, _NOTHING)
            stage.calls.add(text_bytes, one.calls)
            stage.attempts.add(text_bytes, one.attempts)
            stage.tokens.add(text_bytes, one.tokens)
            stage.micro_usd.add(text_bytes, one.micro_usd)

    def settle(self) -> None:
        """Where no document of now was in the run, take all of its documents to be as large as those of now."""
        if self._matched:
            return
        for document_id in list(self._needed):
            self.learn(document_id, 0)


_NOTHING = Needed()


def newest_history(logs: Path, name: str) -> History | None:
    """Return the newest run of this pipeline that finished a document; None where there is none that can be read."""
    form = re.compile(re.escape(name) + r"-\d{4}-\d\d-\d\d_\d\dh\d\dm\d\ds-[0-9a-f]{6}")
    try:
        found = sorted((one.name for one in logs.iterdir() if form.fullmatch(one.name)), reverse=True)
    except OSError:
        return None
    for run in islice(found, _MOST_RUNS):
        try:
            history = history_of(find_run(str(logs / run), logs))
        except AgentPipelineError:
            continue  # being written, damaged or of another version: an older one tells as well
        if history is not None:
            return history
    return None


def history_of(run: RunDirectory) -> History | None:
    """Return what a run needed; None where it finished no document.

    Raises:
        LedgerError: it can't be read.
    """
    with open_reader(run.ledger) as ledger:
        documents = dict(islice(_finished(ledger), MOST_DOCUMENTS))
        if not documents:
            return None
        stages: dict[str, StageHistory] = {}
        needed: dict[str, dict[str, Needed]] = {document_id: {} for document_id in documents}
        latency = _read_attempts(ledger, stages, needed)
        options: Mapping[str, object] = json.loads(ledger.run.options_json)
    return History(run.run_id, bool(options.get("offline")), documents, stages, latency, needed)


def _finished(ledger: LedgerReader) -> Iterator[tuple[str, str]]:
    for row in ledger.documents():
        has_ended = row.outcome == "succeeded" or (row.outcome == "failed" and row.error_code in _ITS_OWN_FAULT)
        if has_ended and row.content_sha256 is not None:
            yield row.document_id, row.content_sha256


def _read_attempts(
    ledger: LedgerReader, stages: dict[str, StageHistory], needed: dict[str, dict[str, Needed]]
) -> float | None:
    """Add up attempts of finished documents; return the mean seconds of an answer."""
    answers, seconds, calls = 0, 0.0, set[str]()
    in_pass: dict[tuple[str, str, int | None], int] = {}
    for row in ledger.attempts():
        attempt = row.attempt
        if attempt.document_id not in needed or attempt.stage is None:
            continue
        stage = stages.setdefault(attempt.stage, StageHistory())
        is_first = attempt.call_id not in calls
        calls.add(attempt.call_id)
        needed[attempt.document_id].setdefault(attempt.stage, Needed()).add(attempt, is_first=is_first)
        stage.reserved_tokens += attempt.reserved_tokens
        stage.attempts_made += 1
        stage.unpriced |= attempt.cost_micro_usd is None
        stage.models.add((attempt.role, attempt.provider, attempt.model))
        key = (attempt.document_id, attempt.stage, attempt.cycle)
        in_pass[key] = in_pass.get(key, 0) + is_first
        stage.most_calls = max(stage.most_calls, in_pass[key])
        if attempt.outcome == "succeeded":
            answers, seconds = answers + 1, seconds + attempt.latency_seconds
    return seconds / answers if answers else None
