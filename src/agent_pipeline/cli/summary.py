"""How a run ended, for people and for programs."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from agent_pipeline.amounts import counted, dollars, seconds_text
from agent_pipeline.cli.output import one_line
from agent_pipeline.cli.typeable import typeable
from agent_pipeline.domain.result import DocumentFailure, RecordingTotals, RunResult, WorkerTotals
from agent_pipeline.paths import near
from agent_pipeline.telemetry import Redactor

SHOWN_FAILURES = 5

_REASONS = {
    "documents_failed": "more documents failed than --fail-on-error allows",
    "deadline:run": "the run's timeout ran out; what is finished is kept",
    "signal:SIGHUP": "the terminal hung up; what is finished is kept",
    "signal:SIGINT": "interrupted; what is finished is kept",
    "signal:SIGTERM": "terminated; what is finished is kept",
    "provider_unreachable": "the provider could not be reached; check the address and the network",
    "provider_down": "the provider fails for all; what is finished is kept, resume when it is back",
    "credentials_rejected": "the provider refused the key",
    "recording_invalid": "the recording can't be used or written",
    "quota_exhausted": "the account has nothing left to spend",
    "model_not_found": "the provider does not know a role's model; see the failures in the run log",
    "telemetry_dropped": "logs are incomplete: events were lost (is the disk full?)",
    "shutdown_leak": "the run left something open, and --strict-shutdown was given",
    "results_not_written": "a table of results could not be written; `export` writes it from the ledger",
    "too_few_documents": "fewer documents than expected",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run that is over, and what is needed to tell of it.

    Attributes:
        detail: why it ended early, in words; None where it did not.
        artifacts: where they are.
        simulator: no model was asked.
        clean: takes secrets out.
        replayed: nobody was asked, a recording answered.
    """

    result: RunResult
    detail: str | None
    artifacts: Path
    simulator: bool
    clean: Redactor
    replayed: bool = False

    def text(self, foreign: str, most: int) -> str:
        """Return what others wrote, fit to be shown."""
        return one_line(self.clean.text(foreign), most)


def result_object(ended: Ended) -> dict[str, object]:
    """Return what `run --json` prints; the keys are a promise."""
    result = ended.result
    failures = [{**asdict(failure), "error": ended.text(failure.error, 4000)} for failure in result.failures]
    return {
        **asdict(result),
        "artifacts": list(result.artifacts),
        "next": list(result.next),
        "left_open": list(result.left_open),
        "results": list(result.results),
        "failures": failures,
        "dropped_because": {sink: ended.text(why, 4000) for sink, why in result.dropped_because.items()},
        "detail": None if ended.detail is None else ended.text(ended.detail, 4000),
        "simulator": ended.simulator,
        "replayed": ended.replayed,
    }


def essential_line(ended: Ended) -> str:
    """Return the one line that `--quiet` leaves."""
    result = ended.result
    parts = [f"{result.documents.succeeded:,} of {result.documents.total:,} documents succeeded"]
    parts += _unhappy(result) + _never_begun(result)
    if result.reason is not None:
        parts.append(result.reason if ended.detail is None else f"{result.reason} ({ended.text(ended.detail, 300)})")
    if word := _stand_in(ended):
        parts.append(word)
    parts.append(_near(result.run_dir))
    return f"{result.outcome}: {', '.join(parts)}"


def summary(ended: Ended) -> str:
    """Return the summary for people, several lines."""
    return "".join(f"{line}\n" for line in _lines(ended))


def _lines(ended: Ended) -> Iterator[str]:
    result = ended.result
    documents, usage = result.documents, result.usage
    counts = [f"{documents.succeeded:,} of {documents.total:,} succeeded"]
    counts += _unhappy(result)
    yield f"run {result.outcome} in {seconds_text(result.duration_seconds)} (exit code {result.exit_code})"
    if result.reason is not None:
        yield f"reason:     {reason_in_words(result.reason)}"
    if ended.detail is not None:
        yield f"{'':<11} {ended.text(ended.detail, 500)}"
    if result.session.kept_documents:
        counts.append(f"{result.session.kept_documents:,} of them in earlier sessions")
    yield f"documents:  {', '.join(counts + _never_begun(result))}"
    word = _stand_in(ended)
    by_whom = f", {word}: no model was asked" if word else ""
    yield f"requests:   {requests_in_words(usage.requests, usage.attempts)}{by_whom}"
    unknown = f", {usage.unknown_tokens:,} of them unconfirmed" if usage.unknown_tokens else ""
    yield (
        f"tokens:     {usage.input_tokens:,} in, {usage.output_tokens:,} out; {usage.charged_tokens:,} charged{unknown}"
    )
    yield f"cost:       {_cost(ended)}"
    if result.recording is not None:
        yield f"recording:  {_recording(result.recording)}"
    yield from _workers(result.workers)
    yield from _failures(ended)
    for sink, count in result.dropped.items():
        why = result.dropped_because.get(sink)
        yield f"lost:       {count:,} events of {sink}" + ("" if why is None else f" ({ended.text(why, 300)})")
    for position, thing in enumerate(result.left_open):
        yield f"{'left open:' if position == 0 else '':<11} {one_line(thing)}"
    yield f"artifacts:  {_near(str(ended.artifacts))} ({len(result.artifacts):,} written)"
    for position, path in enumerate(result.results):
        yield f"{'results:' if position == 0 else '':<11} {_near(path)}"
    if result.results_problem is not None:
        yield f"{'no results:':<11} {ended.text(result.results_problem, 500)}"
    yield f"run:        {_near(result.run_dir)}"
    for position, command in enumerate(result.next):
        yield f"{'next:' if position == 0 else '':<11} {one_line(typeable(command))}"


def _workers(totals: WorkerTotals | None) -> Iterator[str]:
    """Yield what became of workers, where any was lost."""
    if totals is None or not totals.lost:
        return
    given_up = f"; {counted(totals.given_up, 'document')} lost too many and failed" if totals.given_up else ""
    twice = f"; {counted(totals.duplicate_tokens, 'token')} paid twice" if totals.duplicate_tokens else ""
    yield f"workers:    {totals.lost:,} lost, what they had went to others{given_up}{twice}"
    withheld = [counted(totals.withheld_tokens, "token")] if totals.withheld_tokens else []
    withheld += [dollars(totals.withheld_micro_usd)] if totals.withheld_micro_usd else []
    if withheld:
        yield f"{'':<11} {' and '.join(withheld)} of the budget kept back: requests of theirs may have left unheard"


def requests_in_words(requests: int, attempts: int) -> str:
    """Return how many requests left, and how often they were tried: the same words wherever a run is told of."""
    return f"{requests:,}, in {counted(attempts, 'HTTP attempt')}" if attempts else "none was sent"


def reason_in_words(reason: str) -> str:
    """Return why a run ended as it did, for people; a reason that has no words is its own."""
    if not reason.startswith("budget:"):
        return _REASONS.get(reason, one_line(reason))
    reached = [_budget(name) for name in reason.removeprefix("budget:").split(",")]
    return f"{' and '.join(reached)} {'was' if len(reached) == 1 else 'were'} reached; what is finished is kept"


def _budget(name: str) -> str:
    owner, _, unit = name.rpartition(":")
    whose = f" of role {one_line(owner.removeprefix('role:'), most=80)}" if owner else ""
    return f"the {'money' if unit == 'usd' else 'token'} budget{whose}"


def _cost(ended: Ended) -> str:
    if ended.result.cost_usd is None:
        return "unknown: some models have no known price; write it under `prices` in the pipeline file"
    amount = dollars(round(ended.result.cost_usd * 1_000_000))
    word = _stand_in(ended)
    if word and not ended.result.usage.charged_tokens:
        return f"nothing ({word})"
    return f"nothing ({word}; the same tokens would have cost {amount})" if word else amount


def _stand_in(ended: Ended) -> str:
    """Return what the answers are that no model gave, empty where models gave them."""
    return "replayed" if ended.replayed else "simulated" if ended.simulator else ""


def _recording(totals: RecordingTotals) -> str:
    where = _near(totals.directory)
    if totals.mode == "record":
        words = [f"{totals.exchanges:,} exchanges written to {where}"]
    else:
        words = [f"{totals.exchanges:,} exchanges replayed from {where}"]
        if totals.missed:
            words.append(f"{totals.missed:,} requests not found in it")
        if totals.unused:
            words.append(f"{totals.unused:,} of its exchanges not asked for")
        if totals.unused is None:
            words.append("which was cut short")
    if totals.redacted:
        words.append(f"{totals.redacted:,} answers lack what looks like a secret")
    return ", ".join(words)


def _failures(ended: Ended) -> Iterator[str]:
    result = ended.result
    for position, failure in enumerate(result.failures[:SHOWN_FAILURES]):
        yield f"{'failed:' if position == 0 else '':<11} {_failure(failure, ended)}"
    more = result.documents.failed - min(len(result.failures), SHOWN_FAILURES)
    if more > 0:
        yield f"{'':<11} and {more:,} more"


def _failure(failure: DocumentFailure, ended: Ended) -> str:
    where = "" if failure.stage is None else f" at {failure.stage}"
    text = ended.text(failure.error, 300)
    return f"document {one_line(failure.document_id, most=80)}{where}: {failure.code}: {text}"


def _unhappy(result: RunResult) -> list[str]:
    documents = result.documents
    counts = (("failed", documents.failed), ("skipped", documents.skipped), ("cancelled", documents.cancelled))
    return [f"{count:,} {name}" for name, count in counts if count]


def _never_begun(result: RunResult) -> list[str]:
    return [f"{result.never_begun:,} more never begun"] if result.never_begun else []


def _near(path: str) -> str:
    return one_line(near(path), most=4000)
