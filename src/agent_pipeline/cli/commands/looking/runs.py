"""`runs`: which runs there are, and how each ended."""

from dataclasses import asdict, dataclass
from pathlib import Path

from agent_pipeline.amounts import dollars, moment
from agent_pipeline.cli.commands.config_file import logs_here
from agent_pipeline.cli.commands.hidden import print_hidden, shown
from agent_pipeline.cli.layout import Column, print_lines, table, terminal_width
from agent_pipeline.cli.output import say
from agent_pipeline.cli.typeable import typeable
from agent_pipeline.errors import LedgerError, RunDirectoryError
from agent_pipeline.ledger import open_reader
from agent_pipeline.paths import near
from agent_pipeline.runs.directory import find_run, run_names
from agent_pipeline.runs.state import RunStatus, status_of

_COLUMNS = (
    Column("RUN"),
    Column("BEGAN (UTC)"),
    Column("OUTCOME"),
    Column("DONE", "right"),
    Column("FAILED", "right"),
    Column("TOKENS", "right"),
    Column("COST", "right"),
    Column("ANSWERED BY", yields=True),
)


@dataclass(frozen=True, slots=True)
class _Listed:
    """A run, or what keeps it from being read."""

    name: str
    path: Path
    status: RunStatus | None
    problem: str | None = None


def list_runs(*, limit: int, as_json: bool) -> int:
    """Print the newest runs of the logs folder; return 0. One that is damaged is told of in its line.

    Raises:
        RunDirectoryError: the folder can't be read.
    """
    logs = logs_here()
    names = run_names(logs)
    found = [_look(name, logs) for name in names[:limit]]
    if as_json:
        print_hidden(
            {"logs": str(logs), "total": len(names), "runs": [_as_object(one) for one in found], "exit_code": 0}
        )
        return 0
    if not names:
        say(f"no runs in {near(str(logs))}; `{typeable('agent-pipeline run')}` begins one")
        return 0
    print_lines(table(_COLUMNS, [_as_row(one) for one in found], terminal_width()))
    for one in found:
        if one.problem is not None:
            say(f"{one.name}: {shown(one.problem, 500)}")
    if len(names) > len(found):
        say(f"{len(names) - len(found):,} older ones are not shown; --limit {len(names)} shows all")
    return 0


def _look(name: str, logs: Path) -> _Listed:
    path = logs / name
    try:
        directory = find_run(str(path), logs)
        with open_reader(directory.ledger) as ledger:
            return _Listed(name, path, status_of(directory, ledger))
    except (LedgerError, RunDirectoryError) as exc:
        return _Listed(name, path, None, str(exc))


def _as_row(one: _Listed) -> list[str]:
    status = one.status
    if status is None:
        return [one.name, "", "damaged", "", "", "", "", ""]
    outcomes, totals = status.outcomes, status.totals
    open_ = outcomes.get(None, 0)
    return [
        one.name,
        moment(status.run.started_at),
        status.state,
        f"{outcomes.get('succeeded', 0):,}/{status.documents:,}" if not open_ else _going(status),
        f"{outcomes.get('failed', 0):,}",
        f"{totals.spent.tokens:,}",
        dollars(totals.spent.micro_usd, known=not totals.unknown_cost),
        "simulator" if status.simulated else "provider",
    ]


def _going(status: RunStatus) -> str:
    return f"{status.outcomes.get('succeeded', 0):,}/{status.documents:,} so far"


def _as_object(one: _Listed) -> dict[str, object]:
    status = one.status
    if status is None:
        return {"run_id": one.name, "run_dir": str(one.path.absolute()), "state": "damaged", "problem": one.problem}
    return {"run_id": one.name, "run_dir": str(one.path.absolute()), **status_object(status)}


def status_object(status: RunStatus) -> dict[str, object]:
    """Return a run's state, documents, usage and cost for programs; its keys are a promise."""
    totals, outcomes = status.totals, status.outcomes
    return {
        "pipeline": status.run.name,
        "state": status.state,
        "reason": status.run.reason,
        "started_at": status.run.started_at.isoformat(),
        "ended_at": None if status.run.ended_at is None else status.run.ended_at.isoformat(),
        "simulator": status.simulated,
        "documents": {
            "total": status.documents,
            **{name: outcomes.get(name, 0) for name in ("succeeded", "failed", "skipped", "cancelled")},
            "unfinished": outcomes.get(None, 0),
        },
        "usage": {
            "requests": totals.requests,
            "attempts": totals.attempts,
            "failed_attempts": totals.failed,
            "rate_limited": totals.rate_limited,
            **asdict(totals.usage),
            "charged_tokens": totals.spent.tokens,
            "unknown_tokens": totals.spent.unknown_tokens,
        },
        "cost_usd": None if totals.unknown_cost else totals.spent.micro_usd / 1_000_000,
    }
