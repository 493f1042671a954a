"""Two runs side by side: figures, stages, documents that ended otherwise, and what differs in their files."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import chain

from agent_pipeline.amounts import dollars, seconds_text
from agent_pipeline.ledger import DocumentRow, LedgerReader
from agent_pipeline.report.facts import RunFacts
from agent_pipeline.report.shares import change, quantile
from agent_pipeline.report.stage_figures import StageFigures
from agent_pipeline.report.texts import Texts

MOST_DOCUMENTS = 200
MOST_DIFF_LINES = 300
FILES = ("config.yaml", "roles.yaml")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both runs, as shown; `change` is by how much, `stage` what it is of."""

    name: str
    first: str
    second: str
    change: str
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """A document that ended otherwise in the other run, or is in one of them only."""

    document_id: str
    first: str
    second: str
    what: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two runs.

    Attributes:
        same: documents with the same ending and the same artifact.
        differing: all others; `differences` has the first of them.
        diffs: by file, the lines of a unified diff; empty where the files are the same.
    """

    figures: tuple[Figure, ...]
    stages: tuple[Figure, ...]
    same: int
    differing: int
    differences: tuple[Difference, ...]
    diffs: dict[str, tuple[str, ...]]


_KINDS = ("ended otherwise", "another artifact", "only in the second run", "only in the first run")
"""What may differ, what matters most first."""

_Ending = tuple[str, str | None, str | None]
"""Outcome, error code, hash of the artifact."""


def compare(first: RunFacts, second: RunFacts, ledgers: tuple[LedgerReader, LedgerReader], texts: Texts) -> Comparison:
    """Compare two runs; documents are the same where their ids are."""
    endings = {document.document_id: _ending(document) for document in ledgers[0].documents()}
    same, counts = 0, Counter[str]()
    shown: dict[str, list[Difference]] = {what: [] for what in _KINDS}

    def differ(document_id: str, before: _Ending | None, after: _Ending | None) -> None:
        what = _kind(before, after)
        counts[what] += 1
        if len(shown[what]) < MOST_DOCUMENTS:
            shown[what].append(Difference(texts.line(document_id, 120), _words(before), _words(after), what))

    for document in ledgers[1].documents():
        before, after = endings.pop(document.document_id, None), _ending(document)
        if before == after:
            same += 1
        else:
            differ(document.document_id, before, after)
    for document_id, ending in endings.items():
        differ(document_id, ending, None)
    return Comparison(
        tuple(_figures(first, second)),
        tuple(_stages(first, second)),
        same,
        counts.total(),
        tuple(chain.from_iterable(shown.values()))[:MOST_DOCUMENTS],
        {name: _diff(first, second, name, texts) for name in FILES},
    )


def _ending(document: DocumentRow) -> _Ending:
    sha256 = None if document.artifact is None else document.artifact.sha256
    return document.outcome or "unfinished", document.error_code, sha256


def _kind(before: _Ending | None, after: _Ending | None) -> str:
    if before is None:
        return "only in the second run"
    if after is None:
        return "only in the first run"
    return "ended otherwise" if before[:2] != after[:2] else "another artifact"


def _words(ending: _Ending | None) -> str:
    if ending is None:
        return "-"
    outcome, code, sha256 = ending
    return " ".join(filter(None, (outcome, code, "" if sha256 is None else sha256[:10])))


def _figures(first: RunFacts, second: RunFacts) -> Iterator[Figure]:
    def counted(name: str, one: float, two: float) -> Figure:
        return Figure(name, f"{one:,}", f"{two:,}", change(one, two))

    def timed(name: str, one: float | None, two: float | None) -> Figure:
        return Figure(name, seconds_text(one), seconds_text(two), change(one, two))

    yield counted("documents", first.outcomes.total(), second.outcomes.total())
    for outcome in ("succeeded", "failed", "skipped", "cancelled", "unfinished"):
        if first.outcomes[outcome] or second.outcomes[outcome]:
            yield counted(outcome, first.outcomes[outcome], second.outcomes[outcome])
    before, after = sums(first), sums(second)
    for name, value in before.items():
        yield counted(name, value, after[name])
    yield Figure("cost", dollars(first.cost), dollars(second.cost), change(first.cost, second.cost))
    yield timed("time of work", first.time.total, second.time.total)
    durations = sorted(first.durations), sorted(second.durations)
    for part, name in ((0.5, "document p50"), (0.95, "document p95")):
        yield timed(name, *(quantile(one, part) for one in durations))


def sums(facts: RunFacts) -> dict[str, int]:
    """Return what all roles came to, by what it is called."""
    roles = facts.roles
    return {
        "HTTP requests": sum(role.attempts for role in roles),
        "tokens in": sum(role.usage.input_tokens for role in roles),
        "tokens out": sum(role.usage.output_tokens for role in roles),
        "tokens charged": sum(role.spent.tokens for role in roles),
        "of them unconfirmed": sum(role.spent.unknown_tokens for role in roles),
    }


def _stages(first: RunFacts, second: RunFacts) -> Iterator[Figure]:
    for stage in dict.fromkeys([*first.stages, *second.stages]):
        before, after = (_spread(facts, stage) for facts in (first, second))
        for name, one in before.items():
            two = after[name]
            if one is not None or two is not None:
                yield Figure(name, seconds_text(one), seconds_text(two), change(one, two), stage)


def _spread(facts: RunFacts, stage: str) -> dict[str, float | None]:
    spread = facts.stages.get(stage, StageFigures(stage)).spread()
    return {
        "pass p50": spread.pass_p50,
        "pass p95": spread.pass_p95,
        "request p50": spread.p50,
        "request p95": spread.p95,
    }


def _diff(first: RunFacts, second: RunFacts, name: str, texts: Texts) -> tuple[str, ...]:
    before, after = (read_text(facts, name, texts).splitlines() for facts in (first, second))
    lines = list(unified_diff(before, after, first.run.run_id, second.run.run_id, lineterm="", n=2))
    more = len(lines) - MOST_DIFF_LINES
    return tuple(lines if more <= 0 else [*lines[:MOST_DIFF_LINES], f"({more:,} more lines)"])


def read_text(facts: RunFacts, name: str, texts: Texts) -> str:
    """Return one of the files that a run was configured by, as it was; a word where it can't be read."""
    try:
        with (facts.directory.path / name).open(encoding="utf-8", errors="replace") as file:
            return texts.block(file.read(200_000), 30_000)
    except OSError as exc:
        return f"({name} can't be read: {exc.strerror})"
