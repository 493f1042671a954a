"""The run log, the typed events and the reviews: the same events in the same order, all of them readable."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from agent_pipeline.runs.verify.attempts import told_of
from agent_pipeline.runs.verify.evidence import Evidence
from agent_pipeline.runs.verify.lines import Line, aligned, event_lines, log_lines

_CLOCK_JUMP = timedelta(seconds=1)
"""Events of several threads may pass each other by less."""

_BEFORE_RESUMING = "FILE_REPAIRED"
_RESUMED = "PIPELINE_RESUMED"


Alone = Literal["event_missing", "log_line_missing"]


def check_logs(evidence: Evidence) -> None:
    """Compare the run log with the typed events, and hand on what the events say of documents and attempts."""
    findings, teller = evidence.findings, _Teller(evidence)
    alone: list[tuple[Alone, Line]] = []
    for log, event in aligned(log_lines(evidence), event_lines(evidence.directory.events, evidence)):
        findings.counts["log_lines"] += log is not None
        findings.counts["events"] += event is not None
        if event is None:
            if log is not None:
                alone.append(("event_missing", log))
            continue
        opens = event.event in {_BEFORE_RESUMING, _RESUMED}
        if log is None:
            alone.append(("log_line_missing", event))
        elif alone:
            _tell_alone(evidence, alone, session=teller.session, is_end=opens)
        teller.take(event)
    _tell_alone(evidence, alone, session=teller.session, is_end=True)


def _tell_alone(evidence: Evidence, alone: list[tuple[Alone, Line]], *, session: int, is_end: bool) -> None:
    """Tell of lines that only one of the files has; at the end of a killed session one may lack the last."""
    log, events = evidence.directory.log.name, evidence.directory.events.name
    for code, line in alone:
        has, lacks = (log, events) if code == "event_missing" else (events, log)
        where = f"{has}:{line.number}"
        if is_end and not evidence.is_attested(session):
            what = f"the last events of a killed session are in {has} only"
            evidence.findings.note("last_events_missing", what, where)
        else:
            what = f"{line.event} is missing in {lacks} at this place"
            evidence.findings.differ(code, what, where, expected=line.event)
    alone.clear()


class _Teller:
    """Goes through the typed events; knows in which session they are.

    Attributes:
        session: of the last event taken.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.session = 1
        self._evidence = evidence
        self._at: datetime | None = None

    def take(self, event: Line) -> None:
        """Keep what later checks need of an event."""
        evidence, values = self._evidence, event.values
        self.session = session_after(event, self.session)
        self._look_at_clock(event)
        if event.event != _BEFORE_RESUMING:
            evidence.last_event_at[self.session] = event.at
        match event.event:
            case "PIPELINE_STARTED":
                stages = values.get("stages")
                evidence.stages[self.session] = [*map(str, stages)] if isinstance(stages, list) else []
            case "WORKER_LOST":
                evidence.note_loss(self.session, event.at, _unheard(values))
            case "PIPELINE_FINISHED":
                evidence.ended_events[self.session] = values
            case "DOCUMENT_STARTED":
                self._add(values, "started")
            case "REWORK":
                self._add(values, "rework")
            case "DOCUMENT_FINISHED":
                self._add(values, "finished", "outcome", "reworks", "artifact", "error_code")
            case "ATTEMPT":
                was_sent = values.get("sent") is not False
                record = ["event", self.session, event.at.isoformat(), told_of(values), was_sent]
                evidence.joining.add("attempts", str(values.get("attempt_id")), record)
            case "REVIEW":
                where = f"events.jsonl:{event.number}"
                record = ["event", where, values, self.session, event.at.isoformat()]
                evidence.joining.add("reviews", _review_key(event), record)

    def _look_at_clock(self, event: Line) -> None:
        if self._at is not None and event.at < self._at - _CLOCK_JUMP:
            back, where = (self._at - event.at).total_seconds(), f"events.jsonl:{event.number}"
            self._evidence.findings.note("clock_jump", f"the clock went back by {back:.1f} s", where)
        self._at = event.at

    def _add(self, values: Mapping[str, Any], kind: str, *names: str) -> None:
        key = str(values.get("document_id"))
        self._evidence.joining.add("documents", key, [kind, self.session, *map(values.get, names)])


def _unheard(values: Mapping[str, Any]) -> timedelta:
    seconds = values.get("unheard_seconds")
    return timedelta(seconds=seconds if isinstance(seconds, int | float) else 0)


def session_after(event: Line, session: int) -> int:
    """Return the session an event belongs to; `session` is that of the event before it."""
    if event.event in {_RESUMED, "PIPELINE_STARTED"}:
        number = event.values.get("session")
        return number if isinstance(number, int) else session
    return session


def check_reviews(evidence: Evidence) -> None:
    """Compare the reviews with the events of this kind."""
    path, findings = evidence.directory.reviews, evidence.findings
    for line in event_lines(path, evidence):
        findings.counts["reviews"] += 1
        evidence.joining.add("reviews", _review_key(line), ["line", f"{path.name}:{line.number}", line.values])
    for _, records in evidence.joining.groups("reviews"):
        told = [record[1:] for record in records if record[0] == "event"]
        written = [record[1:] for record in records if record[0] == "line"]
        for (_, event, *_), (where, review) in zip(told, written, strict=False):
            _compare_reviews(evidence, event, review, where=where)
        for where, review in written[len(told) :]:
            document = review.get("document_id")
            findings.differ("review_event_missing", "a review is in no event", where, found=document)
        for where, event, session, at in told[len(written) :]:
            if evidence.may_be_lost(session, datetime.fromisoformat(at)):
                findings.note("last_reviews_missing", "the last reviews of a killed session are events only", where)
            else:
                document = event.get("document_id")
                findings.differ("review_missing", "a review is not in reviews.jsonl", where, expected=document)


def _review_key(line: Line) -> str:
    return "\n".join(str(line.values.get(name)) for name in ("at", "document_id", "stage", "cycle"))


def _compare_reviews(evidence: Evidence, event: Mapping[str, Any], review: Mapping[str, Any], *, where: str) -> None:
    for name in sorted((event.keys() | review.keys()) - {"event"}):
        what = f"{name} of a review is not what the event says"
        found = review.get(name)
        evidence.findings.compare("review_differs", what, where, expected=event.get(name), found=found)
