"""One document's way through a run as a tree in the order of time: passes, agents and tools, calls, attempts."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.runs.happenings import Happening
from agent_pipeline.runs.spans import Span
from agent_pipeline.runs.story import DocumentStory, LeftBy, StagePass

StepOutcome = Literal["succeeded", "failed", "cancelled", "skipped"]
PassKey = tuple[str | None, int | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One node of the tree.

    Attributes:
        kind: `document`, `stage`, `call`, `attempt`; of spans `agent`, `tool`, `handoff`, `guardrail`, ...
        name: of the stage, agent or tool; a call's is its role, an attempt's its number.
        seconds: None while it goes on, or where a kill left its end unknown.
        outcome: None likewise.
        code: of the error it ended with.
        attempt: of an attempt, the whole record.
        cycle: of a pass.
        session: of a pass.
        left_by: of a pass, who left it without a result; what came after it is another pass.
        reused: its result was there from an earlier session, nothing was asked for it.
        approved: the verdict of a pass that gave one.
        attempts: of a call, how many it took, whether they are in `children` or not.
    """

    kind: str
    name: str
    started_at: datetime
    seconds: float | None
    outcome: StepOutcome | None
    code: str | None = None
    error: str | None = None
    attempt: AttemptRecord | None = None
    cycle: int | None = None
    session: int | None = None
    left_by: LeftBy | None = None
    reused: bool = False
    approved: bool | None = None
    attempts: int = 0
    children: tuple["Step", ...] = ()


def trace_of(story: DocumentStory, spans: Sequence[Span] = (), events: Iterable[Happening] = ()) -> Step:
    """Return a document's tree.

    Args:
        story: what the ledger says; everything in it is in the tree.
        spans: of the document's trace; without them there are no agents and tools.
        events: of the document; they tell of passes that left nothing in the ledger.
    """
    document = story.document
    told = _passes_told(events)
    agents = _Agents(spans)
    steps = [
        replace(step, children=agents.around(number, step.children)) for number, step in enumerate(_passes(story, told))
    ]
    steps = agents.put_where_they_belong(steps)
    ended = document.ended_at
    return Step(
        kind="document",
        name=document.document_id,
        started_at=min([document.started_at, *(step.started_at for step in steps)]),
        seconds=None if ended is None else (ended - document.started_at).total_seconds(),
        outcome=document.outcome,
        code=document.error_code,
        error=document.error,
        children=_in_order(steps),
    )


def pruned(step: Step, keep: Callable[[Step], bool]) -> Step | None:
    """Return the tree with the steps that are kept and what leads to them; None where nothing is."""
    children = tuple(kept for child in step.children if (kept := pruned(child, keep)) is not None)
    return replace(step, children=children) if children or keep(step) else None


@dataclass(slots=True)
class _Told:
    """What events say of a pass."""

    started_at: datetime
    seconds: float | None = None
    code: str | None = None
    ended: bool = False
    reused: bool = False


def _passes_told(events: Iterable[Happening]) -> dict[PassKey, _Told]:
    """Return the passes of the last session that worked on the document."""
    told: dict[PassKey, _Told] = {}
    for one in events:
        key = (one.text("stage"), int(one.values.get("cycle") or 0))
        match one.event:
            case "DOCUMENT_STARTED":
                told.clear()
            case "STAGE_STARTED":
                told[key] = _Told(one.at)
            case "STAGE_REUSED":
                told[key] = _Told(one.at, seconds=0.0, ended=True, reused=True)
            case "STAGE_FINISHED":
                seconds = float(one.values.get("duration_seconds") or 0.0)
                begun = told[key].started_at if key in told else one.at - timedelta(seconds=seconds)
                told[key] = _Told(begun, seconds, one.text("error_code") or None, ended=True)
            case _:
                continue
    return told


def _passes(story: DocumentStory, told: dict[PassKey, _Told]) -> Iterator[Step]:
    """Yield the passes without their agents: those of the ledger, and then those that only events tell of."""
    last = story.document.session
    untold = dict(told)
    for one in reversed(story.passes):
        key = one.stage, one.cycle
        said = untold.get(key)
        if said is not None and (one.result is not None if said.reused else one.session == last):
            yield _pass(one, key, untold.pop(key), one.session)
        else:
            yield _pass(one, key, None, one.session)
    for key, said in untold.items():
        yield _pass(None, key, said, last)


def _pass(known: StagePass | None, key: PassKey, told: _Told | None, session: int) -> Step:
    calls = [] if known is None else [_call(call) for call in known.calls]
    result = None if known is None else known.result
    left_by = None if known is None else known.left_by
    outcome: StepOutcome | None = None
    seconds = code = None
    if result is not None:
        began, outcome = result.started_at, "succeeded"
        seconds = (result.ended_at - result.started_at).total_seconds()
    elif told is not None:
        began, seconds, code = told.started_at, told.seconds, told.code
        if told.ended:
            outcome = "succeeded" if code is None else "cancelled" if code == "cancelled" else "failed"
    else:
        began, last = min(call.started_at for call in calls), max(calls, key=lambda call: call.started_at)
        if left_by is None or last.outcome != "succeeded":  # else how it ended is not on record
            outcome, code = last.outcome, last.code
        if last.seconds is not None:
            seconds = (last.started_at - began).total_seconds() + last.seconds
    return Step(
        kind="stage",
        name=key[0] or "",
        started_at=began,
        seconds=seconds,
        outcome=outcome,
        code=code,
        cycle=key[1],
        session=session,
        left_by=left_by,
        reused=told is not None and told.reused,
        approved=None if result is None else _verdict(result.output_json),
        children=tuple(calls),
    )


def _verdict(output_json: str) -> bool | None:
    try:
        verdict = json.loads(output_json).get("verdict")
    except (ValueError, RecursionError, AttributeError):
        return None  # a row that somebody changed
    return verdict.get("approved") is True if isinstance(verdict, dict) else None


def _call(attempts: Sequence[AttemptRecord]) -> Step:
    first, last = attempts[0], attempts[-1]
    began = _asked_at(first)
    seconds = None
    if last.outcome is not None:
        seconds = (last.started_at - began).total_seconds() + last.latency_seconds
    children = tuple(
        Step(
            kind="attempt",
            name=str(attempt.number),
            started_at=attempt.started_at,
            seconds=None if attempt.outcome is None else attempt.latency_seconds,
            outcome=attempt.outcome,
            code=attempt.error_code,
            error=attempt.error,
            attempt=attempt,
        )
        for attempt in attempts
    )
    return Step(
        kind="call",
        name=last.role,
        started_at=began,
        seconds=seconds,
        outcome=last.outcome,
        code=last.error_code,
        error=last.error,
        attempts=len(attempts),
        children=children,
    )


def _asked_at(attempt: AttemptRecord) -> datetime:
    return attempt.started_at - timedelta(seconds=attempt.wait_seconds)


class _Agents:
    """The spans of one document, as steps: those that only group others are left out."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = {span.span_id: span for span in spans}
        self._below: dict[str, list[Step]] = {}
        self._roots: dict[str, int | None] = {}
        self._children: dict[str, list[str]] = {}
        for span in spans:
            if span.kind is not None:
                parent = self._shown(span.parent_id)
                if parent is None:
                    self._roots[span.span_id] = None
                else:
                    self._children.setdefault(parent, []).append(span.span_id)

    def around(self, number: int, calls: Iterable[Step]) -> tuple[Step, ...]:
        """Give each call of a pass, by its number, to the agent that made it; return those that no agent made."""
        plain = []
        for call in calls:
            asked = call.children[0].attempt
            owner = None if asked is None else self._shown(asked.span_id)
            if owner is None:
                plain.append(call)
                continue
            self._below.setdefault(owner, []).append(call)
            self._roots.setdefault(self._root(owner), None)
            self._roots[self._root(owner)] = number
        return tuple(plain)

    def put_where_they_belong(self, passes: list[Step]) -> list[Step]:
        """Return the passes with their agents in them; an agent that asked nothing is in the pass it began in."""
        inside: dict[int | None, list[Step]] = {}
        for root, number in self._roots.items():
            span = self._spans[root]
            belongs = number if number is not None else _pass_at(passes, span.started_at)
            inside.setdefault(belongs, []).append(self._step(root))
        return [
            replace(one, children=_in_order([*one.children, *inside.get(number, ())]))
            for number, one in enumerate(passes)
        ]

    def _step(self, span_id: str) -> Step:
        span = self._spans[span_id]
        # Taken, not read: in a damaged file spans may go round in a circle.
        children = [*self._below.pop(span_id, ()), *map(self._step, self._children.pop(span_id, ()))]
        seconds = (span.ended_at - span.started_at).total_seconds()
        outcome: StepOutcome = "succeeded" if span.error is None else "failed"
        return Step(
            kind=span.kind or "",
            name=span.name,
            started_at=span.started_at,
            seconds=seconds,
            outcome=outcome,
            error=span.error,
            children=_in_order(children),
        )

    def _shown(self, span_id: str | None) -> str | None:
        """Return the span itself or the nearest above it that is shown; bounded, whatever a damaged file says."""
        for _ in range(len(self._spans)):
            span = self._spans.get(span_id or "")
            if span is None:
                return None
            if span.kind is not None:
                return span.span_id
            span_id = span.parent_id
        return None

    def _root(self, span_id: str) -> str:
        for _ in range(len(self._spans)):
            above = self._shown(self._spans[span_id].parent_id)
            if above is None:
                return span_id
            span_id = above
        return span_id


def _pass_at(passes: Sequence[Step], moment: datetime) -> int | None:
    """Return the number of the last pass that had begun by then."""
    begun = [number for number, one in enumerate(passes) if one.started_at <= moment]
    return max(begun, key=lambda number: passes[number].started_at, default=None)


def _in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(sorted(steps, key=lambda one: one.started_at))
