"""How a run is concluded: its last row, its result, its manifest."""

import platform
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from agent_pipeline.compose.export import lost_from_files
from agent_pipeline.compose.options import RunOptions
from agent_pipeline.compose.proof import Resources
from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.compose.verdict import DOCUMENTS_FAILED, OK, judge
from agent_pipeline.compose.work import Work
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.domain.events import PipelineFinished
from agent_pipeline.domain.result import DocumentFailure, RunOutcome, RunResult, SessionTotals, UsageTotals
from agent_pipeline.errors import CredentialsRejectedError, LedgerError
from agent_pipeline.ledger import count_documents, recorded_artifacts
from agent_pipeline.paths import near
from agent_pipeline.pipeline.admission import Tally
from agent_pipeline.telemetry import TelemetryStatistics


async def conclude(runtime: Runtime, work: Work, tally: Tally, duration: float) -> RunResult:
    """Write the run's last row and event; return the result."""
    config, options, stop = work.config, work.options, runtime.stop
    dropped = lost_from_files(runtime.records.telemetry.dropped)
    outcome, exit_code, reason = judge(tally, stopped=stop.reason, dropped=dropped, fail_on_error=options.fail_on_error)
    usage, cost_usd, session = _totals(runtime, tally)
    counts, failures = tally.counts(), tally.shown_failures()
    await runtime.records.ledger.finish_run(outcome=outcome, reason=reason, ended_at=datetime.now(UTC))
    runtime.records.telemetry.emit(
        PipelineFinished(
            outcome=outcome,
            reason=reason,
            exit_code=exit_code,
            **asdict(counts),
            requests=usage.requests,
            attempts=usage.attempts,
            total_tokens=usage.total_tokens,
            duration_seconds=duration,
            kept=tally.kept,
        )
    )
    return RunResult(
        run_id=runtime.records.directory.run_id,
        run_dir=str(runtime.records.directory.path),
        outcome=outcome,
        exit_code=exit_code,
        reason=reason,
        documents=counts,
        usage=usage,
        cost_usd=cost_usd,
        duration_seconds=round(duration, 3),
        artifacts=tuple(artifact.path for artifact in recorded_artifacts(runtime.records.directory.ledger)),
        failures=failures,
        next=_next_commands(runtime, config, result=(outcome, reason), failures=failures),
        session=session,
        recording=runtime.tape.totals(),
        workers=tally.workers,
        never_begun=_never_begun(runtime, work, tally),
    )


def _never_begun(runtime: Runtime, work: Work, tally: Tally) -> int | None:
    """Return how many documents of the source no session began; None where nobody knows how many it has."""
    if runtime.stop.reason is None:
        return 0
    if work.source.count_hint is None:
        return None
    # A session that ended early has not come past all that those before it began.
    begun = max(tally.taken, count_documents(runtime.records.directory.ledger))
    return max(0, work.source.count_hint - begun)


def _totals(runtime: Runtime, tally: Tally) -> tuple[UsageTotals, float | None, SessionTotals]:
    """Return usage and cost of the whole run, and the part of this session."""
    earlier, gate = runtime.records.session, runtime.gate.statistics()
    tokens = runtime.gate.budget.tokens.statistics()
    money = runtime.gate.budget.micro_usd.statistics()
    reported = earlier.usage + gate.usage
    usage = UsageTotals(
        requests=earlier.requests + gate.requests,
        attempts=earlier.attempts + gate.attempts,
        input_tokens=reported.input_tokens,
        output_tokens=reported.output_tokens,
        total_tokens=reported.total_tokens,
        charged_tokens=tokens.spent,
        unknown_tokens=tokens.unknown,
    )
    session = SessionTotals(
        number=earlier.number,
        kept_documents=tally.kept,
        requests=gate.requests,
        attempts=gate.attempts,
        charged_tokens=tokens.spent - earlier.charged_tokens,
    )
    cost_usd = None if gate.unknown_cost or earlier.unknown_cost else money.spent / 1_000_000
    return usage, cost_usd, session


def with_losses(result: RunResult, statistics: TelemetryStatistics) -> RunResult:
    """Return the result with what was lost, the last flush included; a run whose logs have gaps is no plain success."""
    dropped = statistics.dropped
    why = {sink: error for sink, error in statistics.errors.items() if sink in dropped}
    result = replace(result, dropped=dropped, dropped_because=why)
    if lost_from_files(dropped) and result.exit_code == OK:
        return replace(result, exit_code=DOCUMENTS_FAILED, reason="telemetry_dropped")
    return result


_MORE = {"tokens": " --budget-tokens MORE", "usd": " --budget-usd MORE"}


def _next_commands(
    runtime: Runtime,
    config: PipelineConfig,
    *,
    result: tuple[RunOutcome, str | None],
    failures: Sequence[DocumentFailure],
) -> tuple[str, ...]:
    """Return the three commands that are worth typing now, the most useful first."""
    run, artifacts = (shlex.quote(near(str(path))) for path in (runtime.records.directory.path, config.artifacts))
    look, report = f"agent-pipeline show {run}", f"agent-pipeline report {run}"
    why = [f"agent-pipeline why {run} {shlex.quote(failures[0].document_id)}"] if failures else []
    outcome, reason = result
    if outcome != "completed":
        used_up = (reason or "").removeprefix("budget:").split(",")
        more = "".join(flag for name, flag in _MORE.items() if name in used_up)
        resume = f"agent-pipeline resume {run}{more}"
        if reason == CredentialsRejectedError.code:
            return (f"agent-pipeline doctor {shlex.quote(near(str(config.path)))}", resume, *(why or [look]))
        return (resume, *(why or [look]), report)
    if why:
        return (*why, f"agent-pipeline resume {run} --retry-failed", report)
    return (f"ls {artifacts}", look, report)


def write_manifest(
    runtime: Runtime,
    config: PipelineConfig,
    options: RunOptions,
    resources: Resources,
    result: RunResult | None = None,
) -> None:
    """Write the run's last file, after everything else is closed."""
    pool = runtime.pool.statistics() if config.engine.kind == "local" else None  # else each worker has one of its own
    manifest: dict[str, Any] = {
        "run_id": runtime.records.directory.run_id,
        "pipeline": config.name,
        "started_at": runtime.records.started_at.isoformat(),
        "ended_at": datetime.now(UTC).isoformat(),
        "simulator": options.offline,
        "replayed": options.replay is not None,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("agent-pipeline", "openai", "openai-agents", "httpx2", "trio")},
        },
        "result": None if result is None else asdict(result),
        "resources": dict(resources.pairs),
        "requests_at_once_peak": None if pool is None else pool.peak,
        "requests_open": None if pool is None else pool.active,
        "files": runtime.records.directory.file_hashes(),
        "dropped": dict(runtime.records.telemetry.dropped),
    }
    cleaned = runtime.records.redactor.value(manifest)
    try:
        runtime.records.directory.write_manifest(cleaned)
    except OSError as exc:
        raise LedgerError(f"the manifest can't be written: {exc}") from exc
