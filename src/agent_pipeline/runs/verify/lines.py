"""The lines of a run's files, read back one by one; what can't be read is a finding, not an error."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from agent_pipeline.domain import engine_events, export_events, limit_events  # noqa: F401 - an event is of its base once imported
from agent_pipeline.domain.events import Event, StageMessage
from agent_pipeline.runs.verify.evidence import Evidence
from agent_pipeline.telemetry import parse_line
from agent_pipeline.telemetry.log_line import text_of, word
from agent_pipeline.telemetry.reading import parse_json_object, read_lines

T = TypeVar("T")

_WINDOW = 1024
"""Lines looked ahead for the place where two files go on alike; more than a killed process can be behind."""

_SAME = ("doc", "stage", "cycle", "outcome", "attempt_id", "error_code")
"""Fields that the run log and the typed events show alike."""

OWN_WORDS = {kind.name for kind in Event.__subclasses__()} - {StageMessage.name}
"""Words of the log that are ours; all others are a stage's own, with fields of its own."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file.

    Attributes:
        number: from 1.
        event: its event's name.
        key: what two files say alike of one event.
        values: its JSON object; empty for the run log.
    """

    number: int
    at: datetime
    event: str
    key: tuple[str | None, ...]
    values: Mapping[str, Any] = field(default_factory=dict)


def log_lines(evidence: Evidence) -> Iterator[Line]:
    """Read the run log."""
    for number, parsed in _read(evidence.directory.log, parse_line, evidence):
        shown = _SAME if parsed.event in OWN_WORDS else _SAME[:2]
        key = (_millisecond(parsed.at), parsed.event, *(parsed.fields.get(name) for name in shown))
        yield Line(number, parsed.at, parsed.event, key)


def event_lines(path: Path, evidence: Evidence) -> Iterator[Line]:
    """Read `events.jsonl` or a file like it."""
    for number, (at, values) in _read(path, _event, evidence):
        event = str(values.get("event", ""))
        name = word(str(values.get("message"))) if event == StageMessage.name else event
        shown = _SAME if event in OWN_WORDS else _SAME[:2]
        known = (values.get("document_id" if field == "doc" else field) for field in shown)
        key = (_millisecond(at), name, *(None if value is None else text_of(value) for value in known))
        yield Line(number, at, event, key, values)


def objects(path: Path, evidence: Evidence) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a file of JSON objects, one per line."""
    return _read(path, parse_json_object, evidence)


def _event(text: str) -> tuple[datetime, dict[str, Any]]:
    values: dict[str, Any] = parse_json_object(text)
    at = datetime.fromisoformat(str(values.get("at")))
    if at.tzinfo is None:
        raise ValueError(f"a time without its zone: {at}")
    return at, values


def _millisecond(at: datetime) -> str:
    """Return the time as the run log has it."""
    return at.isoformat(timespec="milliseconds")


def _read(path: Path, parse: Callable[[str], T], evidence: Evidence) -> Iterator[tuple[int, T]]:
    """Yield the lines that can be read, with their numbers."""
    findings = evidence.findings
    for line in read_lines(path, parse):
        where = f"{path.name}:{line.number}"
        if line.value is not None:
            yield line.number, line.value
        elif not line.torn:
            findings.differ("line_unreadable", f"it can't be read: {line.problem}"[:300], where)
        elif evidence.is_attested(evidence.last_session):
            findings.differ("line_torn", "the last line is torn", where)
        else:
            findings.note("line_torn", "the process was killed while it wrote the last line", where)


def aligned(left: Iterator[Line], right: Iterator[Line]) -> Iterator[tuple[Line | None, Line | None]]:
    """Pair the lines of two files that tell of the same events in the same order; None where one has no partner."""
    lefts: deque[Line] = deque()
    rights: deque[Line] = deque()
    while True:
        _fill(lefts, left, 1)
        _fill(rights, right, 1)
        if lefts and rights and lefts[0].key == rights[0].key:
            yield lefts.popleft(), rights.popleft()
            continue
        if not lefts and not rights:
            return
        _fill(lefts, left, _WINDOW)
        _fill(rights, right, _WINDOW)
        alone_left, alone_right = _until_alike(lefts, rights)
        for _ in range(alone_left):
            yield lefts.popleft(), None
        for _ in range(alone_right):
            yield None, rights.popleft()


def _fill(waiting: deque[Line], lines: Iterator[Line], count: int) -> None:
    waiting.extend(islice(lines, max(0, count - len(waiting))))


def _until_alike(lefts: deque[Line], rights: deque[Line]) -> tuple[int, int]:
    """Return how many lines to pass over on each side until two are alike, the fewest together."""
    places: dict[tuple[str | None, ...], int] = {}
    for place, line in enumerate(rights):
        places.setdefault(line.key, place)
    best = len(lefts), len(rights)
    for place, line in enumerate(lefts):
        if place >= sum(best):
            break
        other = places.get(line.key)
        if other is not None and place + other < sum(best):
            best = place, other
    return best
