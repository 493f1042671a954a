"""A document's story as a paragraph: what was done to it, what that took, what it waited for and what it cost."""

from collections import Counter
from collections.abc import Iterator

from agent_pipeline.amounts import counted, dollars, listed, seconds_text
from agent_pipeline.cli.commands.hidden import shown
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.runs.state import RunStatus
from agent_pipeline.runs.story import DocumentStory
from agent_pipeline.runs.trace import Step
from agent_pipeline.runs.waits import CAUSES, waits_of

_SHOWN_WAIT = 0.05
"""Seconds; less is no part of any story."""


def story_in_words(story: DocumentStory, tree: Step, status: RunStatus) -> str:
    """Return the paragraph; every figure in it is of the ledger."""
    return " ".join(_sentences(story, tree, status))


def _sentences(story: DocumentStory, tree: Step, status: RunStatus) -> Iterator[str]:
    document, attempts = story.document, story.attempts
    source = f" ({shown(document.source)})" if document.source else ""
    place = f"number {document.position:,} of the source"
    yield f"Document {shown(document.document_id)}{source}, {place}, {_ending(story)}."
    if document.outcome == "skipped":
        yield "No stage saw it, no request was sent and nothing was spent."
        return
    if document.session > 1:
        yield f"Session {document.session} of the run was the last to work on it; earlier ones are counted too."
    passes = [step for step in tree.children if step.kind == "stage"]
    stages = dict.fromkeys(step.name for step in passes if step.name)
    if stages:
        several = f" in {len(passes)} passes" if len(passes) > len(stages) else ""
        through = f"It went through {listed([shown(one) for one in stages])}{several}"
        yield f"{through}{_sent_back(document.reworks)}."
    else:
        yield "It came to no stage."
    if not attempts:
        yield "No request was sent for it, and nothing was spent."
        return
    yield _requests(attempts)
    if waits := _waits(attempts):
        yield waits
    yield _cost(attempts, simulated=status.simulated)


def _ending(story: DocumentStory) -> str:
    document = story.document
    took = "" if document.ended_at is None else (document.ended_at - document.started_at).total_seconds()
    after = f" after {seconds_text(took)}" if isinstance(took, float) and took else ""
    match document.outcome:
        case None:
            return "has not ended"
        case "succeeded":
            return f"ended well{after}"
        case "skipped":
            return "was skipped"
        case outcome:
            at = "" if document.failed_stage is None else f" at {shown(document.failed_stage)}"
            return f"{'failed' if outcome == 'failed' else 'was cancelled'}{at}{after}"


def _sent_back(reworks: int) -> str:
    return f", and was sent back {'once' if reworks == 1 else counted(reworks, 'time')}" if reworks else ""


def _requests(attempts: tuple[AttemptRecord, ...]) -> str:
    calls = len({one.call_id or one.attempt_id for one in attempts})
    sent = f"{counted(calls, 'request')} went out"
    if len(attempts) == calls and all(one.outcome == "succeeded" for one in attempts):
        return f"{sent}, and each was answered at once."
    wrong = Counter(one.error_code or one.outcome or "no answer yet" for one in attempts if one.outcome != "succeeded")
    if not wrong:
        return f"{sent}, in {counted(len(attempts), 'HTTP attempt')}."
    named = listed([f"{count:,} x {shown(code)}" for code, count in wrong.most_common()])
    return f"{sent}, in {counted(len(attempts), 'HTTP attempt')}, of which {wrong.total():,} went wrong ({named})."


def _waits(attempts: tuple[AttemptRecord, ...]) -> str:
    waits = [one for one in waits_of(attempts) if one.seconds >= _SHOWN_WAIT]
    if not waits:
        return ""
    parts = [f"{seconds_text(one.seconds)} {CAUSES[one.reason].words} ({CAUSES[one.reason].owner})" for one in waits]
    total = "" if len(parts) == 1 else f"{seconds_text(sum(one.seconds for one in waits))} in all: "
    return f"Before they were sent they waited {total}{listed(parts)}."


def _cost(attempts: tuple[AttemptRecord, ...], *, simulated: bool) -> str:
    tokens = sum(one.charged_tokens for one in attempts)
    if not tokens:
        return "Nothing was charged."
    unknown = sum(one.charged_tokens for one in attempts if one.usage is None)
    known = all(one.cost_micro_usd is not None for one in attempts)
    cost = dollars(sum(one.cost_micro_usd or 0 for one in attempts), known=known)
    unconfirmed = f", {unknown:,} of them as the worst case of requests without a report" if unknown else ""
    money = f"at a cost of {cost}"
    if simulated:
        money = (
            "and nothing was paid, since the simulator answered"
            if not known
            else f"which would have cost {cost}: the simulator answered, nothing was paid"
        )
    return f"It was charged {counted(tokens, 'token')}{unconfirmed}, {money}."
