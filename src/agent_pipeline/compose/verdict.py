"""How a run ended, as outcome, exit code and reason: the one table behind `run`'s exit codes."""

from collections.abc import Mapping
from typing import Literal

from agent_pipeline.domain.result import DocumentCounts, RunOutcome
from agent_pipeline.pipeline.admission import Tally
from agent_pipeline.pipeline.signals import EXIT_CODES

OK, DOCUMENTS_FAILED, INVALID, BUDGET, CREDENTIALS, UNREACHABLE, BUG = 0, 1, 3, 4, 5, 6, 70

_BY_CODE: Mapping[str, int] = {
    "artifact_not_written": INVALID,  # ends a run only before its first document: the folder can't be used
    "budget_exceeded": BUDGET,
    "certificate_rejected": UNREACHABLE,
    "config_invalid": INVALID,
    "credentials_missing": CREDENTIALS,
    "credentials_rejected": CREDENTIALS,
    "duplicate_id": INVALID,
    "engine_failed": UNREACHABLE,
    "input_invalid": INVALID,
    "internal_error": BUG,
    "model_not_found": CREDENTIALS,
    "provider_down": UNREACHABLE,
    "quota_exhausted": CREDENTIALS,
    "recording_invalid": INVALID,
    "role_runtime": INVALID,
    "run_in_use": INVALID,
    "run_invalid": INVALID,
    "unknown_provider": INVALID,
    "unknown_role": INVALID,
    "worker_mismatch": INVALID,
}

Verdict = tuple[RunOutcome, int, str | None]


def exit_code_of(code: str) -> int:
    """Return the exit code of an error that ends a run, by the error's code."""
    return _BY_CODE.get(code, DOCUMENTS_FAILED)


def exit_code_of_stop(reason: str) -> int:
    """Return the exit code of a run that was stopped for this reason."""
    return _judge_stop(reason)[1]


def judge(tally: Tally, *, stopped: str | None, dropped: int, fail_on_error: float | Literal["never"]) -> Verdict:
    """Return outcome, exit code and reason of a run.

    Args:
        tally: the endings of its documents.
        stopped: why it stopped early, None where the source was worked through.
        dropped: telemetry that was lost.
        fail_on_error: failed documents that still count as success.
    """
    if stopped is not None:
        return _judge_stop(stopped)
    counts = tally.counts()
    if counts.failed and counts.failed == tally.failure_codes["provider_unreachable"] == counts.total - counts.skipped:
        return "failed", UNREACHABLE, "provider_unreachable"
    if _too_many(counts, fail_on_error):
        return "completed", DOCUMENTS_FAILED, "documents_failed"
    if dropped:
        return "completed", DOCUMENTS_FAILED, "telemetry_dropped"
    return "completed", OK, None


def _judge_stop(reason: str) -> Verdict:
    if reason in EXIT_CODES:
        return "incomplete", EXIT_CODES[reason], reason
    if reason.startswith("budget:"):
        return "incomplete", BUDGET, reason
    if reason.startswith("deadline:") or reason in {"cancelled", "disk_full"}:
        return "incomplete", DOCUMENTS_FAILED, reason
    return "failed", exit_code_of(reason), reason


def _too_many(counts: DocumentCounts, tolerated: float | Literal["never"]) -> bool:
    if tolerated == "never":
        return False
    return counts.failed > (tolerated if isinstance(tolerated, int) else tolerated * counts.total)
