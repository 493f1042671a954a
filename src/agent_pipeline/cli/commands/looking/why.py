"""`why RUN DOC`: one document's story: a paragraph, a tree, the chain of causes, and what to do."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from agent_pipeline.cli.commands.hidden import print_hidden, shown
from agent_pipeline.cli.commands.looking.limit_changes import limit_changes
from agent_pipeline.cli.commands.looking.looked_at import OpenRun, find_document, looking_at
from agent_pipeline.cli.commands.looking.show import resume_advice
from agent_pipeline.cli.commands.looking.show_document import artifact_in_words, document_object, ending_in_words
from agent_pipeline.cli.commands.looking.step_text import branch_of, step_object
from agent_pipeline.cli.commands.looking.why_story import story_in_words
from agent_pipeline.cli.layout import labelled, paragraph, print_lines, terminal_width, tree
from agent_pipeline.cli.summary import reason_in_words
from agent_pipeline.cli.typeable import typeable
from agent_pipeline.documents import rejected_text_of
from agent_pipeline.ledger import DocumentRow
from agent_pipeline.paths import near
from agent_pipeline.runs.advice import Advice, advice_on
from agent_pipeline.runs.causes import Link, causes_of
from agent_pipeline.runs.happenings import Happening, happenings_of
from agent_pipeline.runs.spans import spans_of
from agent_pipeline.runs.state import RunStatus, status_of
from agent_pipeline.runs.story import DocumentStory, story_of
from agent_pipeline.runs.trace import Step, trace_of
from agent_pipeline.runs.waits import CAUSES, waits_of

_LONGEST_CAUSE = 600
_WELL = {
    "succeeded": "every stage ended well, and the artifact was written",
    "skipped": "the source's entry has nothing to work on",
}


@dataclass(frozen=True, slots=True)
class _Case:
    """All that is known of a document and the run it belongs to."""

    opened: OpenRun
    status: RunStatus
    story: DocumentStory
    events: list[Happening]
    tree: Step

    @property
    def document(self) -> DocumentRow:
        """The document's row."""
        return self.story.document


def tell_why(run: str, document: str, *, as_json: bool) -> int:
    """Print why a document ended as it did, or what it is waiting for; return 0.

    Raises:
        RunDirectoryError: there is no such run, or it can't be read.
        InputError: it has no such document.
    """
    with looking_at(run) as opened:
        case = _case(opened, find_document(opened.ledger, document))
        if as_json:
            print_hidden(_as_object(case))
        else:
            print_lines(_lines(case))
    return 0


def _case(opened: OpenRun, row: DocumentRow) -> _Case:
    events = list(happenings_of(opened.directory.events, row.document_id))
    begun = [place for place, one in enumerate(events) if one.event == "DOCUMENT_STARTED"]
    spans = spans_of(opened.directory.sdk_traces, {row.trace_id}).get(row.trace_id, []) if row.trace_id else []
    story = story_of(opened.ledger, row)
    # What earlier sessions said of it is over; what they paid for is in the story.
    events = events[begun[-1] :] if begun else events
    return _Case(opened, status_of(opened.directory, opened.ledger), story, events, trace_of(story, spans, events))


def _lines(case: _Case) -> Iterator[str]:
    width, document = terminal_width(), case.document
    ending = ending_in_words(case.opened, document)
    yield f"document {shown(document.document_id)} of {case.opened.directory.run_id}: {ending}"
    yield ""
    yield from paragraph(story_in_words(case.story, case.tree, case.status), width)
    yield ""
    yield from tree([branch_of(case.tree, case.tree.started_at)], width)
    yield ""
    yield from _labelled("why:", [_meaning(case)], width)
    for link in causes_of(case.story, case.events):
        yield from _labelled(f"{link.kind}:", [_link(link)], width)
    kept = rejected_text_of(document.document_id, case.opened.directory.rejected)
    yield from labelled("last text:", [] if kept is None else [shown(near(str(kept)))])
    yield from labelled("artifact:", artifact_in_words(document))
    advice = _advice(case)
    yield from _labelled("to do:", [advice.todo], width)
    yield from labelled("next:", map(typeable, case.opened.commands(advice, document.document_id)))


def _labelled(label: str, texts: list[str], width: int | None) -> Iterator[str]:
    indent = " " * 11
    for text in texts:
        first, *others = paragraph(text, width, indent)
        yield f"{label:<11}{first[11:]}"
        yield from others


def _link(link: Link) -> str:
    parts = [link.place, link.code or "", link.text]
    return ": ".join(shown(part, _LONGEST_CAUSE) for part in parts if part)


def _meaning(case: _Case) -> str:
    """Return in a sentence why it is as it is."""
    document, status = case.document, case.status
    if document.outcome is None:
        if status.state == "running":
            return f"nothing is wrong as far as is known: it is {_under_way(case.tree)}"
        return f"the process that worked on it was killed while it was {_under_way(case.tree)}"
    if document.outcome in _WELL:
        return _WELL[document.outcome]
    if document.error_code is not None:
        return advice_on(document.error_code).meaning
    if status.run.reason is None:
        return "the ledger does not say"
    stopping = shown(limit_changes(case.opened.directory.events).stopping, 300)
    words = stopping or reason_in_words(status.run.reason)
    return f"nothing was wrong with it: the run ended early, and what was in flight was cancelled ({words})"


def _under_way(step: Step) -> str:
    """Return what goes on in it, by the innermost step that has not ended."""
    open_steps = [child for child in step.children if child.outcome is None and child.left_by is None]
    if open_steps:
        return _under_way(open_steps[-1])
    match step.kind:
        case "attempt" if step.attempt is not None:
            return f"waiting for the answer to a request of role {shown(step.attempt.role)}"
        case "stage" if step.name:
            return f"in stage {shown(step.name)}, {_between(step)}"
        case _:
            return "between two stages"


def _between(step: Step) -> str:
    last = step.children[-1] if step.children else None
    if last is not None and last.kind == "call" and last.outcome == "failed":
        return f"about to repeat a request of role {shown(last.name)} that ended as {shown(last.code or 'failed')}"
    return "between two requests or in code of its own"


def _advice(case: _Case) -> Advice:
    document, status = case.document, case.status
    if document.outcome == "succeeded":
        path = "" if document.artifact is None else near(document.artifact.path)
        look = [_literal(f"less {shlex.quote(path)}")] if path else []
        return Advice("", "nothing; here is what it became", (*look, "agent-pipeline show {run} {doc}"))
    if document.outcome == "skipped":
        return Advice("", "give the entry a url and a text, then go on with the run", ("agent-pipeline resume {run}",))
    if document.outcome is None and status.state == "running":
        todo = "wait, and look again; SIGUSR1 lets the process write down what every task waits for"
        return Advice("", todo, ("agent-pipeline why {run} {doc}", "agent-pipeline show {run}", *_signal(case)))
    if document.outcome == "failed":
        advice = advice_on(document.error_code or "")
        kept = rejected_text_of(document.document_id, case.opened.directory.rejected)
        look = [] if kept is None else [_literal(f"less {shlex.quote(near(str(kept)))}")]
        return replace(advice, commands=(*look, *advice.commands))
    by_budget = status.run.reason is not None and status.run.reason.startswith("budget:")
    if document.error_code in {None, "budget_exceeded"} or by_budget:
        todo = "give the run more of its budget and go on" if by_budget else "go on with the run"
        return Advice("", f"{todo}; stages that are done are not paid for again", resume_advice(status).commands)
    return advice_on(document.error_code or "interrupted")


def _signal(case: _Case) -> list[str]:
    return [f"kill -USR1 {one.pid}" for one in case.opened.ledger.sessions() if one.ended_at is None][-1:]


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _as_object(case: _Case) -> dict[str, object]:
    advice = _advice(case)
    return {
        **document_object(case.opened, case.document),
        "state": case.status.state,
        "simulator": case.status.simulated,
        "story": story_in_words(case.story, case.tree, case.status),
        "meaning": _meaning(case),
        "causes": [asdict(link) for link in causes_of(case.story, case.events)],
        "waits": [{**asdict(one), "whose": CAUSES[one.reason].owner} for one in waits_of(case.story.attempts)],
        "tree": step_object(case.tree),
        "todo": advice.todo,
        "next": case.opened.commands(advice, case.document.document_id),
        "exit_code": 0,
    }
