"""`show RUN DOC`: one document: how it ended, what its stages made of it, where its texts are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_pipeline.amounts import dollars, moment, seconds_text
from agent_pipeline.cli.commands.hidden import shown
from agent_pipeline.cli.commands.looking.looked_at import OpenRun
from agent_pipeline.cli.commands.looking.step_text import left_in_words
from agent_pipeline.cli.layout import Column, labelled, table, terminal_width
from agent_pipeline.cli.summary import requests_in_words
from agent_pipeline.cli.typeable import typeable
from agent_pipeline.documents import rejected_text_of
from agent_pipeline.ledger import DocumentRow, StageResultRow, Totals
from agent_pipeline.paths import near
from agent_pipeline.runs.state import state_of
from agent_pipeline.runs.story import DocumentStory, story_of

_LONGEST_VALUE = 200
_PASSES = (
    Column("STAGE", yields=True),
    Column("CYCLE", "right"),
    Column("TOOK", "right"),
    Column("REQUESTS", "right"),
    Column("RESULT", yields=True),
)


def document_lines(opened: OpenRun, row: DocumentRow) -> Iterator[str]:
    """Yield what there is to know of a document."""
    width = terminal_width()
    story, totals = story_of(opened.ledger, row), opened.ledger.totals_of(row.document_id)
    name = shown(row.document_id)
    yield f"document {name} of {opened.directory.run_id}: {ending_in_words(opened, row)}"
    yield from labelled("source:", [f"{shown(row.source or 'unknown')}, number {row.position:,}"])
    yield from labelled("when:", [_when(row)])
    yield from labelled("reworks:", [f"{row.reworks}"] if row.reworks else [])
    yield from labelled("error:", [shown(row.error)] if row.error else [])
    yield from labelled("requests:", [usage_in_words(totals)])
    yield from labelled("artifact:", artifact_in_words(row))
    kept = rejected_text_of(row.document_id, opened.directory.rejected)
    yield from labelled("last text:", [] if kept is None else [near(str(kept))])
    if story.passes:
        yield ""
        yield from table(_PASSES, _pass_rows(story), width)
    yield ""
    yield from labelled(
        "next:",
        [
            typeable(f"agent-pipeline {word} {opened.as_typed} {opened.argument(row.document_id)}")
            for word in ("why", "trace")
        ],
    )


def document_object(opened: OpenRun, row: DocumentRow) -> dict[str, object]:
    """Return the same for programs; its keys are a promise."""
    story, totals = story_of(opened.ledger, row), opened.ledger.totals_of(row.document_id)
    kept = rejected_text_of(row.document_id, opened.directory.rejected)
    artifact = row.artifact
    return {
        "run_id": opened.directory.run_id,
        "document_id": row.document_id,
        "position": row.position,
        "source": row.source,
        "outcome": row.outcome,
        "error_code": row.error_code,
        "error": row.error,
        "failed_stage": row.failed_stage,
        "reworks": row.reworks,
        "session": row.session,
        "started_at": row.started_at.isoformat(),
        "ended_at": None if row.ended_at is None else row.ended_at.isoformat(),
        "trace_id": row.trace_id,
        "artifact": None if artifact is None else {"path": artifact.path, "size_bytes": artifact.size_bytes},
        "rejected_text": None if kept is None else str(kept),
        "usage": usage_object(totals),
        "stages": [
            {
                "stage": one.stage,
                "cycle": one.cycle,
                "session": one.session,
                "left_by": one.left_by,
                "started_at": one.started_at.isoformat(),
                "seconds": _seconds(one.result),
                "requests": len(one.calls),
                "attempts": len(one.attempts),
                "fields": None if one.result is None else _output(one.result).get("fields"),
                "verdict": None if one.result is None else _output(one.result).get("verdict"),
            }
            for one in story.passes
        ],
    }


def usage_object(totals: Totals) -> dict[str, object]:
    """Return what requests came to."""
    return {
        "requests": totals.requests,
        "attempts": totals.attempts,
        "failed_attempts": totals.failed,
        "rate_limited": totals.rate_limited,
        "input_tokens": totals.usage.input_tokens,
        "output_tokens": totals.usage.output_tokens,
        "charged_tokens": totals.spent.tokens,
        "unknown_tokens": totals.spent.unknown_tokens,
        "cost_usd": None if totals.unknown_cost else totals.spent.micro_usd / 1_000_000,
    }


def usage_in_words(totals: Totals) -> str:
    """Return what requests came to in one line."""
    sent = requests_in_words(totals.requests, totals.attempts)
    if not totals.attempts:
        return sent
    cost = dollars(totals.spent.micro_usd, known=not totals.unknown_cost)
    return (
        f"{sent}; {totals.usage.input_tokens:,} tokens in, "
        f"{totals.usage.output_tokens:,} out, {totals.spent.tokens:,} charged; {cost}"
    )


def ending_in_words(opened: OpenRun, row: DocumentRow) -> str:
    """Return how a document ended, or how it stands."""
    if row.outcome is None:
        is_running = state_of(opened.directory, opened.ledger.run) == "running"
        return "being worked on" if is_running else "not finished: the process that worked on it was killed"
    code = "" if row.error_code is None else f" as {shown(row.error_code)}"
    return f"{row.outcome}{code}{'' if row.failed_stage is None else f' at {shown(row.failed_stage)}'}"


def artifact_in_words(row: DocumentRow) -> list[str]:
    """Return where the artifact is, and whether it still is."""
    if row.artifact is None:
        return []
    try:
        size = Path(row.artifact.path).stat().st_size
    except (OSError, ValueError):
        return [f"{shown(near(row.artifact.path))}, which is gone"]
    return [f"{shown(near(row.artifact.path))} ({size:,} bytes{_changed(size, row.artifact.size_bytes)})"]


def _changed(size: int, recorded: int | None) -> str:
    """Return what the ledger makes of a file's size; None is what a row has that somebody changed."""
    if recorded is None:
        return ", not recorded how many it had"
    return "" if size == recorded else f", changed since: it had {recorded:,}"


def result_in_words(result: StageResultRow) -> str:
    """Return what a stage made of its input: its verdict and the fields it left, not the text."""
    output = _output(result)
    verdict, fields = output.get("verdict"), output.get("fields")
    parts = []
    if isinstance(verdict, dict):
        issues = shown(str(verdict.get("issues") or ""), _LONGEST_VALUE)
        parts.append("approved" if verdict.get("approved") else f"not approved: {issues}")
    if isinstance(fields, dict):
        parts += [f"{shown(str(name))}={shown(_value(value), _LONGEST_VALUE)}" for name, value in fields.items()]
    if isinstance(output.get("text"), str):
        parts.append(f"text of {len(output['text']):,} characters")
    return ", ".join(parts)


def _pass_rows(story: DocumentStory) -> list[list[str]]:
    return [
        [
            shown(one.stage or "(no stage)"),
            "" if one.cycle is None else f"{one.cycle}",
            seconds_text(_seconds(one.result)) if one.result is not None else "",
            f"{len(one.calls)}",
            left_in_words(one.left_by, one.session) if one.result is None else result_in_words(one.result),
        ]
        for one in story.passes
    ]


def _output(result: StageResultRow) -> dict[str, Any]:
    try:
        output = json.loads(result.output_json)
    except (ValueError, RecursionError):
        return {}
    return output if isinstance(output, dict) else {}


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _seconds(result: StageResultRow | None) -> float | None:
    return None if result is None else (result.ended_at - result.started_at).total_seconds()


def _when(row: DocumentRow) -> str:
    begun = f"{moment(row.started_at)} UTC"
    return (
        begun
        if row.ended_at is None
        else f"{begun}, for {seconds_text((row.ended_at - row.started_at).total_seconds())}"
    )
