"""`trace RUN [DOC]`: what happened when, as a tree of spans, or as tables of the slowest and of HTTP attempts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import typer

from agent_pipeline.amounts import seconds_text
from agent_pipeline.cli.commands.hidden import print_hidden, shown
from agent_pipeline.cli.commands.looking.looked_at import OpenRun, find_document, looking_at
from agent_pipeline.cli.commands.looking.step_text import (
    answer_in_words,
    attempt_object,
    branch_of,
    step_object,
)
from agent_pipeline.cli.layout import Column, print_lines, table, terminal_width, tree
from agent_pipeline.cli.output import say
from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.ledger import DocumentRow
from agent_pipeline.runs.happenings import happenings_of
from agent_pipeline.runs.spans import Span, spans_of
from agent_pipeline.runs.story import story_of
from agent_pipeline.runs.trace import Step, pruned, trace_of

SLOWEST = 10

_ATTEMPTS = (
    Column("SENT (UTC)"),
    Column("DOCUMENT"),
    Column("STAGE", yields=True),
    Column("ROLE", yields=True),
    Column("NO", "right"),
    Column("ANSWER"),
    Column("TOOK", "right"),
    Column("WAITED", "right"),
    Column("FOR"),
    Column("IN", "right"),
    Column("OUT", "right"),
    Column("REQUEST ID"),
)
_DOCUMENTS = (Column("TOOK", "right"), Column("DOCUMENT"), Column("OUTCOME"), Column("SOURCE", yields=True))
_PASSES = (Column("TOOK", "right"), Column("DOCUMENT"), Column("STAGE"), Column("CYCLE", "right"))


@dataclass(frozen=True, slots=True)
class _View:
    """What is left out, and in which order it comes."""

    failed: bool
    slow: bool


def show_trace(run: str, document: str | None, *, failed: bool, slow: bool, http: bool, as_json: bool) -> int:
    """Print what happened; return 0.

    Args:
        run: as typed.
        document: as typed; None is all of them.
        failed: show only what went wrong.
        slow: show the slowest first.
        http: show HTTP attempts as a table, in the place of the tree.
        as_json: for programs.

    Raises:
        RunDirectoryError: there is no such run, or it can't be read.
        InputError: it has no such document.
        typer.BadParameter: the flags make no sense together.
    """
    if slow and failed and not http:
        raise typer.BadParameter("--failed goes with it only for attempts: add --http", param_hint="'--slow'")
    with looking_at(run) as opened:
        row = None if document is None else find_document(opened.ledger, document)
        if http:
            return _attempts(opened, row, _View(failed, slow), as_json=as_json)
        if slow:
            return _slowest(opened, row, as_json=as_json)
        return _trees(opened, row, _View(failed, slow), as_json=as_json)


def tree_of(opened: OpenRun, row: DocumentRow, spans: Sequence[Span] | None = None) -> Step:
    """Return the tree of one document, with its agents and tools."""
    if spans is None:
        spans = spans_of(opened.directory.sdk_traces, {row.trace_id}).get(row.trace_id, []) if row.trace_id else []
    events = happenings_of(opened.directory.events, row.document_id)
    return trace_of(story_of(opened.ledger, row), spans, events)


def went_wrong(step: Step) -> bool:
    """Tell whether a step itself ended badly."""
    return step.outcome in {"failed", "cancelled"}


def _trees(opened: OpenRun, row: DocumentRow | None, view: _View, *, as_json: bool) -> int:
    rows = opened.ledger.documents() if row is None else iter([row])
    steps = _steps(opened, rows, is_whole=row is None)
    if view.failed:
        steps = (kept for step in steps if (kept := pruned(step, went_wrong)) is not None)
    if as_json:
        print_hidden({"run_id": opened.directory.run_id, "documents": [*map(step_object, steps)], "exit_code": 0})
        return 0
    width, count = terminal_width(), 0
    for step in steps:
        count += 1
        print_lines(tree([branch_of(step, step.started_at)], width))
    if not count:
        say("nothing failed" if view.failed else "no document was begun")
    return 0


def _steps(opened: OpenRun, rows: Iterator[DocumentRow], *, is_whole: bool) -> Iterator[Step]:
    """Yield the trees one by one; of a whole run only spans are held together, and passes are the ledger's."""
    if not is_whole:
        yield from (tree_of(opened, row) for row in rows)
        return
    spans = spans_of(opened.directory.sdk_traces, None)
    for row in rows:
        yield trace_of(story_of(opened.ledger, row), spans.pop(row.trace_id or "", []))


def _attempts(opened: OpenRun, row: DocumentRow | None, view: _View, *, as_json: bool) -> int:
    ledger = opened.ledger
    if view.slow and row is None:
        rows = ledger.slowest_attempts(2**31 if view.failed else SLOWEST)
    else:
        rows = ledger.attempts() if row is None else ledger.attempts_of(row.document_id)
    found: Iterator[AttemptRecord] = (one.attempt for one in rows)
    if view.failed:
        found = (one for one in found if one.outcome in {"failed", "cancelled"})
    if view.slow:
        found = islice(sorted(found, key=lambda one: -one.latency_seconds), SLOWEST)
    attempts = list(found)
    if as_json:
        objects = [attempt_object(one) for one in attempts]
        print_hidden({"run_id": opened.directory.run_id, "attempts": objects, "exit_code": 0})
    elif not attempts:
        say("no request was sent" if not view.failed else "no request failed")
    else:
        print_lines(table(_ATTEMPTS, [_attempt_row(one) for one in attempts], terminal_width()))
    return 0


def _attempt_row(one: AttemptRecord) -> list[str]:
    stage = "" if one.stage is None else f"{one.stage}{'' if one.cycle in {None, 1} else f' {one.cycle}'}"
    return [
        f"{one.started_at:%H:%M:%S}.{one.started_at.microsecond // 1000:03}",
        shown(one.document_id or ""),
        shown(stage),
        shown(one.role),
        f"{one.number}",
        answer_in_words(one),
        seconds_text(None if one.outcome is None else one.latency_seconds),
        seconds_text(one.wait_seconds) if one.wait_reason else "",
        one.wait_reason or "",
        "" if one.usage is None else f"{one.usage.input_tokens:,}",
        "" if one.usage is None else f"{one.usage.output_tokens:,}",
        shown(one.provider_request_id or ""),
    ]


def _slowest(opened: OpenRun, row: DocumentRow | None, *, as_json: bool) -> int:
    ledger = opened.ledger
    if row is None:
        documents = list(ledger.slowest_documents(SLOWEST))
        results = list(ledger.slowest_stage_results(SLOWEST))
        attempts = [one.attempt for one in ledger.slowest_attempts(SLOWEST)]
    else:
        documents = [row]
        results = sorted(ledger.stage_results_of(row.document_id), key=lambda one: one.started_at - one.ended_at)
        of_document = [one.attempt for one in ledger.attempts_of(row.document_id)]
        attempts = sorted(of_document, key=lambda one: -one.latency_seconds)[:SLOWEST]
    took = [None if one.ended_at is None else (one.ended_at - one.started_at).total_seconds() for one in documents]
    passes = [((one.ended_at - one.started_at).total_seconds(), one) for one in results[:SLOWEST]]
    if as_json:
        print_hidden(
            {
                "run_id": opened.directory.run_id,
                "documents": [
                    {"document_id": one.document_id, "seconds": seconds, "outcome": one.outcome}
                    for one, seconds in zip(documents, took, strict=True)
                ],
                "stages": [
                    {"document_id": one.document_id, "stage": one.stage, "cycle": one.cycle, "seconds": seconds}
                    for seconds, one in passes
                ],
                "attempts": [attempt_object(one) for one in attempts],
                "exit_code": 0,
            }
        )
        return 0
    width = terminal_width()
    document_rows = [
        [seconds_text(seconds), shown(one.document_id), one.outcome or "not ended", shown(one.source or "")]
        for one, seconds in zip(documents, took, strict=True)
    ]
    pass_rows = [
        [seconds_text(seconds), shown(one.document_id), shown(one.stage), f"{one.cycle}"] for seconds, one in passes
    ]
    lines = [
        *("the slowest documents", *table(_DOCUMENTS, document_rows, width), ""),
        *("the slowest passes through a stage", *table(_PASSES, pass_rows, width), ""),
        *("the slowest HTTP attempts", *table(_ATTEMPTS, [_attempt_row(one) for one in attempts], width)),
    ]
    print_lines(lines)
    return 0
