"""Each document's row against all that was told of it: its events, its stages' results, its requests."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.ledger.joining import Record
from agent_pipeline.runs.verify.evidence import INTERRUPTED, Evidence
from agent_pipeline.runs.verify.soundness import is_sound

_LEDGER_FAILED = "ledger_failed"
"""The ending of a document whose row could not be written: the event is all there is."""


def hand_on_results(evidence: Evidence) -> None:
    """Bring the stages' results together with their documents."""
    for result in evidence.ledger.stage_results():
        evidence.findings.counts["stage_results"] += 1
        if is_sound(evidence, result, f"document {result.document_id}"):
            evidence.join_document(result.document_id, ["result", result.stage, result.cycle])


def check_histories(evidence: Evidence) -> None:
    """Check every document that a row, an event, a result or a request names."""
    for document_id, records in evidence.joining.groups("documents"):
        by_kind: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            by_kind[record[0]].append(record[1:])
        where = f"document {document_id}"
        rows = by_kind.pop("row", [])
        if not rows:
            found: list[JsonValue] = [*sorted({str(record[0]) for record in records})]
            evidence.findings.differ("document_unknown", "the ledger has no such document", where, found=found)
        elif len(rows) == 1:  # several are ids that look alike once what looks like a key is taken out
            row = _Row(*rows[0])
            _check_events(evidence, row, [one for one in records if one[0] in _EVENTS], where)
            _check_stages(evidence, row, by_kind, where)


_EVENTS = {"started", "rework", "finished"}


@dataclass(frozen=True, slots=True)
class _Row:
    session: int
    outcome: str | None
    reworks: int
    artifact: str | None
    error_code: str | None
    ended_at: str | None
    was_opened: bool

    @property
    def is_cut_off(self) -> bool:
        """Its session was killed over it."""
        return self.outcome is None or self.error_code == INTERRUPTED


def _check_events(evidence: Evidence, row: _Row, events: Sequence[Record], where: str) -> None:
    by_session: dict[int, list[Record]] = defaultdict(list)
    for event in events:
        by_session[event[1]].append(event)
    for session, told in by_session.items():
        _check_session(evidence, row, session, told, where)
    told = by_session[row.session]
    endings = [event for event in told if event[0] == "finished"]
    if not endings:
        _check_untold(evidence, row, where)
    elif row.is_cut_off:
        if endings[-1][5] != _LEDGER_FAILED:
            what = "an event tells of its end, but its row has none"
            evidence.findings.differ("document_event_differs", what, where, expected=row.outcome, found=endings[-1][2])
    else:
        _compare(evidence, row, told, endings[-1], where)


def _check_session(evidence: Evidence, row: _Row, session: int, told: Sequence[Record], where: str) -> None:
    """In each session it begins at most once, ends at most once, and in this order."""
    findings, kinds = evidence.findings, [event[0] for event in told]
    count = Counter(kinds)
    if count["started"] > 1:
        what = f"it started several times in session {session}"
        findings.differ("document_started_twice", what, where, expected=1, found=count["started"])
    if count["finished"] > 1:
        what = f"it finished several times in session {session}"
        findings.differ("document_finished_twice", what, where, expected=1, found=count["finished"])
    if count["started"] and count["finished"] and kinds.index("finished") < kinds.index("started"):
        findings.differ("document_order", f"it finished before it started, in session {session}", where)
    if session > row.session:
        what = "events tell of a later session than its row"
        findings.differ("document_event_differs", what, where, expected=row.session, found=session)
    elif session < row.session and count["started"] > count["finished"] and session in evidence.ended_events:
        what = f"session {session} ended in order, but not this document in it"
        findings.differ("document_event_missing", what, where, expected="DOCUMENT_FINISHED")


def _check_untold(evidence: Evidence, row: _Row, where: str) -> None:
    if row.is_cut_off or row.ended_at is None:
        return
    if evidence.may_be_lost(row.session, datetime.fromisoformat(row.ended_at)):
        what = "its end was recorded, and the process killed before the event was written"
        evidence.findings.note("document_event_missing", what, where)
    else:
        what = "no event tells of its end"
        evidence.findings.differ("document_event_missing", what, where, expected="DOCUMENT_FINISHED")


def _compare(evidence: Evidence, row: _Row, told: Sequence[Record], ending: Record, where: str) -> None:
    """The event says what the row says, and nothing that led there is missing."""
    _, _, *found = ending
    expected = [row.outcome, row.reworks, row.artifact, row.error_code]
    for name, one, other in zip(("outcome", "reworks", "artifact", "error_code"), expected, found, strict=True):
        what = f"{name} is not the same in its row and in its event"
        evidence.findings.compare("document_event_differs", what, where, expected=one, found=other)
    if row.was_opened and not any(event[0] == "started" for event in told):
        what = "no event tells of its beginning"
        evidence.findings.differ("document_event_missing", what, where, expected="DOCUMENT_STARTED")
    reworks = sum(event[0] == "rework" for event in told)
    what = "its row does not count the reworks that events tell of"
    evidence.findings.compare("rework_missing", what, where, expected=row.reworks, found=reworks)


def _check_stages(evidence: Evidence, row: _Row, by_kind: dict[str, list[Record]], where: str) -> None:
    """Stages come in the order of the run, and a cycle after the one before it."""
    findings = evidence.findings
    results, requests = by_kind["result"], by_kind["attempt"]
    known = {stage for stages in evidence.stages.values() for stage in stages}
    cycles: dict[str, set[int]] = defaultdict(set)
    for stage, cycle in results:
        cycles[stage].add(cycle)
    for stage, found in cycles.items():
        if known and stage not in known:
            findings.differ("stage_unknown", "a result is of no stage of this run", where, found=stage)
        if found != set(range(1, len(found) + 1)):
            what = f"cycles of stage {stage} are missing"
            findings.differ("cycle_missing", what, where, expected=[*range(1, len(found) + 1)], found=[*sorted(found)])
    for attempt_id, stage, cycle in requests:
        if stage is not None and known and stage not in known:
            what = f"attempt {attempt_id} is of no stage of this run"
            findings.differ("stage_unknown", what, where, found=stage)
        elif stage is not None and not 1 <= (cycle or 0) <= len(cycles[stage]) + 1:
            what = f"attempt {attempt_id} is of a cycle that stage {stage} never came to"
            findings.differ("cycle_missing", what, where, found=cycle)
    _check_order(evidence, row, results, cycles, where)


def _check_order(
    evidence: Evidence, row: _Row, results: Sequence[Record], cycles: dict[str, set[int]], where: str
) -> None:
    findings, stages = evidence.findings, evidence.stages.get(row.session, ())
    if row.outcome == "succeeded":
        for stage in stages:
            if not cycles[stage]:
                findings.differ("result_missing", f"it succeeded without a result of stage {stage}", where)
    if row.session != 1:
        return  # a pipeline that was changed between sessions may have other stages, and older results
    seen = list(dict.fromkeys(stage for stage, _ in results))
    expected = [stage for stage in stages if stage in seen]
    if stages and seen != expected:
        what = "its stages did not come in the order of the run"
        findings.differ("stage_order", what, where, expected=[*expected], found=[*seen])
    most = max((len(found) for found in cycles.values()), default=1) - 1
    if not row.is_cut_off and most > row.reworks:
        what = "it went through more cycles than its row counts reworks"
        findings.differ("rework_missing", what, where, expected=most, found=row.reworks)
