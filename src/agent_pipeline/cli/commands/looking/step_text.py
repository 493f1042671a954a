"""One step of a trace in a line: when it began, how long it took, how it ended, what it cost and waited for."""

from datetime import datetime

from agent_pipeline.amounts import counted, seconds_text
from agent_pipeline.cli.commands.hidden import shown
from agent_pipeline.cli.layout import Branch
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.runs.story import LeftBy
from agent_pipeline.runs.trace import Step
from agent_pipeline.runs.waits import CAUSES

_LONGEST_ERROR = 300
_SHOWN_WAIT = 0.0005
_VERDICTS = {None: "", True: ", approved", False: ", not approved"}


def branch_of(step: Step, since: datetime) -> Branch:
    """Return a step and all below it as a tree of text; a call of one attempt is one line."""
    if step.kind == "call" and step.attempts == 1:
        (only,) = step.children
        return Branch(f"{_offset(only, since)}  {_call(step)}: {_attempt(only)}")
    return Branch(f"{_offset(step, since)}  {_text(step)}", [branch_of(child, since) for child in step.children])


def step_object(step: Step) -> dict[str, object]:
    """Return a step and all below it for programs."""
    found: dict[str, object] = {
        "kind": step.kind,
        "name": step.name,
        "started_at": step.started_at.isoformat(),
        "seconds": step.seconds,
        "outcome": step.outcome,
        "error_code": step.code,
        "error": step.error,
    }
    if step.kind == "stage":
        found |= {"cycle": step.cycle, "session": step.session, "left_by": step.left_by}
        found |= {"reused": step.reused, "approved": step.approved}
    if step.attempt is not None:
        found |= attempt_object(step.attempt)
    return found | {"children": [step_object(child) for child in step.children]}


def attempt_object(attempt: AttemptRecord) -> dict[str, object]:
    """Return an attempt for programs, with the names that the ledger's columns have."""
    usage = attempt.usage
    names = ("attempt_id", "call_id", "document_id", "stage", "cycle", "role", "provider", "model", "number", "outcome")
    more = ("status_code", "error_code", "error", "wait_seconds", "wait_reason", "latency_seconds", "reserved_tokens")
    last = ("charged_tokens", "cost_micro_usd", "provider_request_id", "method", "path", "span_id")
    return {
        **{name: getattr(attempt, name) for name in (*names, *more, *last)},
        "input_tokens": None if usage is None else usage.input_tokens,
        "output_tokens": None if usage is None else usage.output_tokens,
        "started_at": attempt.started_at.isoformat(),
    }


def answer_in_words(attempt: AttemptRecord) -> str:
    """Return what an attempt came to: its status, or what happened in its place."""
    status = "" if attempt.status_code is None else f"{attempt.status_code} "
    if attempt.outcome is None:
        return "no answer yet"
    if attempt.outcome == "succeeded":
        return f"{status}ok".strip()
    return f"{status}{shown(attempt.error_code or attempt.outcome)}"


def wait_in_words(attempt: AttemptRecord) -> str:
    """Return how long an attempt waited before it was sent, for what and because of whom; empty where it did not."""
    if attempt.wait_reason is None or attempt.wait_seconds < _SHOWN_WAIT:
        return ""
    cause = CAUSES[attempt.wait_reason]
    return f"after {seconds_text(attempt.wait_seconds)} {cause.words} ({cause.owner})"


def left_in_words(left_by: LeftBy | None, session: int | None) -> str:
    """Return of a pass without a result who left it so."""
    match left_by:
        case None:
            return "no result"
        case "session":
            return f"no result in session {session}"
        case "worker":
            return "no result by a worker that was lost"


def _text(step: Step) -> str:
    match step.kind:
        case "attempt":
            return f"attempt {step.name}: {_attempt(step)}"
        case "call":
            return f"{_call(step)}: {_ending(step)} in {counted(step.attempts, 'attempt')}"
        case "stage" if step.name:
            again = "" if step.cycle in {None, 1} else f", cycle {step.cycle}"
            from_before = ", from an earlier session" if step.reused else ""
            return f"stage {shown(step.name)}{again}: {_ending(step)}{from_before}{_VERDICTS[step.approved]}"
        case "stage":
            return f"outside of any stage: {_ending(step)}"
        case _:
            return f"{step.kind} {shown(step.name)}: {_ending(step)}"


def _call(step: Step) -> str:
    attempt = step.children[-1].attempt
    model = "" if attempt is None else f" of {shown(attempt.provider)}/{shown(attempt.model)}"
    return f"call as {shown(step.name)}{model}"


def _ending(step: Step) -> str:
    if step.left_by is not None:
        return left_in_words(step.left_by, step.session)
    if step.outcome is None:
        return "not ended"
    code = "" if step.code is None else f" as {shown(step.code)}"
    error = f": {shown(step.error, _LONGEST_ERROR)}" if step.error and step.kind not in {"call", "document"} else ""
    return f"{step.outcome}{code} in {seconds_text(step.seconds)}{error}"


def _attempt(step: Step) -> str:
    attempt = step.attempt
    if attempt is None:
        return _ending(step)
    parts = [f"{answer_in_words(attempt)} in {seconds_text(step.seconds)}"]
    if wait := wait_in_words(attempt):
        parts.append(wait)
    if attempt.usage is not None:
        parts.append(f"{attempt.usage.input_tokens:,} + {attempt.usage.output_tokens:,} tokens")
    elif attempt.charged_tokens:
        parts.append(f"{attempt.charged_tokens:,} tokens charged as the worst case")
    if attempt.provider_request_id and attempt.outcome != "succeeded":
        parts.append(f"request id {shown(attempt.provider_request_id)}")
    text = ", ".join(parts)
    return f"{text}: {shown(attempt.error, _LONGEST_ERROR)}" if attempt.error else text


def _offset(step: Step, since: datetime) -> str:
    return f"+{max((step.started_at - since).total_seconds(), 0.0):.2f} s"
