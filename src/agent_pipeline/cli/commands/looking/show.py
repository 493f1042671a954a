"""`show RUN`: one run on one screen: how it ended and why, where time and money went, what failed, what to do."""

import json
from collections.abc import Iterator
from dataclasses import asdict

from agent_pipeline.amounts import counted, dollars, moment, seconds_text
from agent_pipeline.cli.commands.hidden import print_hidden, shown
from agent_pipeline.cli.commands.looking.limit_changes import LimitChanges, limit_changes
from agent_pipeline.cli.commands.looking.looked_at import OpenRun, find_document, looking_at
from agent_pipeline.cli.commands.looking.runs import status_object
from agent_pipeline.cli.commands.looking.show_document import document_lines, document_object
from agent_pipeline.cli.layout import Column, labelled, print_lines, table, terminal_width
from agent_pipeline.cli.summary import reason_in_words, requests_in_words
from agent_pipeline.cli.typeable import typeable
from agent_pipeline.ledger import FailureGroup
from agent_pipeline.paths import near
from agent_pipeline.runs.advice import ADVICE, RETRY_FAILED, Advice
from agent_pipeline.runs.state import RunState, RunStatus, status_of
from agent_pipeline.runs.waits import CAUSES

_STAGES = (
    Column("STAGE", yields=True),
    *(Column(title, "right") for title in ("PASSES", "FAILED", "P50", "P95", "LONGEST")),
)
_ROLES = (
    Column("ROLE", yields=True),
    Column("MODEL", yields=True),
    *(Column(title, "right") for title in ("REQUESTS", "ATTEMPTS", "IN", "OUT", "CHARGED", "COST")),
)
_WAITS = (
    Column("WAITED"),
    *(Column(title, "right") for title in ("REQUESTS", "LONGEST")),
    Column("WHOSE"),
    Column("FOR", yields=True),
)
_FAILURES = (
    Column("FAILED AS"),
    Column("AT", yields=True),
    Column("DOCUMENTS", "right"),
    Column("FOR EXAMPLE"),
    Column("ERROR", yields=True),
)
_STATES: dict[RunState, str] = {
    "completed": "completed",
    "incomplete": "incomplete: it ended early, and can be gone on with",
    "failed": "failed: it ended early, and can be gone on with",
    "running": "running: a process works on it now",
    "killed": "killed: its process ended without a word, and it can be gone on with",
}


def show_run(run: str, document: str | None, *, as_json: bool) -> int:
    """Print what there is to know of a run, or of one of its documents; return 0.

    Raises:
        RunDirectoryError: there is no such run, or it can't be read.
        InputError: it has no such document.
    """
    with looking_at(run) as opened:
        if document is not None:
            row = find_document(opened.ledger, document)
            if as_json:
                print_hidden({**document_object(opened, row), "exit_code": 0})
            else:
                print_lines(document_lines(opened, row))
            return 0
        status = status_of(opened.directory, opened.ledger)
        changes = limit_changes(opened.directory.events)
        if as_json:
            print_hidden({**_as_object(opened, status, changes), "exit_code": 0})
        else:
            print_lines(_lines(opened, status, changes))
    return 0


def _lines(opened: OpenRun, status: RunStatus, changes: LimitChanges) -> Iterator[str]:
    run, totals, width = status.run, status.totals, terminal_width()
    failed = status.outcomes.get("failed", 0)
    although = f", but {counted(failed, 'document')} failed" if failed and status.state == "completed" else ""
    yield f"{shown(run.run_id)}: {_STATES[status.state]}{although}"
    if run.reason is not None:
        yield from labelled("reason:", [reason_in_words(run.reason)])
        yield from labelled("", [shown(changes.stopping, 500)] if changes.stopping else [])
    yield from labelled("when:", [_when(opened, status)])
    yield from labelled("answers:", ["the simulator's: no model was asked" if status.simulated else "providers'"])
    yield from labelled("workers:", [_workers_in_words(changes)] if changes.hosts or changes.lost else [])
    yield from labelled("documents:", [documents_in_words(status)])
    unhappy = [f"{totals.rate_limited:,} answered with 429"] if totals.rate_limited else []
    other = totals.failed - totals.rate_limited
    unhappy += [f"{other:,} failed"] if other > 0 else []
    yield from labelled("requests:", [", ".join([requests_in_words(totals.requests, totals.attempts), *unhappy])])
    unknown = f", {totals.spent.unknown_tokens:,} of them unconfirmed" if totals.spent.unknown_tokens else ""
    usage = f"{totals.usage.input_tokens:,} in, {totals.usage.output_tokens:,} out"
    yield from labelled("tokens:", [f"{usage}; {totals.spent.tokens:,} charged{unknown}"])
    yield from labelled(
        "cost:", [cost_in_words(totals.spent.micro_usd, unknown=totals.unknown_cost, simulated=status.simulated)]
    )
    for section in (
        table(_STAGES, stage_rows(opened), width),
        table(_ROLES, _role_rows(opened), width),
        table(_WAITS, _wait_rows(opened), width),
        ["LIMITS THAT CHANGED", *changes.words()],
        table(_FAILURES, [_failure_row(group) for group in opened.ledger.failures()], width),
    ):
        if len(section) > 1:
            yield ""
            yield from section
    yield ""
    yield from labelled("next:", map(typeable, next_commands(opened, status)))


def _when(opened: OpenRun, status: RunStatus) -> str:
    run = status.run
    sessions = list(opened.ledger.sessions())
    text = f"{moment(run.started_at)} UTC"
    if run.ended_at is not None:
        worked = sum((one.ended_at - one.started_at).total_seconds() for one in sessions if one.ended_at is not None)
        text += f" to {moment(run.ended_at)}, {seconds_text(worked)} of work"
    return text + (f", in {counted(len(sessions), 'session')}" if len(sessions) > 1 else "")


def _workers_in_words(changes: LimitChanges) -> str:
    hosts = shown(next(iter(changes.hosts))) if len(changes.hosts) == 1 else counted(len(changes.hosts), "machine")
    lost = f", {changes.lost:,} lost: what they had went to others" if changes.lost else ""
    return f"{changes.hosts.total():,} on {hosts}{lost}"


def documents_in_words(status: RunStatus) -> str:
    """Return how the documents ended, those that went wrong only where there are any."""
    counts = status.outcomes
    parts = [f"{counts.get('succeeded', 0):,} of {status.documents:,} succeeded"]
    parts += [f"{counts[name]:,} {name}" for name in ("failed", "skipped", "cancelled") if counts.get(name)]
    if counts.get(None):
        parts.append(f"{counts[None]:,} {'in flight' if status.state == 'running' else 'not finished'}")
    return ", ".join(parts)


def cost_in_words(micro_usd: int, *, unknown: bool, simulated: bool) -> str:
    """Return what was paid; nothing is paid for what the simulator answered."""
    amount = dollars(micro_usd, known=not unknown)
    if simulated:
        return "nothing (simulated)" if unknown else f"nothing (simulated; the same tokens would have cost {amount})"
    return f"{amount}; write missing prices under `prices` in the pipeline file" if unknown else amount


def stage_rows(opened: OpenRun) -> list[list[str]]:
    """Return how long each stage took, and how many documents it ended."""
    failed: dict[str, int] = {}
    for group in opened.ledger.failures():
        if group.outcome == "failed" and group.stage is not None:
            failed[group.stage] = failed.get(group.stage, 0) + group.documents
    rows = []
    for one in opened.ledger.stage_times():
        times = [seconds_text(seconds) for seconds in (one.p50, one.p95, one.longest)]
        rows.append([shown(one.stage), f"{one.passes:,}", f"{failed.pop(one.stage, 0):,}", *times])
    return rows + [[shown(stage), "0", f"{count:,}", "", "", ""] for stage, count in failed.items()]


def _role_rows(opened: OpenRun) -> list[list[str]]:
    models: dict[str, list[str]] = {}
    for one in opened.ledger.models():
        models.setdefault(one.role, []).append(f"{one.provider}/{one.model}")
    return [
        [
            shown(one.role),
            shown(", ".join(models.get(one.role, []))),
            f"{one.requests:,}",
            f"{one.attempts:,}",
            f"{one.usage.input_tokens:,}",
            f"{one.usage.output_tokens:,}",
            f"{one.spent.tokens:,}",
            dollars(one.spent.micro_usd, known=not one.unknown_cost),
        ]
        for one in opened.ledger.usage_by_role()
    ]


def _wait_rows(opened: OpenRun) -> list[list[str]]:
    rows = []
    for one in opened.ledger.waits():
        cause = CAUSES[one.reason]
        rows.append(
            [seconds_text(one.seconds), f"{one.attempts:,}", seconds_text(one.longest), cause.owner, cause.words]
        )
    return rows


def _failure_row(group: FailureGroup) -> list[str]:
    code = group.error_code or group.outcome
    where = group.stage or ""
    error = shown(group.example_error or "", 300)
    return [shown(code), shown(where), f"{group.documents:,}", shown(group.example_id), error]


def next_commands(opened: OpenRun, status: RunStatus) -> list[str]:
    """Return what is worth typing now, the most useful first."""
    run = opened.as_typed
    commands: list[str] = []
    groups = list(opened.ledger.failures())
    if groups:
        commands += opened.commands(Advice("", "", ("agent-pipeline why {run} {doc}",)), groups[0].example_id)
    if status.state == "running":
        commands.append(f"tail -f {near(str(opened.directory.log))}")
    elif status.state != "completed":
        commands += opened.commands(resume_advice(status))
    elif any(group.outcome == "failed" for group in groups):
        commands += opened.commands(Advice("", "", (RETRY_FAILED,)))
    commands.append(f"agent-pipeline trace {run} --slow")
    if status.state != "running":
        commands.append(f"agent-pipeline verify {run}")
    return commands


def resume_advice(status: RunStatus) -> Advice:
    """Return how to go on with a run that ended early: with more of what was used up."""
    reached = (status.run.reason or "").removeprefix("budget:").split(",")
    more = "".join(f" --budget-{unit} MORE" for unit in ("tokens", "usd") if unit in reached)
    known = ADVICE.get(status.run.reason or "", ADVICE["interrupted"])
    return Advice(known.meaning, known.todo, (f"agent-pipeline resume {{run}}{more}",))


def _as_object(opened: OpenRun, status: RunStatus, changes: LimitChanges) -> dict[str, object]:
    ledger, directory = opened.ledger, opened.directory
    return {
        "run_id": directory.run_id,
        "run_dir": str(directory.path),
        **status_object(status),
        "reason_in_words": None if status.run.reason is None else reason_in_words(status.run.reason),
        "sessions": [
            {
                **asdict(one),
                "started_at": one.started_at.isoformat(),
                "ended_at": one.ended_at and one.ended_at.isoformat(),
            }
            for one in ledger.sessions()
        ],
        "stages": [asdict(one) for one in ledger.stage_times()],
        "roles": [asdict(one) for one in ledger.usage_by_role()],
        "models": [asdict(one) for one in ledger.models()],
        "waits": [{**asdict(one), "whose": CAUSES[one.reason].owner} for one in ledger.waits()],
        "limits": changes.as_objects(),
        "workers": {"hosts": dict(changes.hosts), "lost": changes.lost},
        "failures": [asdict(one) for one in ledger.failures()],
        "options": json.loads(status.run.options_json),
        "next": next_commands(opened, status),
    }
